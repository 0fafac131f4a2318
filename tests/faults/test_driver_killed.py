"""A driver killed again and again ends with the tables and the controller of one that was left alone."""

import random
import signal
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
import pytest
from conftest import assert_replayable, assert_same_run, write_table
from drivers import Moment, drive, ended_at

pytestmark = pytest.mark.faults

NUM_CHILDREN = 480
MODES = {
    "waves": {},
    "one replica": {"mode": "async", "shards": 3},
    "five replicas": {
        "mode": "async",
        "replicas": 5,
        "gradients_per_step": 4,
        "shards": 3,
        "duplicates": "average",
    },
}
COMMIT_POINTS = [
    Moment("pipeline.driver:create_run"),
    Moment("pipeline.driver:create_run", after=True),
    Moment("pipeline.driver:open_cluster"),
    Moment("pipeline.driver:Tables", after=True),  # the folders of the tables are there, nothing is in them
    *(Moment("pipeline.tables:Tables.append", call, after) for call in (1, 2, 5) for after in (False, True)),
    *(Moment("pipeline.tables:Tables.publish", call, after) for call in (1, 3) for after in (False, True)),
    *(Moment("pipeline.tables:Tables.commit", call, after) for call in (1, 2) for after in (False, True)),
    *(Moment("pipeline.{mode}:save_checkpoint", 1, after) for after in (False, True)),
    *(Moment("pipeline.checkpoints:write_atomically", 1, after) for after in (False, True)),
    *(Moment("pipeline.journal:Journal.clear", 1, after) for after in (False, True)),
    *(Moment("numpy:savez", 1, after) for after in (False, True)),
    *(Moment("os:rename", call) for call in (3, 5, 7, 8, 9, 10)),
]
POWER_CUTS = [Moment("os:fsync", call, torn=call % 3 * 0.4) for call in (5, 9, 14, 18, 23, 29, 34, 40)]


def start_command(folder: Path, mode: str, table: Path) -> list[str | Path]:
    settings = [part for name, value in MODES[mode].items() for part in ("--set", f"search.{name}={value}")]
    columns = ["--columns", "width,kind,skip", "--reward", "accuracy", "--samples", NUM_CHILDREN]
    few = ["--set", "search.children_per_replica=4", "--set", "search.replicas=1", *settings]
    return ["run", "--experiment", "table", "--table", table, *columns, *few, "--run", folder]  # type: ignore[list-item]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("undisturbed")
    output = folder / "output.txt"
    assert drive(start_command(folder / "run", "waves", write_table(folder)), output) == 0, output.read_text()
    return folder / "run"


def random_moments() -> list[Moment]:
    """While the cluster opens, and up to 150 ms after any flush to the disk."""
    chance = random.Random(0)
    opening = [Moment("pipeline.driver:open_cluster", delay=chance.uniform(0, 1.0)) for _ in range(4)]
    searching = [Moment("os:fsync", chance.randint(1, 30), delay=chance.uniform(0, 0.15)) for _ in range(16)]
    return chance.sample([*opening, *searching], 20)


@pytest.mark.timeout(900)
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("moments", [COMMIT_POINTS, POWER_CUTS, random_moments()], ids=["commits", "power", "random"])
def test_a_driver_killed_at_any_moment_loses_nothing(
    moments: Sequence[Moment], mode: str, undisturbed: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    kept = kill_at_each(moments, folder, mode, undisturbed.parent / "table.parquet")
    output = tmp_path / "output.txt"
    assert drive(["resume", folder], output) == 0, output.read_text()
    assert sorted(pd.read_parquet(folder / "results").trial_id) == list(range(NUM_CHILDREN))
    assert len(kept) > 20 and (ended_at(folder)[kept.index] == kept).all(), "a child that had ended was trained again"
    if mode == "five replicas":
        assert_replayable(folder)
    else:
        assert_same_run(folder, undisturbed)


def kill_at_each(moments: Sequence[Moment], folder: Path, mode: str, table: Path) -> pd.Series:
    """Start a run and resume it, killed at each of the moments; when the children ended that had ended by then."""
    kept = pd.Series(dtype="int64")
    module = "waves" if mode == "waves" else "replicas"
    for number, moment in enumerate(moments):
        where = Moment(**{**vars(moment), "function": moment.function.format(mode=module)})
        begun = (folder / "config.json").exists()
        output = folder.with_name(f"output-{number}.txt")
        command = ["resume", folder] if begun else start_command(folder, mode, table)
        assert drive(command, output, where) == -signal.SIGKILL, f"{number}, {where}: {output.read_text()}"
        now = ended_at(folder)
        assert (now[kept.index] == kept).all(), where
        kept = now
    return kept


def test_the_last_rows_are_published_though_the_last_checkpoint_was_written(undisturbed: Path, tmp_path: Path) -> None:
    table, output = undisturbed.parent / "table.parquet", tmp_path / "output.txt"
    killed = Moment("pipeline.waves:save_checkpoint", NUM_CHILDREN // 4, after=True)
    assert drive(start_command(tmp_path / "run", "waves", table), output, killed) == -signal.SIGKILL
    assert drive(["final", tmp_path / "run"], output) == 2 and "has to be finished first" in output.read_text()
    assert drive(["resume", tmp_path / "run"], output) == 0, output.read_text()
    assert_same_run(tmp_path / "run", undisturbed)


OTHER_SEARCHES = {
    "duplicates reused": ["search.duplicates=reuse", "search.max_failed_share=1"],
    "evolution": ["search.policy=evolution", "evolution.population_size=20", "evolution.tournament_size=5"],
}


@pytest.mark.parametrize("kind", OTHER_SEARCHES)
def test_other_searches_killed_in_their_midst_lose_nothing(kind: str, tmp_path: Path) -> None:
    sets = [part for setting in OTHER_SEARCHES[kind] for part in ("--set", setting)]
    table, output = write_table(tmp_path), tmp_path / "output.txt"
    assert drive([*start_command(tmp_path / "reference", "waves", table), *sets], output) == 0, output.read_text()
    folder = tmp_path / "run"
    command = [*start_command(folder, "waves", table), *sets]
    for moment in (Moment("pipeline.tables:Tables.append", 60), Moment("pipeline.waves:save_checkpoint", 5)):
        assert drive(command, output, moment) == -signal.SIGKILL, output.read_text()
        command = ["resume", folder]
    assert drive(command, output) == 0, output.read_text()
    assert_same_run(folder, tmp_path / "reference")
