"""A run's trials as lines of text."""

import json
from pathlib import Path

import pandas as pd
import pytest
from conftest import type_in
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from models.conv_architecture import ConvArchitecture
from pipeline import load_run
from pipeline.experiments import digits
from pipeline.run_folder import create_run
from pipeline.schemas import TABLES
from pipeline.tables import Tables


def test_csv_has_all_that_the_tables_have(finished_run: Path, tmp_path: Path) -> None:
    type_in("export-trials", finished_run, "--to", tmp_path / "trials.csv")
    assert (tmp_path / "trials.csv").read_text() == type_in("export-trials", finished_run)
    read = pd.read_csv(tmp_path / "trials.csv")
    run = load_run(finished_run)
    expected = run.samples().merge(run.results(), on=["trial_id", "wave"])
    assert list(read.columns) == list(expected.columns) and len(read) == 20
    for name in ("trial_id", "wave", "seed", "log_prob", "architecture", "status", "reward", "metric", "parameters"):
        assert read[name].tolist() == expected[name].tolist(), name
    assert [json.loads(tokens) for tokens in read.tokens] == [tokens.tolist() for tokens in expected.tokens]
    assert (pd.to_datetime(read.ended_at, format="ISO8601") == expected.ended_at).all()


def test_json_lines_hold_architectures_as_data(finished_run: Path) -> None:
    rows = [json.loads(line) for line in type_in("export-trials", finished_run, "--format", "jsonl").splitlines()]
    run = load_run(finished_run)
    assert [row["trial_id"] for row in rows] == list(range(20))
    for row in rows:
        assert ConvArchitecture.from_json(row["architecture"]) == run.architecture(row["trial_id"])
    assert [row["reward"] for row in rows] == run.results().reward.tolist()


def test_trials_that_have_not_ended_have_no_result(tmp_path: Path) -> None:
    paths = create_run(tmp_path / "run", digits())
    sample = dict.fromkeys(TABLES["samples"].arrow.names, 0)
    sample |= {"tokens": [1], "architecture": '{"layers": "é, \\"x\\""}', "architecture_hash": "a", "log_prob": -0.5}
    tables = Tables(paths)
    tables.append({"samples": [sample]})
    tables.close()
    row = json.loads(type_in("export-trials", tmp_path / "run", "--format", "jsonl"))
    assert row["architecture"] == {"layers": 'é, "x"'}
    assert row["trial_id"] == 0 and row["status"] is row["reward"] is row["ended_at"] is None
    type_in("export-trials", tmp_path / "run", "--to", tmp_path / "trials.csv")
    assert pd.read_csv(tmp_path / "trials.csv").reward.isna().all()


def test_mistakes_are_told(finished_run: Path, tmp_path: Path) -> None:
    for arguments, message in (
        ([finished_run, "--format", "xml"], "unknown format 'xml'; allowed: csv, jsonl"),
        ([tmp_path], "no run there"),
        ([finished_run, "--to", tmp_path / "none/trials.csv"], "cannot be written"),
    ):
        assert message in type_in("export-trials", *arguments, expected=2)


def test_tensorboard_shows_the_figures_of_trials_and_updates(finished_run: Path, tmp_path: Path) -> None:
    printed = type_in("export-trials", finished_run, "--format", "tensorboard", "--to", tmp_path / "events")
    assert f"tensorboard --logdir {tmp_path / 'events'}" in printed
    events = EventAccumulator(str(tmp_path / "events")).Reload()
    run = load_run(finished_run)
    results, updates = run.results().sort_values("trial_id"), run.updates().sort_values("update")
    rewards = events.Scalars("trial/reward")
    assert [event.step for event in rewards] == list(range(20))
    assert [event.value for event in rewards] == pytest.approx(results.reward.tolist())
    assert [event.wall_time for event in rewards] == pytest.approx(results.ended_at.astype("int64") / 1e6)
    assert [event.value for event in events.Scalars("trial/best_reward")] == pytest.approx(results.reward.cummax())
    assert [event.value for event in events.Scalars("update/entropy")] == pytest.approx(updates.entropy.tolist())
    type_in("export-trials", finished_run, "--format", "tensorboard", "--to", tmp_path / "events")
    events.Reload()  # as a TensorBoard that is looking does
    assert [event.step for event in events.Scalars("trial/reward")] == list(range(20)), "each trial once"
    assert len(list((tmp_path / "events").iterdir())) == 1
    for mine in ("mine.txt", "events.out.tfevents.1.host.2.0"):
        (tmp_path / "events" / mine).touch()
        command = ["export-trials", finished_run, "--format", "tensorboard", "--to", tmp_path / "events"]
        again = type_in(*command, expected=2)
        (tmp_path / "events" / mine).unlink()
    assert "allowed is a new or an empty folder" in again
