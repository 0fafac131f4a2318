"""What a person sees of a search while it runs: live lines on a terminal, else a plain line a wave, and a log file."""

import logging
import math
import time
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass, field
from statistics import fmean

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from pipeline.clock import Clock
from pipeline.console import say
from pipeline.errors import UserError
from pipeline.rows import Row
from pipeline.run_paths import RunPaths
from tasks.records import COUNTED

log = logging.getLogger("wavenas")
COLLAPSE_SHARE = 0.9  # a policy has collapsed if so many of its children are duplicates,
NEGATIVE = (
    "A reward is below 0. A child that diverges gets 0, which is more: a policy learns to diverge. Let the task return"
    " a metric that is larger the better, from 0 on, or a loss with search.reward_power=-1."
)
LINE_SHARE = 0.01  # of the time so far passes at least between two lines in a batch job
COLLAPSE_WAVES, COLLAPSE_CHILDREN = 5, 40  # looking back over so many waves and children


@dataclass(frozen=True)
class SoFar:
    """What a search had when its driver began: children that ended, rewards that count, and the last step."""

    statuses: Counter[str] = field(default_factory=Counter)
    rewards: Sequence[float] = ()
    last: Row | None = None  # of updates


class Progress:
    """Counts and shows the children of one search. `watching` shows it: live on a terminal, else a line a wave."""

    def __init__(
        self,
        console: Console,
        name: str,
        total: int,
        so_far: SoFar,
        clock: Clock | None = None,
        dashboard: str | None = None,
    ) -> None:
        self._console, self._name, self._total, self._clock = console, name, total, clock
        rewards = so_far.rewards
        self._count, self._sum, self._best = len(rewards), sum(rewards), max(rewards, default=-math.inf)
        self._negative = min(rewards, default=0.0) < 0  # whether a reward was, and the user has been told
        self._done = so_far.statuses.total()
        self._failures = Counter({name: n for name, n in so_far.statuses.items() if name not in COUNTED})
        self._last = so_far.last
        self._recent: deque[Row] = deque()
        self._settled = False
        self._started, self._last_line = time.monotonic(), -math.inf
        self._dashboard = dashboard
        self._live = Live(console=console, get_renderable=self._screen, refresh_per_second=4, transient=False)

    @contextmanager
    def watching(self) -> Iterator["Progress"]:
        with self._live if self._console.is_terminal else nullcontext():
            yield self

    def wave_started(self, wave: int, size: int, already: int) -> None:
        again = f", {already} of them ended before" if already else ""
        log.info("wave %d: %d children%s", wave, size, again)
        if self._clock:
            self._clock.wave_started(size - already)

    def child_ended(self, row: Row) -> None:
        """A row of `results` that has just been written."""
        self._done += 1
        if row["status"] in COUNTED:
            self._count, self._sum = self._count + 1, self._sum + row["reward"]
            self._best = max(self._best, row["reward"])
            reward = format_reward(row["reward"])
            log.info("trial %d: %s, reward %s, %.1f s", row["trial_id"], row["status"], reward, row["seconds"])
            if row["reward"] < 0 and not self._negative:
                self._negative = True
                self.warn(NEGATIVE)
        else:
            self._failures[row["status"]] += 1
            reason = (row["error"] or "no reason given").strip()
            log.warning("trial %d: %s after %.1f s: %s", row["trial_id"], row["status"], row["seconds"], reason)
        if self._clock:
            self._clock.child_ended(row)

    def children_again(self, rows: Sequence[Row]) -> None:
        """Children that had failed before, rows of `results`, are trained again."""
        self._done -= len(rows)
        self._failures -= Counter(row["status"] for row in rows)

    def wave_ended(self, row: Row) -> None:
        """A row of `updates` that has just been committed."""
        self._last = row
        mean = "none" if row["mean_reward"] is None else format_reward(row["mean_reward"])
        line = f"{self._name}, wave {row['wave']}: {self._done} of {self._total} children, mean {mean}; "
        line += ", ".join([self.figures(), *self._trouble(), self._time_left()])
        log.info("%s", line)
        if not self._console.is_terminal and (self._line_is_due() or self._done == self._total):
            self._print(line)
        if row["entropy"] is not None:  # a controller's
            self._recent.append(row)
            self._warn_of_collapse()

    def _line_is_due(self) -> bool:
        """A line a wave, but no more than one a second, and the fewer the longer a run takes."""
        now = time.monotonic()
        due = now - self._last_line >= max(1.0, LINE_SHARE * (now - self._started))
        if due:
            self._last_line = now
        return due

    def _warn_of_collapse(self) -> None:
        """Say once that a policy draws hardly anything new any more."""
        sizes = [row["num_ok"] + row["num_failed"] for row in self._recent]
        while len(sizes) > COLLAPSE_WAVES and sum(sizes[1:]) >= COLLAPSE_CHILDREN:
            self._recent.popleft()
            sizes = sizes[1:]
        share = fmean([row["duplicates"] for row in self._recent], weights=sizes)
        if self._settled or len(sizes) < COLLAPSE_WAVES or sum(sizes) < COLLAPSE_CHILDREN or share < COLLAPSE_SHARE:
            return
        self._settled = True
        line = (
            f"{self._name} has collapsed: {share:.0%} of its last {sum(sizes)} architectures"
            f" had been drawn before (entropy {self._recent[-1]['entropy']:.2f} nats)."
            " It will find little that is new; a lower controller.learning_rate keeps it exploring for longer."
        )
        self.warn(line)

    def warn(self, line: str) -> None:
        """Something that the user should know of, though the search goes on."""
        log.warning("%s", line)
        self._print(line)

    def _print(self, line: str) -> None:
        say(self._console, line)

    def figures(self) -> str:
        """Best, mean and baseline of the rewards in a few words."""
        mean = self._sum / self._count if self._count else 0.0
        best = self._best if self._count else 0.0
        figures = {"best": best, "mean": mean, "baseline": self._last["baseline"] if self._last else 0.0}
        return ", ".join(f"{name} {format_reward(reward, 3)}" for name, reward in figures.items())

    def _trouble(self) -> list[str]:
        return [f"{count} {status}" for status, count in self._failures.most_common()]

    def _time_left(self) -> str:
        seconds = self._clock.seconds_left() if self._clock else None
        return "time left unknown" if seconds is None else f"{format_seconds(seconds)} left"

    def _screen(self) -> Group:
        """Three lines: how far it is, what it earns, who works on it."""
        bar = ProgressBar(total=self._total, completed=self._done, width=20)
        wave = f", wave {self._last['wave']}" if self._last else ""
        head = Table.grid(padding=(0, 1))
        head.add_row(self._name, bar, f"{self._done}/{self._total} children{wave}, {self._time_left()}")
        entropy = self._last["entropy"] if self._last else None
        rewards = f"  reward: {self.figures()}" + (f"; entropy {entropy:.1f} nats" if entropy is not None else "")
        workers = self._clock.workers() if self._clock else 0
        work = [f"{workers} worker{'s' if workers > 1 else ''}"] if workers else []
        where = [f"dashboard {self._dashboard}"] if self._dashboard else []
        last = ", ".join([*work, *self._trouble(), *where])
        lines = [rewards, f"  {last}"] if last else [rewards]
        return Group(head, *(Text(line, no_wrap=True, overflow="ellipsis") for line in lines))


