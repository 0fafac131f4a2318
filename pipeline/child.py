"""A child under way on the cluster: the task that trains it, the attempts of that, and what went wrong with them."""

import math
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from distributed import KilledWorker

from tasks.records import Status, Trial, TrialResult

UNBEGUN = 3  # times that a child may meet workers that die before it has begun on enough of them


@dataclass
class Submission:
    """One task of Dask's that trains a child. Dask begins it again, elsewhere, as workers die."""

    bound_to: frozenset[str] = frozenset()  # workers; none: any
    begun: int = 0  # attempts without an end
    had_ended: bool = False  # whether the last one ended, so that only its result can go with its worker
    in_vain: int = 1  # the last attempts that found the same checkpoint of the child, or none
    began_at: float = math.inf  # the last one, in monotonic seconds


@dataclass
class Child:
    """A child under way, and what became of its attempts."""

    trial: Trial
    task: Submission = field(default_factory=Submission)  # the last one
    submitted: int = 0  # times
    begun: int = 0  # attempts, in all
    unbegun: int = 0
    kept_at: float | None = None  # when the checkpoint was written that an attempt found, if it was not the first
    address: str = ""  # of the worker of the last attempt,
    worker: str = "unknown"  # its host and process,
    name: str = ""  # and its name, which outlives the process
    failures: Counter[Status] = field(default_factory=Counter)
    story: list[str] = field(default_factory=list)  # what went wrong, attempt by attempt

    def submit(self, prefix: str, bound_to: frozenset[str] = frozenset()) -> str:
        """Begin anew, on some workers or on any. The key of the task."""
        self.submitted, self.task = self.submitted + 1, Submission(bound_to)
        return f"{prefix}-{self.trial.trial_id}" + (f"-{self.submitted}" if self.submitted > 1 else "")

    def begin(self, message: Mapping[str, Any]) -> None:
        """An attempt has begun on a worker."""
        task = self.task
        if task.begun:
            lost = "its result went with the worker" if task.had_ended else "the worker died, or retired"
            self.tell("lost_worker", lost)
            kept_at = _written_at(self.trial.checkpoint_path)
            task.in_vain = 1 if task.had_ended or kept_at != self.kept_at else task.in_vain + 1
            self.kept_at = kept_at
        self.begun, task.begun = self.begun + 1, task.begun + (not task.had_ended)
        task.had_ended, task.began_at = False, time.monotonic()
        self.address, self.worker, self.name = message["address"], message["process"], message["name"]

    def end(self, process: str) -> None:
        """What began in a process has ended there: its result may yet go with the worker."""
        if self.task.begun and self.worker == process:
            self.task.had_ended = True

    def hardly_began(self, error: BaseException | None) -> bool:
        """Dask counts workers that died while a task only waited there, as one that is bound may. It is no lost one."""
        if not isinstance(error, KilledWorker) or self.task.begun - self.task.had_ended > error.allowed_failures:
            return False
        self.unbegun += 1
        return self.unbegun <= UNBEGUN

    def tell(self, status: Status, error: str | None) -> None:
        self.story.append(f"attempt {self.begun} on {self.worker}: {status}\n{(error or '').rstrip()}")

    def failed(self, error: BaseException) -> TrialResult:
        """The result of a task that returned none."""
        status, reason = _reason(error)
        seconds = max(0.0, time.monotonic() - self.task.began_at)
        return TrialResult(self.trial.trial_id, status, 0.0, None, seconds, self.worker, reason)

    def final(self, result: TrialResult) -> TrialResult:
        """A result with the attempts before it. One attempt alone is told without a number."""
        attempts = max(self.begun, 1) + result.attempts - 1
        if self.story and result.error:
            self.tell(result.status, result.error)
        error = "\n\n".join(self.story) if self.story else result.error
        return replace(result, attempts=attempts, error=error)


class NoWorkerLives(Exception):
    """No worker lives until a child ends, or keeps anything new."""

    def __init__(self, times: int) -> None:
        super().__init__(
            f"it was begun {times} times, and each time its worker retired or died before it ended or kept a"
            " checkpoint: a longer cluster.slurm.walltime_minutes, a smaller child or a task that keeps checkpoints"
            " lets it end"
        )


def _written_at(path: str | None) -> float | None:
    """When a file was written, in seconds since 1970; None where it was not."""
    if path is None:
        return None
    try:
        return Path(path).stat().st_mtime
    except OSError:
        return None


def _reason(error: BaseException) -> tuple[Status, str]:
    """What it means that a task ended by an error: `run_trial` raises none."""
    if isinstance(error, KilledWorker):
        times = error.allowed_failures + 1
        return (
            "lost_worker",
            f"its worker died {times} times while training it, the last at {error.last_worker.address}",
        )
    if isinstance(error, NoWorkerLives):
        return "lost_worker", str(error)
    if isinstance(error, TimeoutError):
        return "timed_out", str(error)
    if isinstance(error, MemoryError):
        return "out_of_memory", str(error)
    return "failed", f"{type(error).__name__}: {error}"
