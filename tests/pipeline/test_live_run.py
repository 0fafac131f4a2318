"""What others see of a run that is going on: from another process, while its children wait."""

import csv
import io
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest
from conftest import children_ended, run_quietly, tiny_run, wavenas

pytestmark = pytest.mark.slow
TABLES = {"samples": "trial_id", "results": "trial_id", "updates": "update"}


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A run of 20 children of which 12 have ended, published at once; it is let go in the end, and finishes."""
    folder = tmp_path_factory.mktemp("runs") / "live"
    go = folder.parent / "go"
    environment = {**os.environ, "WAVENAS_TEST_GO": str(go), "PYTHONPATH": str(Path(__file__).parent)}
    publishing = "import pipeline.tables as t; t.PUBLISH_SHARE = 1e9; from pipeline.__main__ import main; main()"
    process = subprocess.Popen(
        [sys.executable, "-c", publishing, *tiny_run(folder, "child.task=held_task:held_from_12")[3:]],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment, start_new_session=True,
    )  # fmt: skip
    deadline = time.monotonic() + 200
    while children_ended(folder) < 12 and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.1)
    try:
        yield folder
        go.touch()
        output, _ = process.communicate(timeout=200)
        assert process.returncode == 0, output
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    assert len(pd.read_parquet(folder / "results")) == 20


def ask(*arguments: str | Path) -> str:
    return run_quietly(wavenas(*arguments))


def test_it_is_running(live: Path) -> None:
    told = ask("status", live)
    assert " of 20 children in 1 waves" in told and "A driver is at work on it (" in told
    status = json.loads(ask("status", live, "--json"))
    ended = status["searches"][0]["ended"]
    assert status["state"] == "running" and 8 <= ended <= 12 and status["seconds_left"] > 0
    assert f"{ended}/20" in ask("list", live.parent)
    (run,) = json.loads(ask("list", live.parent, "--json"))
    assert run["state"] == "running" and run["searches"][0]["best"]["metric"] > 0


def test_its_trials_can_be_looked_at(live: Path) -> None:
    best = json.loads(ask("top", live, "--json"))
    assert ask("top", live).splitlines()[1].split()[0] == str(best[0]["trial_id"])
    assert len({row["trial_id"] for row in best}) == len(best) <= 12
    assert "has not ended yet" in ask("show", live, "13") and "trial 3, wave 0" in ask("show", live, "3")
    assert json.loads(ask("show", live, "13", "--json"))["result"] is None
    assert len(json.loads(ask("show", live, "3", "--json"))["epochs"]) == 2


def test_its_log_is_told(live: Path) -> None:
    assert "trial" in ask("tail", live, "--no-follow", "-n", "3")
    entries = [json.loads(line) for line in ask("tail", live, "--no-follow", "-n", "100", "--json").splitlines()]
    ended = [entry for entry in entries if entry["message"].startswith("trial ")]
    assert len(ended) == 12 and {entry["level"] for entry in ended} == {"INFO"}


def test_its_tables_have_each_row_once(live: Path) -> None:
    frames = {name: pd.read_parquet(live / name) for name in TABLES}
    for name, key in TABLES.items():
        assert frames[name][key].is_unique, name
    assert len(frames["samples"]) == 16 and 8 <= len(frames["results"]) <= 12 and len(frames["updates"]) == 1
    assert str(frames["results"].status.dtype) == "category" and str(frames["results"].ended_at.dt.tz) == "UTC"
    assert not pd.read_parquet(live / "epochs").duplicated(["trial_id", "epoch"]).any()


def test_its_trials_are_exported_once_each(live: Path) -> None:
    rows = list(csv.DictReader(io.StringIO(ask("export-trials", live))))
    lines = [json.loads(line) for line in ask("export-trials", live, "--format", "jsonl").splitlines()]
    for trials in ([int(row["trial_id"]) for row in rows], [line["trial_id"] for line in lines]):
        assert len(trials) == len(set(trials)) == 16
