"""Looking at a run folder of someone else, and going on with one, executes nothing that is in its files."""

import io
import json
import os
import pickle
import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from conftest import search_table, type_in
from torch import nn

from pipeline import load_run
from pipeline.configuration import to_dict
from pipeline.datasets import DIGESTS, _digests
from pipeline.errors import UserError
from pipeline.run_folder import open_run
from pipeline.seals import read_json, seal_parquet, write_json
from tasks import table_child
from tasks.child_checkpoint import ChildCheckpoint
from tasks.records import Trial
from tasks.sealed import seal
from tasks.settings import ChildSettings, DataSettings, SpaceSettings
from tasks.weights import load_weights


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


LOOKING = (
    ("status",), ("status", "--json"), ("verify",), ("report",), ("list",), ("top",), ("show", "0"), ("diff",),
    ("tail",), ("export-trials",),
)  # fmt: skip


def look(run: Path, touched: Path, *, resumed: int) -> None:
    """Every command that reads a run."""
    for command in (*LOOKING, ("repair",)):
        type_look(run, *command)
        assert not touched.exists(), command
    with suppress(UserError, ValueError, KeyError):
        read_all(run)
    assert not touched.exists(), "load_run"
    assert type_or_code("resume", run) == resumed and not touched.exists()


def type_look(run: Path, command: str, *more: str) -> int:
    where = {"list": [run.parent], "diff": [run, run]}.get(command, [run])
    return type_or_code(command, *where, *more)


def read_all(run: Path) -> None:
    """What a notebook reads of a run, but for architectures and networks."""
    opened = load_run(run)
    for name in ("samples", "results", "epochs", "updates"):
        opened.table(name)
    opened.summary()
    opened.report()


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
    for file in ("config.json", "config.copy.json"):
        write_json(run / file, {name: value for name, value in read_json(run / file).items() if name != "data"})
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
    look(run, tmp_path / "touched", resumed=2)  # it is of another version, if of any


def test_a_journal_with_anything_in_it_is_json(run: Path, tmp_path: Path) -> None:
    import zlib

    body = json.dumps({"results": [{"trial_id": {"__reduce__": ["os.mkdir", str(tmp_path / "touched")]}}]}).encode()
    (run / "journal.jsonl").write_bytes(b"%08x %s\n" % (zlib.crc32(body), body))
    look(run, tmp_path / "touched", resumed=2)  # the line is whole, but has no rows of ours


NAMES = ["harmful:space", "subprocess:Popen", "os:mkdir", "timeit:timeit", "models.variants:without_skips"]
OURS = ["models.space:importlib", "models.space:load_function"]  # that are no spaces


@pytest.fixture
def named(request: pytest.FixtureRequest, run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The run of a stranger who names a function, with options by which it would touch a file."""
    touched = tmp_path / "touched"
    for folder in (tmp_path, run):
        (folder / "harmful.py").write_text(f"import os\nos.mkdir({str(touched)!r})\n")
    monkeypatch.chdir(tmp_path)
    options = {
        "subprocess:Popen": {"args": ["mkdir", str(touched)]},
        "timeit:timeit": {"setup": f"import os; os.mkdir('{touched}')"},
        "models.variants:without_skips": {
            "function": "models.variants:densely_connected", "options": {"function": "harmful:space", "options": {}},
        },
    }  # fmt: skip
    configuration = to_dict(open_run(run)[1])
    configuration["space"] = {"function": request.param, "options": options.get(request.param, {})}
    if not request.param.startswith("models.variants"):  # which is no task
        configuration["child"]["task"] = request.param
    for file in ("config.json", "config.copy.json"):
        write_json(run / file, {**read_json(run / file), "configuration": configuration})
    return run


@pytest.mark.parametrize("named", [*NAMES, *OURS], indirect=True)
def test_looking_at_a_run_imports_nothing_that_it_names(named: Path, tmp_path: Path) -> None:
    for command in (*LOOKING, ("repair",)):
        assert type_look(named, *command) == 0, command
        assert not (tmp_path / "touched").exists(), command
    read_all(named)
    assert not (tmp_path / "touched").exists()
    assert "accuracy 0." in (named / "report" / "summary.txt").read_text()


@pytest.mark.parametrize("named", NAMES, indirect=True)
def test_going_on_with_a_run_imports_nothing_that_it_names_unless_it_is_trusted(named: Path, tmp_path: Path) -> None:
    goings = [("resume",), ("final",), ("ablate",), ("export", "--to", str(tmp_path / "out"))]
    goings += [("export", "--train", "--to", str(tmp_path / "out"))]
    for command, *more in goings:
        output = type_in(command, named, *more, expected=2)
        assert "names code that is not of this project" in output and "trust" in output, command
        assert not (tmp_path / "touched").exists(), command
    assert "names code" in type_in("transfer", "characters", named, "--cell", "lstm", expected=2)
    assert "names code" in type_in("compare", tmp_path / "compared", "--like", named, expected=2)
    for read in (lambda: load_run(named).architecture(0), lambda: load_run(named).build(0)):
        with pytest.raises(UserError, match="names code that is not of this project"):
            read()
    assert not (tmp_path / "touched").exists()


@pytest.mark.parametrize("named", ["harmful:space"], indirect=True)
def test_what_is_trusted_is_one_config_json(named: Path, tmp_path: Path) -> None:
    assert "may have harmful:space and harmful:space run" in type_in("trust", named)
    assert "names code" not in type_in("resume", named, expected=2)
    assert (tmp_path / "touched").exists(), "it was meant to be imported now"
    for file in ("config.json", "config.copy.json"):
        content = read_json(named / file)
        content["configuration"]["space"]["options"] = {"other": 1}
        write_json(named / file, content)
    assert "names code" in type_in("resume", named, expected=2)


@pytest.mark.parametrize("named", OURS, indirect=True)
def test_functions_of_ours_that_are_no_spaces_are_not_called(named: Path) -> None:
    output = type_in("resume", named, expected=2)
    assert "is not a function" in output or "is not a generator function" in output


@pytest.mark.parametrize("form", [0, 1, 2])
def test_weights_with_code_are_refused(form: int, small_run: Path, tmp_path: Path) -> None:
    path = tmp_path / "weights.pt"
    content = plain_pickles({"w": Touch(tmp_path / "touched")})[form]
    for written in (content, seal(content)):
        path.write_bytes(written)
        with pytest.raises(ValueError, match="not the weights of this network, or damaged"):
            load_weights(str(path), nn.Linear(2, 2))
        output = type_in("export", small_run, "--weights", path, "--to", tmp_path / "out", expected=2)
        assert "cannot be read as weights" in output and not (tmp_path / "touched").exists()


def test_no_checkpoint_has_a_pickle_in_it(run: Path) -> None:
    for path in (run / "checkpoints").iterdir():
        with np.load(path, allow_pickle=False) as arrays:
            assert {arrays[name].dtype.kind for name in arrays} == {"f", "U"}