def format_reward(reward: float, digits: int = 4) -> str:
    """So many digits after the point, and of small rewards, such as c over a perplexity squared, as many that count."""
    return f"{reward:.{digits}{'f' if reward == 0 or abs(reward) >= 0.1 else 'g'}}"


def format_seconds(seconds: float) -> str:
    """A duration for people: 45s, 3m05s, 2h10m, 6d04h."""
    whole = round(seconds)
    for unit, smaller, names in ((86_400, 3_600, "dh"), (3_600, 60, "hm"), (60, 1, "ms")):
        if whole >= unit:
            return f"{whole // unit}{names[0]}{whole % unit // smaller:02d}{names[1]}"
    return f"{whole}s"


@contextmanager
def log_to(paths: RunPaths) -> Iterator[None]:
    """Append the log of a run to its file. A disk that fills up later ends the run elsewhere, at what matters more."""
    try:
        handler = logging.FileHandler(paths.log, encoding="utf-8")
    except OSError as error:
        raise UserError(f"{paths.log}: cannot be written: {error.strerror}") from error
    handler.handleError = lambda record: None  # type: ignore[method-assign]  # it would print a traceback for each line
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    before, log.propagate = log.propagate, False
    try:
        yield
    finally:
        log.propagate = before
        log.removeHandler(handler)
        with suppress(OSError):
            handler.close()
