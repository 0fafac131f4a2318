"""A run goes on with what it was made with, or with what its user accepts."""

import json
import sys
from pathlib import Path

import pandas as pd
import pytest
from conftest import search_table, type_in

from pipeline import provenance
from pipeline.errors import UserError
from pipeline.experiments import digits
from pipeline.provenance import check_changes, code_digest, made_with
from pipeline.run_folder import create_run
from pipeline.seals import write_json


def changed(monkeypatch: pytest.MonkeyPatch, **packages: str) -> None:
    now = made_with(digits(), None)
    monkeypatch.setattr(provenance, "made_with", lambda *_: {**now, "packages": now["packages"] | packages})


def test_other_code_is_refused_until_it_is_accepted_and_the_record_tells(
    table: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "run"
    search_table(table, folder, "--samples", "16")
    old = code_digest("tasks")
    monkeypatch.setattr(provenance, "code_digest", lambda name: "other" if name == "tasks" else code_digest(name))
    refused = type_in("resume", folder, expected=2)
    assert f"not what this run was made with: code in tasks/ was {old} and is other" in refused
    assert "--accept-changes" in refused and not (folder / "changes.json").exists()
    type_in("resume", folder, "--accept-changes")
    type_in("resume", folder)  # what was accepted once is what it is made with now
    (entry,) = json.loads((folder / "changes.json").read_text())["changes"]
    assert entry["differences"] == [f"code in tasks/ was {old} and is other"] and entry["since"].startswith("20")
    assert "accepted: code in tasks/" in (folder / "run.log").read_text()
    monkeypatch.undo()
    assert f"code in tasks/ was other and is {old}" in type_in("resume", folder, expected=2)


def test_packages_that_numbers_come_from_count_and_others_do_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = create_run(tmp_path / "run", digits())
    changed(monkeypatch, dask="1", pandas="1", pyarrow="1", torchvision="1")
    assert check_changes(paths, accept=False) == []
    changed(monkeypatch, torch="9.9", numpy="1")
    with pytest.raises(UserError, match=r"torch was \S+ and is 9\.9; numpy was \S+ and is 1\."):
        check_changes(paths, accept=False)
    python = made_with(digits(), None)["packages"]["python"].rpartition(".")[0]
    changed(monkeypatch, torch=made_with(digits(), None)["packages"]["torch"], python=f"{python}.99")
    assert check_changes(paths, accept=False) == []


def test_the_digest_is_of_every_source_file() -> None:
    assert len({code_digest(name) for name in provenance.OURS}) == 3
    assert code_digest("models") == code_digest("models")


OWN = """
from tasks.table_child import look_up

def own(architecture, trial):
    return look_up(architecture, trial).metric
"""


@pytest.fixture
def own_task(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A module of the user's own in the current folder, with the task own_task:own."""
    (tmp_path / "own_task.py").write_text(OWN)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "own_task", raising=False)
    return tmp_path / "own_task.py"


def test_a_module_of_ones_own_that_was_changed_is_refused_until_it_is_accepted(
    own_task: Path, table: Path, tmp_path: Path
) -> None:
    search_table(table, tmp_path / "run", "--samples", "16", "--set", "child.task=own_task:own")
    type_in("resume", tmp_path / "run")
    own_task.write_text(OWN + "\n# other numbers\n")
    for command in ("resume", "ablate"):
        refused = type_in(command, tmp_path / "run", expected=2)
        assert "module own_task was " in refused and "--accept-changes" in refused, command
    type_in("resume", tmp_path / "run", "--accept-changes")
    type_in("resume", tmp_path / "run")
    (entry,) = json.loads((tmp_path / "run" / "changes.json").read_text())["changes"]
    assert entry["differences"][0].startswith("module own_task was ")


def test_other_data_are_refused_until_they_are_accepted(table: Path, tmp_path: Path) -> None:
    search_table(table, tmp_path / "run", "--samples", "16")
    frame = pd.read_parquet(table)
    frame.sample(frac=1, random_state=3).to_parquet(table)  # the same networks in another order
    type_in("resume", tmp_path / "run")
    frame.assign(accuracy=frame.accuracy * 0.9).to_parquet(table)
    for command in ("resume", "ablate"):
        assert "the data was " in type_in(command, tmp_path / "run", expected=2), command
    type_in("resume", tmp_path / "run", "--accept-changes")
    type_in("resume", tmp_path / "run")


def test_other_code_is_refused_by_what_comes_after_a_search(
    table: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    search_table(table, tmp_path / "run", "--samples", "16")
    changed(monkeypatch, torch="9.9")
    assert "and is 9.9" in type_in("ablate", tmp_path / "run", expected=2)
    other = ["--set", "cluster.workers=1", "--set", "language.parameters=1000", "--cell", "lstm", "--data", tmp_path]
    for name in ("train", "valid", "test"):
        (tmp_path / f"{name}.txt").write_text("a b c d e f g h i j\n" * 200)
    assert "and is 9.9" in type_in("transfer", "characters", tmp_path / "run", *other, expected=2)


def test_other_settings_are_refused_and_named(table: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    search_table(table, run, "--samples", "16")
    was = "search.seed was 0 and would be 3"
    assert was in type_in("resume", run, "--set", "search.seed=3", expected=2)
    assert was in search_table(table, run, "--samples", "16", "--seed", "3", expected=2)
    config = run / "config.json"
    whole = config.read_text()
    assert '"seed": 0' in whole
    config.write_text(whole.replace('"seed": 0', '"seed": 3'))
    assert was in type_in("resume", run, expected=2)
    content = json.loads(config.read_text())
    del content["sha256"]
    write_json(config, content)  # with a checksum that matches
    assert was in type_in("resume", run, expected=2)


def test_a_comparison_with_other_settings_is_refused_and_told_which(table: Path, tmp_path: Path) -> None:
    fixed = ["--experiment", "table", "--table", table, "--columns", "width,kind,skip", "--reward", "accuracy"]
    command = ["compare", tmp_path / "compared", *fixed, "--policies", "controller,random", "--seeds", "1"]
    type_in(*command, "--samples", "16")
    assert "search.samples was 16 and would be 24" in type_in(*command, "--samples", "24", expected=2)
