"""Asynchronous replicas: equal to waves where there is one, and otherwise what their tables say, whatever happens."""

import os
import re
import signal
import subprocess
import time
from pathlib import Path

import pandas as pd
import pytest
import timed_task
from conftest import assert_replayable, assert_same_run, children_ended, run_here, search_table, type_in, wavenas

ASYNC = {
    "mode": "async",
    "max_failed_share": 1,
    "replicas": 5,
    "children_per_replica": 3,
    "gradients_per_step": 4,
    "shards": 3,
}


def sets(**settings: object) -> list[str]:
    return [part for name, value in settings.items() for part in ("--set", f"search.{name}={value}")]


@pytest.mark.parametrize("policy", ["controller", "random", "evolution"])
@pytest.mark.parametrize("shards", [1, 20])
def test_one_replica_is_a_search_in_waves(policy: str, shards: int, table: Path, tmp_path: Path) -> None:
    common = ["--policy", policy, "--set", "evolution.population_size=20", "--set", "evolution.tournament_size=5"]
    search_table(table, tmp_path / "waves", *common)
    search_table(table, tmp_path / "async", *common, *sets(mode="async", replicas=1, shards=shards))
    assert_same_run(tmp_path / "async", tmp_path / "waves")


def test_one_replica_with_trained_children_is_a_search_in_waves(finished_run: Path, tmp_path: Path) -> None:
    run_here(tmp_path / "run", "search.mode=async", "search.replicas=1")
    assert_same_run(tmp_path / "run", finished_run)


@pytest.mark.parametrize("duplicates", ["retrain", "reuse"])
def test_the_controller_is_what_the_tables_say(duplicates: str, table: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    timed_task.PEAK.clear()
    name = "nine_at_once" if duplicates == "retrain" else "take_a_while"
    timed = ["--set", f"child.task=timed_task:{name}", "--set", "cluster.workers=15"]
    search_table(table, folder, *timed, *sets(**ASYNC, duplicates=duplicates), "--samples", "400")
    samples, results, updates = (pd.read_parquet(folder / name) for name in ("samples", "results", "updates"))
    assert sorted(samples.trial_id) == sorted(results.trial_id) == list(range(400))
    assert sorted(updates.wave) == list(range(134)) and updates["update"].tolist() == list(range(134))
    assert set(updates.replica) == {0, 1, 2, 3, 4} and updates.policy_version.max() == 34
    assert updates.staleness.between(1, 12).sum() > 60
    assert not updates.wave.is_monotonic_increasing, "no replica overtook another: the test shows nothing"
    assert max(timed_task.PEAK) <= 15
    if duplicates == "retrain":
        assert max(timed_task.PEAK) >= 9
    else:
        assert results.reused_from.notna().sum() > 300 and results[results.attempts > 0].trial_id.nunique() < 50
    assert_replayable(folder)
    policies = [path.stem for path in (folder / "checkpoints").iterdir()]
    assert len(policies) == 3, policies


def test_no_replica_waits_for_anothers_child(table: Path, tmp_path: Path) -> None:
    task = ["--set", "child.task=timed_task:first_is_overtaken", "--set", "cluster.workers=6"]
    search_table(table, tmp_path / "run", *task, *sets(mode="async", replicas=3, children_per_replica=2))
    updates = pd.read_parquet(tmp_path / "run" / "updates").set_index("wave")
    results = pd.read_parquet(tmp_path / "run" / "results").set_index("trial_id")
    assert updates.staleness[0] > 10, "its snapshot is as old as the steps that others took meanwhile"
    assert (results.ended_at < results.ended_at[0]).sum() >= 30
    assert_replayable(tmp_path / "run")


def test_killed_and_resumed_it_keeps_its_word(table: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, go = tmp_path / "run", tmp_path / "go"
    monkeypatch.setenv("WAVENAS_TEST_GO", str(go))
    fixed = ["--columns", "width,kind,skip", "--reward", "accuracy", "--samples", "120"]
    task = ["--set", "child.task=timed_task:held_from_60", "--set", "cluster.workers=15"]
    start = ["run", "--experiment", "table", "--table", table, *fixed, *task, *sets(**ASYNC), "--run", folder]
    _kill_after(wavenas(*start), folder, 40)
    before = pd.read_parquet(folder / "results").query("status == 'ok'").set_index("trial_id").ended_at
    go.touch()
    log, ended = (folder / "run.log").read_text(), children_ended(folder)
    type_in("resume", folder)
    waves = re.findall(r"wave \d+: (\d+) children(?:, (\d+))?", (folder / "run.log").read_text()[len(log) :])
    to_train = sum(int(size) - int(already or 0) for size, already in waves)
    assert to_train == 120 - ended < 81, "what the time left is reckoned with"
    results = pd.read_parquet(folder / "results").set_index("trial_id")
    assert sorted(results.index) == list(range(120))
    assert 0 < len(before) <= 60
    assert (results.ended_at[before.index] == before).all(), "a finished child was trained again"
    assert sorted(pd.read_parquet(folder / "updates").wave) == list(range(40))
    assert_replayable(folder)


def _kill_after(command: list[str], folder: Path, children: int) -> None:
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parent)}
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.STDOUT)
    deadline = time.monotonic() + 400
    while children_ended(folder) < children and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
