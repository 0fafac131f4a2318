"""Stages after a search whose drivers or workers die: the command typed again ends with the same tables."""

import shutil
import signal
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
import pytest
import torch
from conftest import CHANCE_COLUMNS, IN_THIS_PROCESS, assert_same_run, write_table
from drivers import Moment, drive, exit_code, start_driver, wait_until
from outside import wait_for_workers

pytestmark = [pytest.mark.faults, pytest.mark.timeout(900)]

FINAL = ["final", "--more-filters", "3", '--set=final.grid={"child.learning_rate"=[0.1,0.02]}', "--epochs", "4"]
ABLATE = ["ablate", "--perturbations", "2", "--seeds", "1"]
TRANSFER = [
    "transfer characters", "--cell", "nascell", "--set=language.parameters=1500", "--set=language.embedding_size=4",
    "--set=language.epochs=3", "--set=language.batch_size=4", "--set=language.steps=10",
    "--set=child.precision=float32",
]  # fmt: skip
STAGE_MOMENTS = [
    Moment("pipeline.study:open_cluster"),
    *(Moment("pipeline.tables:Tables.append", 1, after) for after in (False, True)),
    Moment("pipeline.study:Study._take_in"),
]
IN_LONG_TRAININGS = [
    Moment("pipeline.study:Study._take_in", 2, after=True),  # the other long training is under way
    Moment("pipeline.tables:Tables.append", 2),
]
COMPARE_MOMENTS = [
    Moment("pipeline.comparison:start_run"),
    Moment("pipeline.tables:Tables.commit", 2, after=True),
    Moment("pipeline.comparison:start_run"),  # of the second search
    Moment("pipeline.tables:Tables.append", 9),
    Moment("pipeline.comparison:write_atomically"),
    Moment("pipeline.comparison:write_atomically", 2, after=True),
]


def tables(folder: Path, stage: str) -> list[pd.DataFrame]:
    """A stage's table and that of its epochs, without what time and place decide."""
    read = [pd.read_parquet(folder / name) for name in (stage, f"{stage}_epochs")]
    ordered = [table.sort_values(list(table.columns[:1]), kind="stable", ignore_index=True) for table in read]
    return [table.drop(columns=[*CHANCE_COLUMNS, "test_opened_at"], errors="ignore") for table in ordered]


def command(stage: Sequence[str], folder: Path, settings: Sequence[str] = IN_THIS_PROCESS) -> list[str | Path]:
    return [*stage[0].split(), folder, *stage[1:], *(f"--set={setting}" for setting in settings)]


def undisturbed(stage: Sequence[str], run: Path, folder: Path) -> Path:
    """A copy of a run after a stage that nothing struck."""
    shutil.copytree(run, folder)
    output = folder.with_name("undisturbed.txt")
    assert drive(command(stage, folder), output) == 0, output.read_text()
    return folder


@pytest.mark.parametrize(
    ("stage", "name", "moments"),
    [(FINAL, "final", [*STAGE_MOMENTS, *IN_LONG_TRAININGS]), (ABLATE, "ablations", STAGE_MOMENTS)],
    ids=["final", "ablate"],
)
def test_a_stage_whose_driver_is_killed_goes_on(
    stage: list[str], name: str, moments: list[Moment], small_run: Path, tmp_path: Path
) -> None:
    assert_goes_on(stage, name, moments, small_run, tmp_path)


def test_a_transfer_whose_driver_is_killed_goes_on(small_run: Path, tmp_path: Path) -> None:
    for split in ("train", "valid", "test"):
        (tmp_path / f"{split}.txt").write_text("".join("abcdefghij"[n % 10 :] + "\n" for n in range(24)))
    stage = [*TRANSFER, "--data", str(tmp_path)]
    assert_goes_on(stage, "transfer_characters", STAGE_MOMENTS, small_run, tmp_path)
    rows = pd.read_parquet(tmp_path / "run" / "transfer_characters")
    assert rows.test_bits.notna().all() and len(rows) == 2


def assert_goes_on(stage: list[str], name: str, moments: list[Moment], small_run: Path, tmp_path: Path) -> None:
    """With the tables of a stage that nothing struck."""
    expected = undisturbed(stage, small_run, tmp_path / "undisturbed")
    folder, output = tmp_path / "run", tmp_path / "output.txt"
    shutil.copytree(small_run, folder)
    ended = 0
    for moment in moments:
        assert drive(command(stage, folder), output, moment) == -signal.SIGKILL, f"{moment}: {output.read_text()}"
        count = len(pd.read_parquet(folder / name)) if (folder / name).exists() else 0
        assert count >= ended, "a row that was there is gone"
        ended = count
    assert drive(command(stage, folder), output) == 0, output.read_text()
    for table, other in zip(tables(folder, name), tables(expected, name), strict=True):
        pd.testing.assert_frame_equal(table, other, check_exact=True)
    assert ended >= 1 and not list((folder / "children").iterdir())


def test_a_long_training_whose_worker_is_killed_goes_on_from_its_last_epoch(small_run: Path, tmp_path: Path) -> None:
    stage = ["final", '--set=final.grid={"child.learning_rate"=[0.1]}', "--epochs", "60"]
    expected = undisturbed(stage, small_run, tmp_path / "undisturbed")
    folder, output = tmp_path / "run", tmp_path / "output.txt"
    shutil.copytree(small_run, folder)
    driver = start_driver(command(stage, folder, ["cluster.workers=1", "cluster.processes=true"]), output)
    try:
        wait_until(lambda: output.exists() and "final, 1 of 1" in output.read_text(), "the grid", driver)
        (worker,) = wait_for_workers(driver.pid, 1, driver)
        wait_until(lambda: bool(list((folder / "children").glob("*.pt"))), "an epoch of the long training", driver)
        worker.suspend()
        (checkpoint,) = (folder / "children").glob("*.pt")
        before = [epoch["seconds"] for epoch in torch.load(checkpoint, weights_only=True)["epochs"]]
        worker.kill()
        assert exit_code(driver) == 0, output.read_text()
    finally:
        driver.kill()
    for table, other in zip(tables(folder, "final"), tables(expected, "final"), strict=True):
        pd.testing.assert_frame_equal(table, other, check_exact=True)
    row = pd.read_parquet(folder / "final").query("step == 'long'").iloc[0]
    epochs = pd.read_parquet(folder / "final_epochs").query(f"training == {row.training}").sort_values("epoch")
    assert row.attempts == 2 and epochs.seconds.tolist()[: len(before)] == before, "none of them was trained again"


def test_a_comparison_whose_driver_is_killed_goes_on(tmp_path: Path) -> None:
    fixed = ["--experiment", "table", "--table", write_table(tmp_path), "--columns", "width,kind,skip"]
    fixed += ["--reward", "accuracy", "--samples", "40", "--seeds", "1", "--policies", "controller,random"]
    fixed += ["--set=search.children_per_replica=4"]
    folder, expected, output = tmp_path / "compared", tmp_path / "undisturbed", tmp_path / "output.txt"
    assert drive(["compare", expected, *fixed], output) == 0, output.read_text()
    for moment in COMPARE_MOMENTS:
        assert drive(["compare", folder, *fixed], output, moment) == -signal.SIGKILL, f"{moment}: {output.read_text()}"
    assert drive(["compare", folder, *fixed], output) == 0, output.read_text()
    ours, theirs = (pd.read_parquet(place / "comparison.parquet") for place in (folder, expected))
    pd.testing.assert_frame_equal(ours, theirs, check_exact=True)
    for search in ("controller-0", "random-0"):
        assert_same_run(folder / search, expected / search)
