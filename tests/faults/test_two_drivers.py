"""Two drivers on one folder: one at a time, and the second can go on where the first was killed."""

import signal
from pathlib import Path

import pytest
from conftest import assert_same_run, children_ended, write_table
from drivers import drive, exit_code, start_driver, wait_until

pytestmark = [pytest.mark.faults, pytest.mark.timeout(1200)]


def start_command(folder: Path, table: Path) -> list[str | Path]:
    columns = ["--columns", "width,kind,skip", "--reward", "accuracy", "--samples", "60"]
    task = ["--set", "child.task=fault_tasks:held_from_20"]
    return ["run", "--experiment", "table", "--table", table, *columns, *task, "--run", folder]


def test_a_second_driver_is_refused_until_the_first_is_killed(tmp_path: Path) -> None:
    folder, table, go = tmp_path / "run", write_table(tmp_path), tmp_path / "go"
    go.touch()
    assert drive(start_command(tmp_path / "undisturbed", table), tmp_path / "undisturbed.txt") == 0
    go.unlink()
    first = start_driver(start_command(folder, table), tmp_path / "first.txt")
    wait_until(lambda: children_ended(folder) >= 5, "children", first)
    refused = tmp_path / "refused.txt"
    assert drive(["resume", folder], refused) == 2
    assert f"another driver is at work on this run (process {first.pid} on " in refused.read_text()
    assert drive(start_command(folder, table), refused) == 2
    assert "already holds a run" in refused.read_text()
    assert first.exitcode is None
    first.kill()
    assert exit_code(first) == -signal.SIGKILL
    go.touch()
    second = tmp_path / "second.txt"
    assert drive(["resume", folder], second) == 0, second.read_text()
    assert_same_run(folder, tmp_path / "undisturbed")


def test_of_drivers_that_start_at_once_one_alone_runs(tmp_path: Path) -> None:
    folder, table = tmp_path / "run", write_table(tmp_path)
    (tmp_path / "go").touch()
    assert drive(start_command(tmp_path / "undisturbed", table), tmp_path / "undisturbed.txt") == 0
    outputs = [tmp_path / f"output-{number}.txt" for number in range(4)]
    drivers = [start_driver(start_command(folder, table), output) for output in outputs]
    codes = [exit_code(driver) for driver in drivers]
    told = [output.read_text() for output in outputs]
    assert sorted(codes) == [0, 2, 2, 2], told
    for code, text in zip(codes, told, strict=True):
        assert code == 0 or "another driver is at work" in text or "already holds a run" in text, text
    assert_same_run(folder, tmp_path / "undisturbed")
