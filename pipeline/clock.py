"""The time left of a run, as its driver sees it: of the search under way and of the control after it."""

import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property

from pipeline.configuration import Configuration
from pipeline.rows import Row
from pipeline.time_left import Child, ToCome, child_of, seconds_left, workers_at_work
from pipeline.workload import children_to_come
from tasks.settings import depth_at

PAUSE = 1.0  # seconds at least between two estimates
SHARE = 0.02  # of the time may go into estimates


class Clock:
    """Takes in the children of one search as they end; `earlier` ended before, in this search or in the one before."""

    def __init__(self, configuration: Configuration, ended: Sequence[int], earlier: Sequence[Child]) -> None:
        self.children = list(earlier)
        self._configuration, self._settings = configuration, configuration.search
        self._ended, self._ended_here = set(ended), Counter[int]()  # trials before, and since, by depth
        self._since = self._estimated_at = time.time()
        self._left: float | None = None
        self._known, self._pause = 0, PAUSE
        self._drawn = 0

    def wave_started(self, size: int) -> None:
        """So many children have been submitted."""
        self._drawn += size

    def child_ended(self, row: Row) -> None:
        """A row of `results`."""
        depth = depth_at(row["trial_id"], self._settings)
        if row["trial_id"] not in self._ended:  # one that had failed before is trained again
            self._ended_here[depth] += 1
        self._drawn -= 1
        if row["attempts"]:
            self.children.append(child_of(row, depth))

    def seconds_left(self) -> float | None:
        """Of the whole run; an estimate is made now and then, and counts down until the next child ends."""
        now = time.time()
        if len(self.children) > self._known and (self._left is None or now - self._estimated_at >= self._pause):
            self._known, self._estimated_at = len(self.children), now
            self._left = seconds_left(
                self.children,
                replace(self._to_come, search=Counter(self._to_come.search) - self._ended_here),
                under_way=self._drawn,
                since=self._since,
                now=now,
            )
            self._pause = max(PAUSE, (time.time() - now) / SHARE)
        return None if self._left is None else max(0.0, self._left - (now - self._estimated_at))

    @cached_property
    def _to_come(self) -> ToCome:
        """As it was in the beginning. Made for the first estimate: it may load torch, to look at networks."""
        return children_to_come(self._configuration, self._ended)

    def workers(self) -> int:
        """Workers that have not been silent for longer than any child took."""
        return workers_at_work([child for child in self.children if child.ended_at >= self._since], time.time())
