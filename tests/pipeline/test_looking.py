"""The commands that look at runs, from their files alone."""

import json
import math
import os
import shutil
import statistics
import tempfile
from pathlib import Path

import pytest
from conftest import type_in
from made_up import BEGUN, made_up_run

from pipeline.experiments import digits
from pipeline.run_folder import driver_lock, is_running, open_run
from pipeline.run_paths import RunPaths
from pipeline.run_state import run_state
from pipeline.seals import read_json, write_json
from pipeline.tables import Tables, read_table

NOBODY = 65_534  # a user


@pytest.fixture
def running(finished_run: Path, tmp_path: Path) -> Path:
    """A run of which a wave is still under way, without a driver."""
    folder = tmp_path / "running"
    shutil.copytree(finished_run, folder, ignore=shutil.ignore_patterns(".lock*"))
    content = read_json(folder / "config.json")
    content["configuration"]["search"]["samples"] = 200
    write_json(folder / "config.json", content)
    return folder


def test_status_tells_how_far_a_run_is(finished_run: Path) -> None:
    output = type_in("status", finished_run)
    assert "controller: 20 of 20 children in 3 waves, 0 failed" in output
    assert "best: trial" in output and "Finished" in output and "entropy" in output
    status = json.loads(type_in("status", finished_run, "--json"))
    assert status["state"] == "finished" and status["searches"][0]["statuses"] == {"ok": 20}


def test_a_run_under_way_tells_its_driver_and_its_time_left(running: Path) -> None:
    assert "No driver is at work on it. Go on with: " in type_in("status", running)
    paths, configuration = open_run(running)
    last = max(row["ended_at"] for row in read_table(paths, "results", ["ended_at"]).to_pylist()).timestamp()
    with driver_lock(paths):
        os.utime(paths.owner, (0, 0))  # as if the driver had begun before the first child
        state = run_state(running, now=last + 0.1)
    usual = statistics.median(row["seconds"] for row in read_table(paths, "results", ["seconds"]).to_pylist())
    assert state.state == "running" and state.owner is not None and state.owner.startswith("process ")
    assert state.seconds_left is not None and 0.3 < state.seconds_left / (usual * 180 / 2) < 3
    assert configuration.search.samples == 200


def test_the_time_left_of_a_control_is_told_by_its_own_children(tmp_path: Path) -> None:
    """The search's took 10 seconds, the control's take 20; 56 are to come on 4 workers."""
    paths = made_up_run(tmp_path / "run", digits(), 96, control=40)
    with driver_lock(paths):
        os.utime(paths.owner, (0, 0))
        state = run_state(paths.folder, now=BEGUN + 96 * 10 / 4 + 40 * 20 / 4)
    assert state.seconds_left is not None and 0.9 < state.seconds_left / (56 * 20 / 4) < 1.1


def test_the_best_trials_are_listed(finished_run: Path) -> None:
    best = json.loads(type_in("top", finished_run, "-n", "3", "--json"))
    assert len(best) == 3 and best[0]["reward"] >= best[1]["reward"] >= best[2]["reward"]
    lines = type_in("top", finished_run, "-n", "3").splitlines()
    assert "validation accuracy" in lines[0] and len(lines) == 4 and max(map(len, lines)) <= 80
    assert lines[1].split()[0] == str(best[0]["trial_id"])


def test_one_trial_is_shown_whole(finished_run: Path) -> None:
    output = type_in("show", finished_run, 3)
    assert "trial 3, wave 0" in output and "Classifier: " in output and "validation metric" in output
    told = json.loads(type_in("show", finished_run, 3, "--json"))
    assert told["sample"]["trial_id"] == 3 and len(told["epochs"]) == 2
    assert "no trial 99; allowed are 0 to 19" in type_in("show", finished_run, 99, expected=2)


def test_what_json_has_no_numbers_for_is_null(finished_run: Path, tmp_path: Path) -> None:
    paths = RunPaths(shutil.copytree(finished_run, tmp_path / "run"))
    epoch = {**read_table(paths, "epochs").to_pylist()[0], "trial_id": 3, "epoch": 7}
    tables = Tables(paths)
    tables.append({"epochs": [{**epoch, "train_loss": math.nan, "validation_loss": math.inf}]})
    tables.commit()
    tables.close()
    told = json.loads(type_in("show", paths.folder, 3, "--json"), parse_constant=pytest.fail)
    assert told["epochs"][-1]["train_loss"] is told["epochs"][-1]["validation_loss"] is None


