"""Looking at a run folder of someone else, and going on with one, executes nothing that is in its files."""

import io
import json
import os
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from conftest import search_table, type_in

from pipeline.configuration import to_dict
from pipeline.datasets import DIGESTS, _digests
from pipeline.run_folder import open_run
from pipeline.seals import read_json, seal_parquet, write_json
from tasks import table_child
from tasks.child_checkpoint import ChildCheckpoint
from tasks.records import Trial
from tasks.sealed import seal
from tasks.settings import ChildSettings, DataSettings, SpaceSettings


class Touch:
    """Unpickled, it makes a file."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __reduce__(self) -> tuple[object, ...]:
        return os.mkdir, (str(self._path),)


@pytest.fixture
def run(table: Path, tmp_path: Path) -> Path:
    search_table(table, tmp_path / "run", "--samples", "16")
    return tmp_path / "run"


def archive(content: object) -> bytes:
    """A file as torch.save makes it."""
    written = io.BytesIO()
    torch.save(content, written)
    return written.getvalue()


def plain_pickles(content: object) -> list[bytes]:
    """The same content in the forms that torch.load takes."""
    forms = [archive(content), pickle.dumps(content)]
    old = io.BytesIO()
    torch.save(content, old, _use_new_zipfile_serialization=False)
    return [*forms, old.getvalue()]


def look(run: Path, touched: Path, *, resumed: int) -> None:
    """Every command that reads a run."""
    for command in ("status", "verify", "report", "repair"):
        code = type_or_code(command, run)
        assert code in (0, 1, 2) and not touched.exists(), command
    assert type_or_code("resume", run) == resumed and not touched.exists()


def type_or_code(*arguments: str | Path) -> int:
    from typer.testing import CliRunner

    from pipeline.command_line import app

    result = CliRunner().invoke(app, list(map(str, arguments)))
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.exit_code


def test_the_malicious_file_of_these_tests_works(tmp_path: Path) -> None:
    pickle.loads(pickle.dumps(Touch(tmp_path / "touched")))  # noqa: S301  (what ours must never do)
    assert (tmp_path / "touched").exists()


@pytest.mark.parametrize("form", [0, *(pytest.param(form, marks=pytest.mark.faults) for form in (1, 2, 3, 4))])
def test_checkpoints_with_code_are_refused(form: int, run: Path, tmp_path: Path) -> None:
    harmful = Touch(tmp_path / "touched")
    forms = [objects(np.savez, state=[harmful]), objects(np.save, [harmful]), *plain_pickles({"state": harmful})]
    newest = sorted((run / "checkpoints").iterdir())[-1]
    newest.write_bytes(seal(forms[form]))
    look(run, tmp_path / "touched", resumed=2)


def objects(save: Callable[..., None], *lists: list[object], **named: list[object]) -> bytes:
    """A file of numpy's with arrays of objects, which are pickles."""
    written = io.BytesIO()
    arrays = [np.array(content, dtype=object) for content in lists]
    save(written, *arrays, **{name: np.array(content, dtype=object) for name, content in named.items()})
    return written.getvalue()


@pytest.mark.parametrize("form", [0, 1, 2])
def test_childrens_checkpoints_with_code_are_as_good_as_none(form: int, tmp_path: Path) -> None:
    path = tmp_path / "trial.pt"
    path.write_bytes(seal(plain_pickles({"trial": Touch(tmp_path / "touched")})[form]))
    trial = Trial(
        0, 0, 1, (), SpaceSettings(), ChildSettings(), DataSettings(), "", 1.0, checkpoint_path=str(path)
    )  # fmt: skip
    assert ChildCheckpoint(trial).restore() == [] and not (tmp_path / "touched").exists()


def test_a_prepared_array_with_code_is_not_loaded(run: Path, tmp_path: Path) -> None:
    (folder,) = (tmp_path / ".prepared").glob("table-*")
    np.save(folder / "keys.npy", np.array([Touch(tmp_path / "touched")], dtype=object), allow_pickle=True)
    (folder / DIGESTS).write_text(_digests(folder))  # the stranger knows of digests
    table_child._metrics.cache_clear()
    shutil.rmtree(run / "checkpoints")
    shutil.rmtree(run / "results")
    look(run, tmp_path / "touched", resumed=1)  # every child fails


def test_a_part_with_pickled_metadata_is_refused(run: Path, tmp_path: Path) -> None:
    part = run / "results" / "part-000000.parquet"
    harmful = pickle.dumps(Touch(tmp_path / "touched"))
    metadata = {
        b"pandas": harmful,
        b"ARROW:extension:name": b"arrow.py_extension_type",
        b"ARROW:extension:metadata": harmful,
    }
    field = pa.field("trial_id", pa.binary(), metadata=metadata)
    sink = io.BytesIO()
    pq.write_table(pa.table([[harmful]], schema=pa.schema([field], metadata=metadata)), sink)
    part.write_bytes(seal_parquet(sink.getvalue()))
    look(run, tmp_path / "touched", resumed=1)  # repair set it aside, and no result is left


def test_a_journal_with_anything_in_it_is_json(run: Path, tmp_path: Path) -> None:
    import zlib

    body = json.dumps({"results": [{"trial_id": {"__reduce__": ["os.mkdir", str(tmp_path / "touched")]}}]}).encode()
    (run / "journal.jsonl").write_bytes(b"%08x %s\n" % (zlib.crc32(body), body))
    look(run, tmp_path / "touched", resumed=0)


@pytest.mark.parametrize("name", ["harmful:space", "os:mkdir", "timeit:timeit", "models.space:importlib"])
def test_looking_at_a_run_imports_nothing_that_it_names(
    name: str, run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for folder in (tmp_path, run):
        (folder / "harmful.py").write_text(f"import os\nos.mkdir({str(tmp_path / 'touched')!r})\n")
    monkeypatch.chdir(tmp_path)
    configuration = to_dict(open_run(run)[1])
    configuration["space"] = {"function": name, "options": {"setup": f"import os; os.mkdir('{tmp_path}/touched')"}}
    configuration["child"]["task"] = name
    for file in ("config.json", "config.copy.json"):
        write_json(run / file, {**read_json(run / file), "configuration": configuration})
    for command in ("status", "verify", "repair", "report"):
        type_in(command, run)
        assert not (tmp_path / "touched").exists(), command
    assert "accuracy 0." in (run / "report" / "summary.txt").read_text()


def test_no_checkpoint_has_a_pickle_in_it(run: Path) -> None:
    for path in (run / "checkpoints").iterdir():
        with np.load(path, allow_pickle=False) as arrays:
            assert {arrays[name].dtype.kind for name in arrays} == {"f", "U"}
