"""Search over a table of networks trained before."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from conftest import search_table as search
from conftest import type_in

from pipeline.run_paths import RunPaths
from pipeline.summary import summarise


def test_rewards_are_those_of_the_rows(table: Path, tmp_path: Path) -> None:
    output = search(table, tmp_path / "run", "--set", "search.reward_power=2")
    results, samples = (pd.read_parquet(tmp_path / "run" / name) for name in ("results", "samples"))
    merged = results.merge(samples, on="trial_id")
    frame = pd.read_parquet(table).groupby(["width", "kind", "skip"]).accuracy.mean()
    missing = merged[merged.status == "invalid"]
    for row in merged[merged.status == "ok"].itertuples():
        expected = frame[tuple(json.loads(row.architecture).values())]
        assert row.metric == pytest.approx(expected) and row.reward == pytest.approx(expected**2)
    assert 0 < len(missing) < 40 and missing.reward.eq(0).all()
    assert missing.error.str.contains("the table has no row with width = 1, kind = 'a', skip = False").all()
    assert len(results) == 160 and "accuracy 0.99" in output


@pytest.mark.parametrize("policy", ["controller", "random", "evolution"])
def test_every_policy_searches_and_resumes_to_the_same_end(policy: str, table: Path, tmp_path: Path) -> None:
    settings = ["--policy", policy, "--set", "evolution.population_size=20", "--set", "evolution.tournament_size=5"]
    search(table, tmp_path / "whole", *settings)
    search(table, tmp_path / "parted", *settings)
    newest = sorted((tmp_path / "parted" / "checkpoints").iterdir())
    for path in newest[1:]:
        path.unlink()  # as if it had been killed after the wave before the last but one
    type_in("resume", tmp_path / "parted")
    whole, parted = (
        pd.read_parquet(tmp_path / name / "results")[["trial_id", "reward", "status"]] for name in ("whole", "parted")
    )
    pd.testing.assert_frame_equal(whole, parted)
    updates = [pd.read_parquet(tmp_path / name / "updates").drop(columns="seconds") for name in ("whole", "parted")]
    pd.testing.assert_frame_equal(*updates)


def test_controller_and_evolution_learn_and_random_search_does_not(table: Path, tmp_path: Path) -> None:
    gains = {}
    for policy in ("controller", "evolution", "random"):
        fast = ["--set", "controller.learning_rate=0.02", "--set", "evolution.population_size=20"]
        search(table, tmp_path / policy, "--policy", policy, *fast, "--set", "evolution.tournament_size=5")
        rewards = summarise(RunPaths(tmp_path / policy)).rewards
        gains[policy] = np.mean(rewards[-40:]) - np.mean(rewards[:40])
    assert gains["controller"] > 0.1 and gains["evolution"] > 0.1 and abs(gains["random"]) < 0.1


def test_reused_results_stand_for_duplicates(table: Path, tmp_path: Path) -> None:
    search(table, tmp_path / "run", "--policy", "random", "--set", "search.duplicates=reuse")
    results = pd.read_parquet(tmp_path / "run" / "results").set_index("trial_id")
    samples = pd.read_parquet(tmp_path / "run" / "samples").set_index("trial_id")
    ok = results[results.status == "ok"]
    trained, reused = ok[ok.reused_from.isna()], ok[ok.reused_from.notna()]
    assert len(trained) == samples.architecture_hash[ok.index].nunique() == len(trained) and len(reused) > 100
    assert (reused.attempts == 0).all() and (reused.seconds == 0).all()
    for trial_id, row in reused.iterrows():
        source = trained.loc[int(row.reused_from)]
        assert samples.architecture_hash[trial_id] == samples.architecture_hash[int(row.reused_from)]
        assert row.metric == source.metric and row.reused_from < trial_id
    assert (results[results.status == "invalid"].reused_from.isna()).all()


def test_the_share_of_duplicates_is_recorded(table: Path, tmp_path: Path) -> None:
    search(table, tmp_path / "run", "--policy", "random")
    samples = pd.read_parquet(tmp_path / "run" / "samples").sort_values("trial_id")
    expected = samples.architecture_hash.duplicated().groupby(samples.wave).mean()
    updates = pd.read_parquet(tmp_path / "run" / "updates").sort_values("update")
    assert updates.duplicates.tolist() == expected.tolist() and updates.duplicates.iloc[-1] > 0.5


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--columns", "width,depth", "--reward", "accuracy"], "no column depth; it has width, kind, skip, accuracy"),
        (["--columns", "width", "--reward", "loss"], "no column loss"),
        (["--columns", "width", "--reward", "kind"], "a reward is a number"),
        (["--columns", "width,width", "--reward", "accuracy"], "column width is named twice"),
        (["--columns", "width,accuracy", "--reward", "accuracy"], "column accuracy is named twice"),
        (["--columns", "width"], "experiment table needs all of --table FILE.parquet, --columns A,B,… and --reward"),
    ],
)
def test_columns_that_are_not_there_are_errors(arguments: list[str], message: str, table: Path, tmp_path: Path) -> None:
    command = ["run", "--experiment", "table", "--table", table, *arguments, "--run", tmp_path / "run"]
    assert message in type_in(*command, expected=2)
    assert not (tmp_path / "run").exists()


def test_files_that_are_not_tables_are_errors(tmp_path: Path) -> None:
    (tmp_path / "file.parquet").write_text("no table")
    for name, message in (("file.parquet", "not a Parquet file"), ("nothing.parquet", "no such file")):
        assert f"{tmp_path / name}: {message}" in search(tmp_path / name, tmp_path / "run", expected=2)
    assert "needs --table FILE.parquet" in type_in("run", "--experiment", "table", expected=2)
    wrong = type_in("run", "--table", tmp_path / "x", "--columns", "a", "--reward", "b", expected=2)
    assert "belong to experiment table, not digits" in wrong


def test_columns_that_cannot_be_read_are_errors(tmp_path: Path) -> None:
    columns = ["--columns", "width,kind", "--reward", "accuracy"]
    command = [
        "run",
        "--experiment",
        "table",
        "--table",
        tmp_path / "table.parquet",
        *columns,
        "--run",
        tmp_path / "run",
    ]
    widths, accuracies = pa.array([1, 2]), pa.array([0.1, 0.2])
    twice = pa.table([widths, pa.array(["a", "b"]), accuracies, widths], ["width", "kind", "accuracy", "width"])
    pq.write_table(twice, tmp_path / "table.parquet")
    assert "has several columns named width" in type_in(*command, expected=2)
    no_text = pa.Array.from_buffers(pa.string(), 2, [*pa.array(["a", "b"]).buffers()[:2], pa.py_buffer(b"\xff\xfe")])
    pq.write_table(pa.table([widths, no_text, accuracies], ["width", "kind", "accuracy"]), tmp_path / "table.parquet")
    assert "not a Parquet file, or a damaged one" in type_in(*command, expected=2)


@pytest.mark.data
def test_on_real_networks_the_controller_beats_random_search(real_data: Callable[[str], Path], tmp_path: Path) -> None:
    path = real_data("nasbench-macro") / "table.parquet"
    columns = ",".join(f"layer_{number}" for number in range(1, 9))
    means = {}
    for policy in ("controller", "random"):
        type_in(
            "run", "--experiment", "table", "--table", path, "--columns", columns, "--reward", "accuracy",
            "--policy", policy, "--seed", "0", "--samples", "400", "--set", "controller.learning_rate=0.005",
            "--run", tmp_path / policy,
        )  # fmt: skip
        means[policy] = np.mean(summarise(RunPaths(tmp_path / policy)).rewards[-80:])
    assert means["controller"] > means["random"] + 0.01


def test_averaged_rewards_are_those_of_the_trials_so_far(table: Path, tmp_path: Path) -> None:
    settings = ["--policy", "evolution", "--set", "search.duplicates=average", "--set", "evolution.population_size=8"]
    search(table, tmp_path / "run", *settings, "--set", "evolution.tournament_size=2")
    results = pd.read_parquet(tmp_path / "run" / "results").sort_values("trial_id", ignore_index=True)
    samples = pd.read_parquet(tmp_path / "run" / "samples").sort_values("trial_id", ignore_index=True)
    first = samples.groupby("architecture_hash").trial_id.transform("min")
    expected = first.where(first != samples.trial_id)
    assert results.reused_from.fillna(-1).tolist() == expected.fillna(-1).tolist()
    assert (results.attempts == 1).all()


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"a": ["x", None], "r": [0.1, 0.2]}, "column a has missing values"),
        (
            {"a": [[1], [2]], "r": [0.1, 0.2]},
            "column a holds list<element: int64>; chosen are numbers, text, true or false",
        ),
        ({"a": [b"x", b"y"], "r": [0.1, 0.2]}, "column a holds binary; chosen are numbers"),
        ({"a": [1.0, float("inf")], "r": [0.1, 0.2]}, "column a has infinite values, which cannot be chosen"),
        ({"a": [1, 2], "r": [0.1, float("inf")]}, "column r has infinite values"),
        ({"a": [], "r": []}, "has no rows"),
    ],
)
def test_values_that_cannot_serve_are_errors(values: dict[str, list[object]], message: str, tmp_path: Path) -> None:
    pd.DataFrame(values).to_parquet(tmp_path / "t.parquet")
    command = ["run", "--experiment", "table", "--table", tmp_path / "t.parquet", "--columns", "a", "--reward", "r"]
    assert message in type_in(*command, "--run", tmp_path / "run", expected=2)


def test_a_part_of_the_values_gets_the_rewards_of_its_own_rows(table: Path, tmp_path: Path) -> None:
    search(table, tmp_path / "run", "--policy", "random", "--set", "space.options.columns.width=[3,4]")
    merged = pd.read_parquet(tmp_path / "run" / "results").merge(
        pd.read_parquet(tmp_path / "run" / "samples"), on="trial_id"
    )
    frame = pd.read_parquet(table).groupby(["width", "kind", "skip"]).accuracy.mean()
    expected = [frame[tuple(json.loads(text).values())] for text in merged.architecture]
    assert merged.metric.tolist() == pytest.approx(expected)
