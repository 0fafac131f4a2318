"""What a person sees of a search while it runs: a live line on a terminal, else a plain line a wave, and a log file."""

import logging
import math
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from statistics import fmean

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn
from rich.progress import Progress as ProgressBar

from pipeline.errors import UserError
from pipeline.rows import Row
from pipeline.run_paths import RunPaths
from tasks.records import COUNTED

log = logging.getLogger("wavenas")
COLLAPSE_SHARE = 0.9  # a policy has collapsed if so many of its children are duplicates,
COLLAPSE_WAVES, COLLAPSE_CHILDREN = 5, 40  # looking back over so many waves and children


class Progress:
    """Counts children, rewards and time left of one search. Use `watching` to show it."""

    def __init__(self, console: Console, name: str, total: int, rewards: list[float], done: int) -> None:
        self._console, self._name, self._total = console, name, total
        self._count, self._sum, self._best = len(rewards), sum(rewards), max(rewards, default=0.0)
        self._done, self._done_before = done, done
        self._failed = 0
        self._baseline = 0.0
        self._recent: deque[Row] = deque()
        self._settled = False
        self._last_line = -math.inf
        self._started = time.monotonic()
        self._bar = ProgressBar(
            TextColumn("{task.description}"),
            BarColumn(bar_width=20),
            MofNCompleteColumn(),
            TextColumn("{task.fields[figures]}"),
            console=console,
            disable=not console.is_terminal,
        )
        self._task = self._bar.add_task(name, total=total, completed=done, figures="")

    @contextmanager
    def watching(self) -> Iterator["Progress"]:
        with self._bar:
            yield self

    def wave_started(self, wave: int, size: int, already: int) -> None:
        again = f", {already} of them ended before" if already else ""
        log.info("wave %d: %d children%s", wave, size, again)
        self._show()

    def child_ended(self, row: Row) -> None:
        """A row of `results` that has just been written."""
        self._done += 1
        if row["status"] in COUNTED:
            self._count, self._sum = self._count + 1, self._sum + row["reward"]
            self._best = max(self._best, row["reward"])
            reward = format_reward(row["reward"])
            log.info("trial %d: %s, reward %s, %.1f s", row["trial_id"], row["status"], reward, row["seconds"])
        else:
            self._failed += 1
            reason = (row["error"] or "no reason given").strip()
            log.warning("trial %d: %s after %.1f s: %s", row["trial_id"], row["status"], row["seconds"], reason)
        self._show()

    def children_again(self, number: int) -> None:
        """So many of the children that had ended before are trained again."""
        self._done -= number
        self._done_before -= number

    def wave_ended(self, row: Row) -> None:
        """A row of `updates` that has just been committed."""
        self._baseline = row["baseline"]
        mean = "none" if row["mean_reward"] is None else format_reward(row["mean_reward"])
        line = (
            f"{self._name}, wave {row['wave']}: {self._done} of {self._total} children, mean {mean}; {self.figures()}"
        )
        log.info("%s", line)
        now = time.monotonic()
        if not self._console.is_terminal and (now - self._last_line >= 1 or self._done == self._total):
            self._print(line)
            self._last_line = now
        if row["entropy"] is not None:  # a controller's
            self._recent.append(row)
            self._warn_of_collapse()
        self._show()

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
        self._console.print(line, highlight=False, soft_wrap=True, markup=False, emoji=False)

    def figures(self) -> str:
        """The state of the search in a few words."""
        mean = self._sum / self._count if self._count else 0.0
        failed = f", {self._failed} failed" if self._failed else ""
        figures = {"best": self._best, "mean": mean, "baseline": self._baseline}
        rewards = ", ".join(f"{name} {format_reward(reward, 3)}" for name, reward in figures.items())
        return f"{rewards}{failed}, {self._time_left()}"

    def _time_left(self) -> str:
        trained = self._done - self._done_before
        if not trained:
            return "time left unknown"
        seconds = (time.monotonic() - self._started) / trained * (self._total - self._done)
        return f"{format_seconds(seconds)} left"

    def _show(self) -> None:
        self._bar.update(self._task, completed=self._done, figures=self.figures())


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
    log.propagate = False
    try:
        yield
    finally:
        log.removeHandler(handler)
        with suppress(OSError):
            handler.close()
