"""Checkpoints that are damaged or gone: the tables make up for them, to the bit."""

import shutil
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import pandas as pd
import pytest
import timed_task
from conftest import assert_same_run, run_quietly, search_table, type_in
from damaged_runs import SHORT, flip
from test_replicas import ASYNC, assert_replayable, sets

from pipeline import replicas, tables, waves
from pipeline.checkpoints import checkpoint_files, save_checkpoint
from pipeline.run_paths import RunPaths

MODES = {"waves": SHORT, "async": [*SHORT, *sets(mode="async", replicas=1)]}


def damage(folder: Path, count: int) -> list[str]:
    """Flip a bit in each of the newest checkpoints; their names."""
    damaged = checkpoint_files(RunPaths(folder))[-count:]
    for path in damaged:
        flip(path)
    return [path.name for path in damaged]


@pytest.fixture
def short_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Parts are closed after a few waves, and the journal is emptied after each."""
    monkeypatch.setattr(tables, "PART_ROWS", 20)
    monkeypatch.setattr(tables, "JOURNAL_ROWS", 1)


@pytest.fixture
def interrupt_after(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Have the driver interrupted right after a number of checkpoints."""

    def arrange(steps: int) -> None:
        def save_and_stop(paths: RunPaths, state: object, in_use: Sequence[int] = ()) -> None:
            save_checkpoint(paths, state, in_use)  # type: ignore[arg-type]
            if state.policy.version == steps:  # type: ignore[attr-defined]
                raise KeyboardInterrupt

        monkeypatch.setattr(waves, "save_checkpoint", save_and_stop)
        monkeypatch.setattr(replicas, "save_checkpoint", save_and_stop)

    return arrange


@pytest.mark.usefixtures("short_parts")
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("count", [pytest.param(1, marks=pytest.mark.faults), 3])
def test_the_steps_of_damaged_checkpoints_are_taken_again(
    mode: str, count: int, table: Path, tmp_path: Path, interrupt_after: Callable[[int], None]
) -> None:
    search_table(table, tmp_path / "reference", *MODES[mode])
    folder = tmp_path / "run"
    interrupt_after(6)
    search_table(table, folder, *MODES[mode], expected=130)
    ended = pd.read_parquet(folder / "results").set_index("trial_id").ended_at
    names = damage(folder, count)
    interrupt_after(-1)
    output = type_in("resume", folder)
    assert f"Damaged: {', '.join(names)}, set aside in {folder}/set-aside/" in output
    assert f"Going on from step {0 if count == 3 else 6 - count};" in output
    assert_same_run(folder, tmp_path / "reference")
    after = pd.read_parquet(folder / "results").set_index("trial_id").ended_at
    assert (after[ended.index] == ended).all(), "a finished child was trained again"
    assert len(list((folder / "samples").iterdir())) > 2, "parts were meant to be closed"
    assert sorted(path.name for path in folder.glob("set-aside/*/checkpoints/*")) == names
    assert "The run is whole." in type_in("verify", folder)


@pytest.mark.usefixtures("short_parts")
def test_interrupted_while_steps_are_taken_again_it_has_no_row_twice(
    table: Path, tmp_path: Path, interrupt_after: Callable[[int], None]
) -> None:
    search_table(table, tmp_path / "reference", *SHORT)
    folder = tmp_path / "run"
    interrupt_after(6)
    search_table(table, folder, *SHORT, expected=130)
    shutil.rmtree(folder / "checkpoints")
    for steps in (2, 5):
        interrupt_after(steps)
        type_in("resume", folder, expected=130)
    interrupt_after(-1)
    type_in("resume", folder)
    assert_same_run(folder, tmp_path / "reference")
    assert "The run is whole." in type_in("verify", folder)


@pytest.mark.parametrize(
    "lost", ["all", *(pytest.param(lost, marks=pytest.mark.faults) for lost in ("newest", "snapshots"))]
)
def test_replicas_take_their_steps_again_in_the_order_recorded(
    lost: str, table: Path, tmp_path: Path, interrupt_after: Callable[[int], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tables, "PART_ROWS", 20)
    timed_task.PEAK.clear()
    folder = tmp_path / "run"
    timed = ["--set", "child.task=timed_task:take_a_while", "--set", "cluster.workers=15", *SHORT, "--samples", "90"]
    interrupt_after(5)
    search_table(table, folder, *timed, *sets(**ASYNC), expected=130)
    before = pd.read_parquet(folder / "updates").set_index("update")
    files = checkpoint_files(RunPaths(folder))
    for path in {"newest": files[-1:], "all": files, "snapshots": files[:-1]}[lost]:
        flip(path)
    interrupt_after(-1)
    type_in("resume", folder)
    updates = pd.read_parquet(folder / "updates").set_index("update")
    assert sorted(updates.wave) == list(range(30)) and list(updates.index) == list(range(30))
    assert (updates.wave[before.index] == before.wave).all(), "steps were meant to be taken again as they were"
    assert sorted(pd.read_parquet(folder / "results").trial_id) == list(range(90))
    assert_replayable(folder)
    assert "The run is whole." in type_in("verify", folder)


OTHER_TIMES = """
import itertools, sys, time
real, real_ns, looks, jumps = time.time, time.time_ns, itertools.count(), []
seconds = int(sys.argv.pop(1))

def look_ns():
    look = next(looks)  # of these a dozen or so in a wave, as its children end
    if look == 12 or (seconds > 0 and look % 4 == 0):
        jumps.append(seconds)
    return real_ns() + sum(jumps) * 10**9

time.time, time.time_ns = lambda: real() + sum(jumps), look_ns
from pipeline.command_line import app
app(sys.argv[1:])
"""


@pytest.mark.faults
@pytest.mark.parametrize("seconds", [-3, 3_600])
def test_a_clock_that_jumps_changes_no_result(
    seconds: int, table: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DASK_DISTRIBUTED__SCHEDULER__WORKER_TTL", "200ms")
    monkeypatch.setenv("PYTHONPATH", str(Path(timed_task.__file__).parent))
    slow = [*MODES["async"], "--samples", "32", "--set", "child.task=timed_task:take_a_while"]
    search_table(table, tmp_path / "reference", *slow)
    fixed = ["--columns", "width, kind,skip", "--reward", "accuracy", "--run", tmp_path / "run"]
    command = ["run", "--experiment", "table", "--table", table, *fixed, *slow]
    run_quietly([sys.executable, "-c", OTHER_TIMES, str(seconds), *map(str, command)])
    assert_same_run(tmp_path / "run", tmp_path / "reference")
    steps = pd.read_parquet(tmp_path / "run" / "results").ended_at.sort_values(key=lambda _: _.index).diff()
    jump = steps.min() if seconds < 0 else steps.max()
    assert abs(jump) > pd.Timedelta(seconds=abs(seconds) / 3), "the clock was meant to jump"
