"""A run goes on with what it was made with, or with what its user accepts."""

import json
from pathlib import Path

import pytest
from conftest import search_table, type_in

from pipeline import provenance
from pipeline.errors import UserError
from pipeline.experiments import digits
from pipeline.provenance import check_changes, code_digest, made_with
from pipeline.run_folder import create_run


def changed(monkeypatch: pytest.MonkeyPatch, **packages: str) -> None:
    now = made_with()
    monkeypatch.setattr(provenance, "made_with", lambda: {**now, "packages": now["packages"] | packages})


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
    python = made_with()["packages"]["python"].rpartition(".")[0]
    changed(monkeypatch, torch=made_with()["packages"]["torch"], python=f"{python}.99")
    assert check_changes(paths, accept=False) == []


def test_the_digest_is_of_every_source_file() -> None:
    assert len({code_digest(name) for name in provenance.OURS}) == 3
    assert code_digest("models") == code_digest("models")
