"""verify finds what is wrong with a run folder, repair sets it aside, and resuming makes up for what can be had."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq
import pytest
from conftest import assert_same_run, type_in
from damaged_runs import STEPS, contents, flip, make_runs
from torch import nn

from pipeline.checkpoints import checkpoint_files
from pipeline.run_folder import driver_lock
from pipeline.run_paths import RunPaths
from pipeline.schemas import TABLES
from pipeline.tables import part_files, write_part
from tasks.weights import save_weights


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_runs(tmp_path_factory.mktemp("verify"))


@pytest.fixture
def run(runs: Path, tmp_path: Path) -> Path:
    shutil.copytree(runs / ".prepared", tmp_path / ".prepared")
    shutil.copytree(runs / "run", tmp_path / "run")
    return tmp_path / "run"


def test_a_whole_run_passes_in_the_midst_of_a_wave_too(run: Path, runs: Path) -> None:
    output = type_in("verify", run)
    assert "BAD" not in output and "The run is whole." in output and "ok   updates: 5 rows" in output
    before = sorted(contents(run))
    assert "Nothing had to be set aside." in type_in("repair", run)
    assert sorted(contents(run)) == before
    type_in("resume", run)
    assert_same_run(run, runs / "reference")


FILES: dict[str, Callable[[Path], Path]] = {
    "config.json": lambda run: run / "config.json",
    "config.copy.json": lambda run: run / "config.copy.json",
    "newest samples": lambda run: part_files(run / "samples")[-1],
    "newest results": lambda run: part_files(run / "results")[-1],
    "newest updates": lambda run: part_files(run / "updates")[-1],
    "checkpoint": lambda run: checkpoint_files(RunPaths(run))[-1],
}


@pytest.mark.parametrize("kind", FILES)
@pytest.mark.parametrize("how", ["flipped", pytest.param("cut", marks=pytest.mark.faults)])
def test_what_is_damaged_is_named_set_aside_and_made_up_for(kind: str, how: str, run: Path, runs: Path) -> None:
    path = FILES[kind](run)
    flip(path, 300) if how == "flipped" else path.write_bytes(path.read_bytes()[:200])
    before = contents(run)
    assert f"BAD  {path}: " in type_in("verify", run, expected=1)
    if kind != "checkpoint" and kind != "config.copy.json":
        refused = type_in("resume", run, expected=2)
        assert str(path) in refused and "pipeline repair" in refused
    repaired = type_in("repair", run)
    assert f"set aside {path}: " in repaired and (kind == "config.copy.json" or f"Resuming {run}" in repaired)
    assert all(content in contents(run) for content in before), "repair deletes nothing"
    type_in("resume", run)
    if "gone for good" not in repaired:
        assert "The run is whole." in type_in("verify", run)
        assert_same_run(run, runs / "reference")
    else:  # rows that a checkpoint stands on; the controller comes out the same
        results, expected = (pd.read_parquet(folder / "updates").iloc[-2:] for folder in (run, runs / "reference"))
        pd.testing.assert_frame_equal(
            results.drop(columns=["seconds", "duplicates"]).reset_index(drop=True),
            expected.drop(columns=["seconds", "duplicates"]).reset_index(drop=True),
        )
        assert "BAD" in type_in("verify", run, expected=1)


def test_rows_that_a_checkpoint_stands_on_are_gone_but_the_controller_stands(run: Path, runs: Path) -> None:
    flip(part_files(run / "results")[0], 300)
    output = type_in("repair", run)
    lost = pq.read_metadata(part_files(runs / "run" / "results")[0]).num_rows
    assert f"gone for good: results of {lost} trials taken in before; step {STEPS} stands" in output
    type_in("resume", run)
    kept = pd.read_parquet(run / "results").sort_values("trial_id", ignore_index=True)
    expected = pd.read_parquet(runs / "reference" / "results").sort_values("trial_id", ignore_index=True)
    assert len(kept) == 64 - lost
    assert kept.reward.tolist() == expected[expected.trial_id.isin(kept.trial_id)].reward.tolist()


def test_whole_lines_of_a_damaged_journal_are_kept(run: Path, runs: Path) -> None:
    journal = run / "journal.jsonl"
    lines = journal.read_bytes().splitlines(keepends=True)
    assert len(lines) == 2, "the samples of a wave, and a result"
    journal.write_bytes(lines[0][:50] + b"?" + lines[0][51:] + lines[1])
    for name in ("samples", "results"):  # published: else the rows are there all the same
        newest = part_files(run / name)[-1]
        rows = [row for row in pq.read_table(newest).to_pylist() if row["wave"] != STEPS]
        write_part(newest, rows, TABLES[name])
    assert "journal.jsonl: line 1: the checksum does not match" in type_in("verify", run, expected=1).replace("BAD", "")
    assert f"{journal}, and wrote it again without rows that nothing holds" in type_in("repair", run)
    type_in("resume", run)
    assert_same_run(run, runs / "reference")


def test_rows_that_contradict_are_found_and_taken_out(run: Path, runs: Path) -> None:
    first, second = part_files(run / "samples")[:2]
    rows = [pq.read_table(part).to_pylist() for part in (first, second)]
    write_part(second, [rows[0][0], *rows[1]], TABLES["samples"])
    assert "more than one row for trial_id 0" in type_in("verify", run, expected=1)
    type_in("repair", run)
    type_in("resume", run)
    assert_same_run(run, runs / "reference")


def test_a_run_with_a_driver_is_left_alone(run: Path) -> None:
    with driver_lock(RunPaths(run)):
        for command in ("verify", "repair"):
            assert "a driver is at work on this run" in type_in(command, run, expected=2)


def test_what_is_no_run_is_an_error(tmp_path: Path) -> None:
    for command in ("verify", "repair"):
        assert "no run there" in type_in(command, tmp_path, expected=2)


def test_neither_configuration_nor_copy_is_beyond_repair(run: Path) -> None:
    for name in ("config.json", "config.copy.json"):
        (run / name).write_text("{")
    assert "neither this nor its copy can be read" in type_in("repair", run, expected=2)


def test_weights_and_checkpoints_of_children_are_looked_at_and_hold_no_search_up(run: Path, runs: Path) -> None:
    damaged = [run / "weights" / "abc.pt", run / "children" / "trial-000050.pt"]
    for path in damaged:
        save_weights(str(path), nn.Linear(3, 2))
    assert "BAD" not in type_in("verify", run)
    for path in damaged:
        flip(path, 500)
    output = type_in("verify", run, expected=1)
    assert all(f"BAD  {path}: " in output for path in damaged)
    type_in("resume", run)
    repaired = type_in("repair", run)
    assert all(f"set aside {path}: " in repaired for path in damaged if path.parent.name == "weights")
    assert_same_run(run, runs / "reference")


def test_a_run_with_a_control_and_without_its_copy_is_no_comparison(run: Path) -> None:
    shutil.copytree(run, run / "control")
    (run / "config.copy.json").unlink()
    output = type_in("verify", run, expected=1)
    assert f"BAD  {run}/config.copy.json" in output and f"{run}/control/config.json" in output


def test_verify_goes_over_the_searches_of_a_comparison(runs: Path, tmp_path: Path) -> None:
    for name in ("controller-0", "random-0"):
        shutil.copytree(runs / "run", tmp_path / name)
    output = type_in("verify", tmp_path)
    assert f"{tmp_path}/controller-0 is whole." in output and f"{tmp_path}/random-0 is whole." in output
    flip(tmp_path / "random-0" / "config.json", 300)
    output = type_in("verify", tmp_path, expected=1)
    assert (
        f"{tmp_path}/controller-0 is whole." in output and "BAD" in output and f"repair {tmp_path}/random-0" in output
    )
