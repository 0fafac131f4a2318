"""How far a run is, from the files of its folder alone: also while it is going on, and on another machine."""

import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pipeline.checkpoints import samples_committed
from pipeline.configuration import Configuration
from pipeline.foreign_code import without_foreign_code
from pipeline.rows import Row
from pipeline.run_folder import is_running, open_run, owner_of
from pipeline.run_paths import RunPaths
from pipeline.tables import read_table
from pipeline.time_left import FEW, Child, child_of, seconds_left
from pipeline.workload import children_to_come
from tasks.records import COUNTED
from tasks.settings import depth_at

State = Literal["running", "finished", "interrupted"]


@dataclass(frozen=True)
class SearchProgress:
    """How far one search is: a run's own, or its control's."""

    policy: str
    paths: RunPaths
    configuration: Configuration
    drawn: int
    ended: int
    taken_in: int  # children whose rewards the policy has learned from, or that failed
    updates: tuple[Row, ...]
    statuses: Counter[str]
    rewards: tuple[float, ...]  # of those that count

    @property
    def num_failed(self) -> int:
        return self.ended - len(self.rewards)

    @property
    def is_finished(self) -> bool:
        return self.taken_in >= self.configuration.search.samples


@dataclass(frozen=True)
class RunState:
    """A run: its searches in their order, and whether a driver is at work."""

    folder: Path
    configuration: Configuration
    searches: tuple[SearchProgress, ...]
    state: State
    owner: str | None  # the driver at work
    seconds_left: float | None


def run_state(folder: Path, now: float | None = None) -> RunState:
    """Read a run. Raises UserError where there is none."""
    paths, configuration = open_run(folder)
    searches = [search_progress(paths, configuration)]
    if paths.control.config.exists():
        searches.append(search_progress(*open_run(paths.control.folder)))
    complete = len(searches) > (configuration.search.control is not None) and all(s.is_finished for s in searches)
    if is_running(paths):
        left = None if complete else _seconds_left(paths, configuration, searches, now or time.time())
        return RunState(folder, configuration, tuple(searches), "running", owner_of(paths), left)
    state: State = "finished" if complete else "interrupted"
    return RunState(folder, configuration, tuple(searches), state, None, None)


def search_children(paths: RunPaths, configuration: Configuration) -> list[Child]:
    """The children of a search that were trained, as they ended."""
    columns = ["trial_id", "wave", "status", "seconds", "worker", "flops", "ended_at", "reused_from", "attempts"]
    rows = [row for row in read_table(paths, "results", columns).to_pylist() if row["attempts"]]
    rows.sort(key=lambda row: row["ended_at"])
    return [child_of(row, depth_at(row["trial_id"], configuration.search)) for row in rows]


def search_progress(paths: RunPaths, configuration: Configuration) -> SearchProgress:
    """Read one search of a run."""
    results = read_table(paths, "results", ["status", "reward"]).to_pylist()
    updates = read_table(paths, "updates").to_pylist()
    return SearchProgress(
        policy=configuration.search.policy,
        paths=paths,
        configuration=configuration,
        drawn=read_table(paths, "samples", ["trial_id"]).num_rows,
        ended=len(results),
        taken_in=samples_committed(paths),
        updates=tuple(updates),
        statuses=Counter(row["status"] for row in results),
        rewards=tuple(row["reward"] for row in results if row["status"] in COUNTED),
    )


def _seconds_left(
    paths: RunPaths, configuration: Configuration, searches: list[SearchProgress], now: float
) -> float | None:
    at_work = next((search for search in searches if not search.is_finished), searches[-1])
    children = search_children(at_work.paths, at_work.configuration)
    if at_work is not searches[0]:  # a control draws as a policy did that had learned nothing
        children = [*search_children(paths, configuration)[:FEW], *children]
    ended = {row["trial_id"] for row in read_table(at_work.paths, "results", ["trial_id"]).to_pylist()}
    to_come = children_to_come(without_foreign_code(at_work.configuration), ended)
    since = paths.owner.stat().st_mtime if paths.owner.exists() else 0.0
    return seconds_left(children, to_come, under_way=at_work.drawn - at_work.ended, since=since, now=now)
