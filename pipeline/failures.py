"""When to stop a search whose children fail, and what to say then."""

import re
from collections import Counter, deque
from collections.abc import Sequence

from pipeline.rows import Row
from tasks.records import COUNTED

FEWEST = 8  # children that are looked back at, at least
ROUNDS = 4  # children a worker, after which it tells that all have failed so far
ADVICE = {
    "failed": "This is an error of the task, its data or the device: mend it. `wavenas doctor` tries one child.",
    "invalid": "The space draws what cannot be built or is not in the table: space.options and child.task do not fit.",
    "out_of_memory": "A new run with a smaller batch, search.max_parameters or search.max_flops needs less memory;"
    " a cluster with fewer cluster.workers or cluster.children_per_gpu, or more cluster.slurm.memory_gib, has more.",
    "timed_out": "A new run with a higher child.timeout_minutes, or search.max_flops, has children that end in time.",
    "lost_worker": "The processes of workers die: look for the reason in the run's workers/ folder and in the logs of"
    " the nodes, most likely memory (cluster.workers, cluster.slurm.memory_gib) or a crash in the task.",
}


class SearchStopped(Exception):
    """Too many children fail for going on to be of use."""


class FailureWatch:
    """Looks back at as many children as a wave has, and at the first ones that this driver sees end."""

    def __init__(self, max_share: float, wave_size: int, workers: int) -> None:
        self._max_share = max_share
        self._recent: deque[Row] = deque(maxlen=max(FEWEST, wave_size))
        self._first: list[Row] | None = []  # none once they were not all failures alike
        self._enough = max(FEWEST, ROUNDS * workers)

    def take(self, rows: Sequence[Row]) -> None:
        """Look at rows of `results` of children trained. Raises SearchStopped where too large a share failed."""
        self._recent.extend(rows)
        failed = [row for row in self._recent if row["status"] not in COUNTED]
        size = len(self._recent)
        if size == self._recent.maxlen and len(failed) > self._max_share * size:
            last = f"{len(failed)} of the last {size} children failed"
            allowed = f"allowed is a share of search.max_failed_share = {self._max_share:g}"
            raise SearchStopped(f"{last}; {allowed}\n{_explanation(failed)}")
        self._take_first(rows)

    def _take_first(self, rows: Sequence[Row]) -> None:
        """A wave of hundreds that all fail, each after hours, is not waited for."""
        if self._first is None or self._max_share == 1:
            return
        self._first.extend(rows)
        statuses = {row["status"] for row in self._first}
        if len(statuses) > 1 or statuses & set(COUNTED):
            self._first = None
        elif len(self._first) >= self._enough:
            first = f"All of the first {len(self._first)} children failed alike"
            raise SearchStopped(f"{first}; no others are waited for\n{_explanation(self._first)}")


def _explanation(failed: Sequence[Row]) -> str:
    reasons = Counter(_kind(row) for row in failed)
    kind, count = reasons.most_common(1)[0]
    example = next(row for row in failed if _kind(row) == kind)
    return (
        f"{count} of them: {kind[0]}: {_last_line(example)}\n"
        f"One of these is trial {example['trial_id']}: its whole error is in the table `results` and in the log.\n"
        f"{ADVICE[kind[0]]}\n"
        "A resumed run trains the failed children of the open waves again."
    )


def _kind(row: Row) -> tuple[str, str]:
    """Status and reason, the same for reasons that differ in numbers alone."""
    return row["status"], re.sub(r"\d+", "N", _last_line(row))


def _last_line(row: Row) -> str:
    lines = (row["error"] or "no reason given").strip().splitlines()
    return lines[-1] if lines else ""
