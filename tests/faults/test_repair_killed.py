"""A repair that is killed loses nothing: typed again, it ends as if nothing had been."""

import signal
from pathlib import Path

import pytest
from conftest import assert_same_run, type_in
from damaged_runs import contents, damaged_copy, make_runs
from drivers import Moment, drive

pytestmark = [pytest.mark.faults, pytest.mark.timeout(900)]


def test_a_repair_killed_at_any_moment_loses_nothing(tmp_path: Path) -> None:
    runs = make_runs(tmp_path)
    reached, call = True, 0
    while reached:
        call += 1
        for after in (False, True):
            run = damaged_copy(runs, tmp_path / f"{call}-{after}")
            before, output = contents(run), tmp_path / "output.txt"
            reached = drive(["repair", run], output, Moment("os:rename", call, after)) == -signal.SIGKILL
            assert all(content in contents(run) for content in before)
            type_in("repair", run)
            assert all(content in contents(run) for content in before)
            type_in("resume", run)
            assert_same_run(run, runs / "reference")
    assert call > 6, "there is more to be replaced in this run"