def test_a_search_is_over_where_its_checkpoint_says_so(finished_run: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(finished_run, tmp_path / "run")
    shutil.rmtree(folder / "updates")
    assert json.loads(type_in("status", folder, "--json"))["state"] == "finished"
    type_in("resume", folder)
    assert not (folder / "updates").exists(), "nothing was left to be done"


def test_runs_are_told_apart(finished_run: Path, running: Path) -> None:
    told = json.loads(type_in("diff", finished_run, running, "--json"))
    assert told["settings"] == {"search.samples": [20, 200]} and told["figures"][0]["children"] == 20
    output = type_in("diff", finished_run, running)
    assert "search.samples" in output and "interrupted" in output


def test_compare_tells_runs_apart_too(finished_run: Path, running: Path) -> None:
    assert type_in("compare", finished_run, running) == type_in("diff", finished_run, running)
    told = json.loads(type_in("compare", finished_run, running, "--json"))
    assert told["settings"] == {"search.samples": [20, 200]}
    refused = type_in("compare", finished_run, running, "--seeds", "3", expected=2)
    assert "--seeds: runs are compared as they are; allowed is --json alone" in refused
    assert "is a run: name another to compare it with" in type_in("compare", finished_run, expected=2)


def test_runs_of_a_folder_are_listed(running: Path) -> None:
    (running.parent / "damaged").mkdir()
    (running.parent / "damaged" / "config.json").write_text("{")
    output = type_in("list", running.parent)
    assert "20/200" in output and "interrupted" in output and "unreadable" in output
    assert len(json.loads(type_in("list", running.parent, "--json"))) == 2
    assert "no runs in" in type_in("list", running.parent / "nowhere")


def test_the_end_of_the_log_is_told(finished_run: Path) -> None:
    assert type_in("tail", finished_run, "-n", "1").strip().endswith("INFO finished")


def test_the_log_is_told_to_machines_too(running: Path) -> None:
    with (running / "run.log").open("a") as log:
        log.write("2026-01-02 03:04:05,678 ERROR it broke\nTraceback:\n  a line\n")
        log.write("ValueError: in CUDA code\n" * 20)
    entries = [json.loads(line) for line in type_in("tail", running, "-n", "2", "--json").splitlines()]
    message = "it broke\nTraceback:\n  a line" + "\nValueError: in CUDA code" * 20
    broke = {"time": "2026-01-02 03:04:05,678", "level": "ERROR", "message": message}
    assert entries[1] == broke and entries[0]["level"] == "INFO" and entries[0]["message"] == "finished"


def test_a_run_goes_by_its_name(running: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    running.parent.joinpath("runs").mkdir()
    running.rename(running.parent / "runs" / "mine")
    monkeypatch.chdir(running.parent)
    assert "runs/mine: experiment digits" in type_in("status", "mine")
    assert "ok   runs/mine/config.json" in type_in("verify", "mine", expected=1)
    assert type_in("export-trials", "mine") and "runs/mine/report/report.html" in type_in("report", "mine")
    assert "runs/mine names no code" in type_in("trust", "mine")
    for stage in ("final", "ablate"):
        assert "runs/mine: 20 of 200 children ended; the search has to" in type_in(stage, "mine", expected=2)
    assert "runs/mine: no finished search" in type_in("transfer", "characters", "mine", expected=2)
    assert "no run there" in type_in("status", "nothing", expected=2)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can look with somebody else's eyes")
def test_somebody_who_may_only_read_sees_a_run_going_on(
    finished_run: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    with tempfile.TemporaryDirectory() as name:  # pytest's own folders are closed to others
        folder = Path(name) / "run"
        shutil.copytree(finished_run, folder, ignore=shutil.ignore_patterns(".lock*"))
        Path(name).chmod(0o755)
        paths = RunPaths(folder)
        with driver_lock(paths):
            assert seen_by_nobody(paths)
        paths.lock.touch()
        assert not seen_by_nobody(paths)


def seen_by_nobody(paths: RunPaths) -> bool:
    os.seteuid(NOBODY)
    try:
        assert not os.access(paths.lock, os.W_OK, effective_ids=True)
        return is_running(paths)
    finally:
        os.seteuid(0)
