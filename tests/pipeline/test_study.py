"""Trainings after a search: rows that are durable, and are not made twice."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
from conftest import search_table, type_in, write_table
from rich.console import Console

from pipeline.datasets import prepare_data
from pipeline.errors import UserError
from pipeline.run_folder import driver_lock, open_run
from pipeline.search import trial_of
from pipeline.study import Planned, Study, open_study
from pipeline.summary import summarise


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A search over a table. Not to be changed."""
    folder = tmp_path_factory.mktemp("runs")
    search_table(write_table(folder), folder / "run", "--policy", "random", "--samples", "40")
    return folder / "run"


@pytest.fixture
def run(finished: Path, tmp_path: Path) -> Path:
    """A copy of it."""
    shutil.copytree(finished, tmp_path / "run")
    return tmp_path / "run"


@contextmanager
def study_of(run: Path) -> Iterator[tuple[Study, list[Planned]]]:
    """A stage, and three trainings for it: the best networks of the search."""
    paths, configuration = open_run(run)
    data_path = prepare_data(configuration.data, paths.prepared_data)
    best = summarise(paths).ranked[:3]
    planned = [
        Planned(f"best {place}", trial_of(configuration, paths, data_path, {**row, "seed": 1}), {"variant": "found"})
        for place, row in enumerate(best)
    ]
    with open_study(paths, configuration, "ablations", Console(quiet=True)) as study:
        yield study, planned


def ablations(run: Path) -> pd.DataFrame:
    return pd.read_parquet(run / "ablations").sort_values("training", ignore_index=True)


def test_rows_come_in_the_order_of_the_trainings_and_are_durable_tables(run: Path) -> None:
    with study_of(run) as (study, planned):
        rows = study.train(planned)
    table = ablations(run)
    assert table.training.tolist() == [0, 1, 2] and table.name.tolist() == ["best 0", "best 1", "best 2"]
    assert [row["fingerprint"] for row in rows] == [training.fingerprint for training in planned]
    assert table.metric.tolist() == [row["metric"] for row in summarise(open_run(run)[0]).ranked[:3]]
    assert (table.status == "ok").all() and (table.variant == "found").all() and table.weights.isna().all()
    assert len(pd.read_parquet(run / "results")) == 40, "the search's tables are left alone"


def test_a_training_that_has_a_row_is_not_run_again(run: Path) -> None:
    with study_of(run) as (study, planned):
        study.train(planned[1:2])
    before = ablations(run)
    with study_of(run) as (study, planned):
        assert [row["name"] for row in study.train(planned)] == ["best 0", "best 1", "best 2"]
    after = ablations(run)
    assert after.training.tolist() == [0, 1, 2] and after.name.tolist() == ["best 1", "best 0", "best 2"]
    pd.testing.assert_frame_equal(after.iloc[:1], before)  # the time it ended at too


def test_rows_that_a_kill_left_in_the_journal_alone_are_published(run: Path) -> None:
    with pytest.raises(RuntimeError, match="killed"), study_of(run) as (study, planned):
        study.train(planned)
        raise RuntimeError("killed")
    expected = ablations(run)
    (run / "ablations" / "part-000000.parquet").unlink()
    with study_of(run) as (study, planned):
        assert len(study.rows) == 3
        study.train(planned)
    pd.testing.assert_frame_equal(ablations(run), expected)


def test_failures_have_rows_and_are_run_again_only_on_request(run: Path) -> None:
    with study_of(run) as (study, planned):
        columns = {"variant": "perturbed"}
        broken = Planned("broken", replace(planned[0].trial, tokens=(99, 0, 0)), columns)
        (row,) = study.train([broken])
        assert row["status"] == "invalid" and "token 99" in row["error"]
        ended_at = row["ended_at"]
        assert study.train([broken])[0]["ended_at"] == ended_at
        assert study.train([broken], retry=True)[0]["ended_at"] > ended_at
    assert ablations(run).name.tolist() == ["broken"]


def test_what_a_kill_leaves_of_a_training_that_ended_is_cleared_away(run: Path) -> None:
    with study_of(run) as (study, planned):
        study.train(planned[:1])
        left, going_on = (study.paths.training_checkpoint(training.fingerprint) for training in planned[:2])
    for checkpoint in (left, going_on):
        checkpoint.parent.mkdir(exist_ok=True)
        checkpoint.write_bytes(b"kept after an epoch")
    with study_of(run):
        assert not left.exists() and going_on.exists()


def test_what_a_training_is_made_of_tells_it_from_others(run: Path) -> None:
    with study_of(run) as (_, planned):
        first, other = planned[0], planned[1]
        moved = replace(first.trial, data_path="/elsewhere", trial_id=99)
        assert len({training.fingerprint for training in planned}) == 3
        assert Planned("", moved, first.columns).fingerprint == first.fingerprint
        assert Planned("", first.trial, {"variant": "dense"}).fingerprint != first.fingerprint != other.fingerprint


def test_a_stage_holds_the_run_folder(run: Path) -> None:
    paths, _ = open_run(run)
    with driver_lock(paths), pytest.raises(UserError, match="another driver is at work"), study_of(run):
        pass
    with study_of(run), pytest.raises(UserError, match="another driver is at work"), driver_lock(paths):
        pass


def test_the_files_of_a_stage_are_verified_and_repaired_too(run: Path) -> None:
    with pytest.raises(RuntimeError, match="before its end"), study_of(run) as (study, planned):
        for training in planned:
            study.train([training])
        raise RuntimeError("before its end")
    assert f"ok   {run / 'ablations.jsonl'}" in type_in("verify", run)
    first, second, third = (run / "ablations.jsonl").read_bytes().splitlines(keepends=True)
    (run / "ablations.jsonl").write_bytes(first + second.replace(b"best 1", b"best 9") + third)
    assert f"BAD  {run / 'ablations.jsonl'}" in type_in("verify", run, expected=1)
    type_in("repair", run)
    assert (run / "ablations.jsonl").read_bytes() == first + third
    with study_of(run) as (study, planned):
        assert [row["name"] for row in study.train(planned)] == ["best 0", "best 1", "best 2"]
    assert ablations(run).name.tolist() == ["best 0", "best 1", "best 2"]
    assert not (run / "ablations.jsonl").read_bytes(), "what is published for good needs no journal"


def test_a_training_that_failed_keeps_its_checkpoint_for_the_next_try(run: Path) -> None:
    with study_of(run) as (study, planned):
        failing = replace(planned[0], trial=replace(planned[0].trial, tokens=(99,)))
        checkpoints = [study.paths.training_checkpoint(training.fingerprint) for training in (failing, planned[1])]
        for checkpoint in checkpoints:
            checkpoint.parent.mkdir(exist_ok=True)
            checkpoint.write_bytes(b"kept after an epoch")
        rows = study.train([failing, planned[1]])
    assert [row["status"] for row in rows] == ["invalid", "ok"]
    assert [checkpoint.exists() for checkpoint in checkpoints] == [True, False]
