"""A disk that is full, or may not be written to: the run says which file and what to do, and nothing is lost."""

import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from conftest import assert_same_run, search_table, skip_unless_it_must_run, type_in
from damaged_runs import SHORT, contents, damaged_copy, make_runs
from typer.testing import CliRunner

from pipeline.command_line import app
from pipeline.errors import DiskError
from pipeline.journal import Journal, read_journal
from pipeline.run_paths import RunPaths
from pipeline.tables import Tables


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_runs(tmp_path_factory.mktemp("disk"))


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Callable[..., Path]]:
    """Mounts a disk of so many KiB; skips where that is refused."""
    folder = tmp_path / "disk"

    def mount(kib: int, *options: str) -> Path:
        folder.mkdir(exist_ok=True)
        how = ",".join([f"size={kib}k", *options])
        done = subprocess.run(["mount", "-t", "tmpfs", "-o", how, "none", folder], capture_output=True, text=True)
        if done.returncode:
            skip_unless_it_must_run(f"no disk can be mounted here: {done.stderr.strip()}")
        return folder

    yield mount
    while folder.is_mount():
        subprocess.run(["umount", "--lazy", folder], check=True)


def remount(disk: Path, how: str) -> None:
    subprocess.run(["mount", "-o", f"remount,{how}", disk], check=True)


def fill(disk: Path, leave: int) -> Path:
    """Leave so many bytes, or as near as blocks allow."""
    free = os.statvfs(disk).f_bavail * os.statvfs(disk).f_frsize
    (disk / "ballast").write_bytes(bytes(max(0, free - leave)))
    return disk / "ballast"


@pytest.mark.parametrize("mode", ["waves", pytest.param("async", marks=pytest.mark.faults)])
@pytest.mark.parametrize("leave", [90, *(pytest.param(leave, marks=pytest.mark.faults) for leave in (60, 70, 140))])
def test_a_run_whose_disk_fills_up_ends_and_goes_on_once_there_is_room(
    leave: int, mode: str, table: Path, tmp_path: Path, small_disk: Callable[..., Path]
) -> None:
    search_table(table, tmp_path / "reference", *SHORT)
    disk = small_disk(20_000)
    search_table(table, disk / "other", "--samples", "8")  # prepares the data
    ballast = fill(disk, leave * 1_024)
    output = search_table(table, disk / "run", *SHORT, "--set", f"search.mode={mode}", expected=1)
    assert f"error: {disk}/run/" in output and "cannot be written: No space left on device" in output
    assert "Nothing that ended is lost.\nMake room there, or let it be written to, and go on with: " in output
    assert "Traceback" not in output
    ended = len(RunPaths(disk / "run").journal.read_bytes().splitlines())
    ballast.unlink()
    type_in("resume", disk / "run")
    assert_same_run(disk / "run", tmp_path / "reference")
    assert ended or "run/report" in output, "it was meant to fill up in the midst of the search"
    type_in("verify", disk / "run")


def test_a_disk_that_is_full_before_anything_started_is_an_error_of_what_was_given(
    table: Path, small_disk: Callable[..., Path]
) -> None:
    disk = small_disk(2_000)
    fill(disk, 0)
    output = search_table(table, disk / "run", expected=2)
    assert f"error: {disk}/" in output and "No space left on device" in output
    assert not (disk / "run" / "config.json").exists() and not list(disk.glob(".prepared/.*"))


def test_a_folder_that_may_be_read_alone_cannot_be_run_in_but_looked_at(
    table: Path, small_disk: Callable[..., Path]
) -> None:
    disk = small_disk(20_000)
    search_table(table, disk / "run", *SHORT)
    remount(disk, "ro")
    assert "Read-only file system" in search_table(table, disk / "second", expected=2)
    assert "cannot be locked" in type_in("resume", disk / "run", expected=2)
    assert "64 of 64 children" in type_in("status", disk / "run")
    assert "The run is whole." in type_in("verify", disk / "run")
    assert f"error: {disk}/run/report" in type_in("report", disk / "run", expected=1)
    remount(disk, "rw")


@pytest.mark.parametrize("leave", [6, *(pytest.param(kib, marks=pytest.mark.faults) for kib in (0, 10, 14, 20, 30))])
def test_a_repair_whose_disk_is_full_loses_nothing_and_is_done_again_once_there_is_room(
    leave: int, runs: Path, small_disk: Callable[..., Path]
) -> None:
    disk = small_disk(20_000)
    run = damaged_copy(runs, disk)
    before = contents(run)
    ballast = fill(disk, leave * 1_024)
    ended = CliRunner().invoke(app, ["repair", str(run)])
    assert ended.exit_code in (1, 2) and "No space left on device" in ended.output, ended.output
    assert all(content in contents(run) for content in before)
    ballast.unlink()
    type_in("repair", run)
    assert all(content in contents(run) for content in before)
    type_in("resume", run)
    assert_same_run(run, runs / "reference")


def test_no_line_ever_follows_a_torn_one_in_the_journal(small_disk: Callable[..., Path]) -> None:
    path = small_disk(64) / "journal.jsonl"
    journal = Journal(path)
    row = {"update": 0, "wave": 0, "replica": 0}
    written = 0
    with pytest.raises(DiskError, match=r"journal\.jsonl: cannot be written: No space left on device"):
        while True:
            journal.append({"updates": [row | {"update": written}]})
            written += 1
    with pytest.raises(AssertionError, match="a line after one that may be torn"):
        journal.append({"updates": [row]})
    journal.close()
    entries, length = read_journal(path)
    assert [entry["updates"][0]["update"] for entry in entries] == list(range(written))
    assert length == path.stat().st_size and written > 500


def test_parts_that_cannot_be_written_stay_as_they_were(small_disk: Callable[..., Path]) -> None:
    disk = small_disk(200)
    tables = Tables(RunPaths(disk))
    tables.append({"updates": [{"update": 0, "wave": 0, "replica": 0}]})
    tables.publish()
    part = disk / "updates" / "part-000000.parquet"
    before = part.read_bytes()
    fill(disk, 0)
    tables._tables["updates"].put([{"update": 1, "wave": 1, "replica": 0}])
    with pytest.raises(DiskError, match=r"part-000000\.parquet: cannot be written: No space left"):
        tables.publish()
    assert part.read_bytes() == before and {path.name for path in part.parent.iterdir()} == {part.name}
    tables.close()  # says so in the log, and leaves the rows to the journal
