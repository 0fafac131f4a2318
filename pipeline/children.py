"""Children on the cluster: trained again where that may help, and given up where they hang."""

import logging
import math
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import dask
from distributed import KilledWorker

from pipeline.attempt import Attempt, train_attempt
from pipeline.submit import Ended, Tasks
from tasks.records import Status, Trial, TrialResult
from tasks.settings import ChildSettings, RetrySettings

log = logging.getLogger("wavenas")
MEMORY_TOPIC = "worker-restart-memory"  # under which Dask tells of a process that it ends for its memory
DEVICE_FAILURES = 3  # in a row, after which a worker is closed
UNBEGUN = 3  # times that a child may meet workers that die before it has begun on enough of them
AGAIN = 1  # priority of a child that is trained again: before those that wait for their first time


@dataclass
class Child:
    """A child under way, and what became of its attempts."""

    trial: Trial
    submitted: int = 0  # times
    begun: int = 0  # attempts, in all
    begun_here: int = 0  # since it was submitted the last time, without an end: Dask begins it again as workers die
    had_ended: bool = False  # whether the last one ended, so that only its result can go with its worker
    in_vain: int = 1  # the last ones of those begun here that found the same checkpoint, or none
    kept_at: float | None = None  # when that was written
    unbegun: int = 0
    bound_to: frozenset[str] = frozenset()  # workers; none: any
    began_at: float = math.inf  # monotonic seconds
    address: str = ""  # of the worker of the last attempt,
    worker: str = "unknown"  # its host and process,
    name: str = ""  # and its name, which outlives the process
    failures: Counter[Status] = field(default_factory=Counter)
    story: list[str] = field(default_factory=list)  # what went wrong, attempt by attempt

    def begin(self, message: Mapping[str, Any]) -> None:
        """An attempt has begun on a worker."""
        if self.begun_here:
            lost = "its result went with the worker" if self.had_ended else "the worker died, or retired"
            self.tell("lost_worker", lost)
            kept_at = _written_at(self.trial.checkpoint_path)
            self.in_vain = 1 if self.had_ended or kept_at != self.kept_at else self.in_vain + 1
            self.kept_at = kept_at
        self.begun, self.begun_here = self.begun + 1, self.begun_here + (not self.had_ended)
        self.had_ended, self.began_at = False, time.monotonic()
        self.address, self.worker, self.name = message["address"], message["process"], message["name"]

    def tell(self, status: Status, error: str | None) -> None:
        self.story.append(f"attempt {self.begun} on {self.worker}: {status}\n{(error or '').rstrip()}")

    def failed(self, error: BaseException) -> TrialResult:
        """The result of a task that returned none."""
        status, reason = _reason(error)
        seconds = max(0.0, time.monotonic() - self.began_at)
        return TrialResult(self.trial.trial_id, status, 0.0, None, seconds, self.worker, reason)

    def final(self, result: TrialResult) -> TrialResult:
        """A result with the attempts before it. One attempt alone is told without a number."""
        attempts = max(self.begun, 1) + result.attempts - 1
        if self.story and result.error:
            self.tell(result.status, result.error)
        error = "\n\n".join(self.story) if self.story else result.error
        return replace(result, attempts=attempts, error=error)


class Children:
    """The children of a run that are under way on the cluster."""

    def __init__(self, tasks: Tasks, run_key: str, child: ChildSettings, retries: RetrySettings) -> None:
        self._tasks, self._retries = tasks, retries
        self._prefix, self._topic = f"trial-{run_key}", f"children-{run_key}"
        self._under_way: dict[str, Child] = {}  # by the key of its task
        self._device_failures: Counter[str] = Counter()  # in a row, by the name of the worker
        self._timeout, self._grace = child.timeout_minutes, child.grace_minutes
        self._lives = 1 + int(dask.config.get("distributed.scheduler.allowed-failures"))
        tasks.listen(self._topic, self._begin)
        tasks.listen(MEMORY_TOPIC, self._give_up_for_memory)
        tasks.look_after(self._unbind)
        if self._timeout is not None:
            tasks.look_after(self._give_up_hung)

    def train(self, trials: Sequence[Trial]) -> None:
        """Start training children, wherever there is room."""
        children = {self._key(child): child for child in map(Child, trials)}
        self._under_way |= children
        if children:
            self._tasks.submit(list(children), train_attempt, self._attempts(children), 0)

    def take(self, tasks: Sequence[Ended]) -> list[TrialResult]:
        """The results of the children among the tasks that ended, but for those that are trained again."""
        over, again = [], []
        for task in tasks:
            child = self._under_way.pop(task.key, None)
            if child is None:
                continue
            if _hardly_began(child, task.error):
                again.append(child)
                continue
            result: TrialResult = child.failed(task.error) if task.error else task.value
            self._look_at_device(child, result)
            child.failures[result.status] += 1
            if child.failures[result.status] <= getattr(self._retries, result.status, 0):
                child.tell(result.status, result.error)
                log.warning("trial %d is trained again: %s", result.trial_id, child.story[-1])
                again.append(child)
            else:
                over.append(child.final(result))
        self._train_again(again)
        return over

    def _train_again(self, children: Sequence[Child]) -> None:
        """On another worker than the last, where there is one."""
        workers = self._tasks.workers.addresses() if children else set()
        for child in children:
            one = {self._key(child): child}
            self._under_way |= one
            child.bound_to = frozenset(workers - {child.address})
            self._tasks.submit(list(one), train_attempt, self._attempts(one), AGAIN, child.bound_to)

    def _unbind(self) -> None:
        """Dask never looks again at a task whose workers have all gone."""
        bound = {key: child for key, child in self._under_way.items() if child.bound_to}
        workers = self._tasks.workers.addresses() if bound else set()
        for key, child in bound.items():
            if workers and not workers & (child.bound_to | {child.address}):
                self._tasks.forget(key)
                self._train_again([self._under_way.pop(key)])

    def _key(self, child: Child) -> str:
        """A new key for the task of a child."""
        child.submitted, child.begun_here, child.in_vain = child.submitted + 1, 0, 1
        child.had_ended, child.began_at = False, math.inf
        return f"{self._prefix}-{child.trial.trial_id}" + (f"-{child.submitted}" if child.submitted > 1 else "")

    def _attempts(self, children: Mapping[str, Child]) -> list[Attempt]:
        return [Attempt(key, self._topic, child.trial) for key, child in children.items()]

    def _begin(self, message: Mapping[str, Any]) -> None:
        for key in message.get("ended", ()):  # there may be workers that run older code
            ended = self._under_way.get(key)
            if ended and ended.begun_here and ended.worker == message["process"]:
                ended.had_ended = True
        child = self._under_way.get(message["key"])
        if child is None or self._tasks.is_given_up(message["key"]):  # given up while Dask sent it to another worker
            self._tasks.workers.restart([message["address"]])
            return
        child.begin(message)
        if child.in_vain > self._lives:  # Dask counts workers that died, not those that retired
            self._tasks.give_up(message["key"], _NoWorkerLives(child.in_vain))
            self._tasks.workers.restart([message["address"]])

    def _give_up_hung(self) -> None:
        """End the children whose time is over, with the processes of their workers."""
        assert self._timeout is not None
        latest = time.monotonic() - 60 * (self._timeout + self._grace)
        late = {key: child for key, child in self._under_way.items() if child.began_at < latest}
        processing = self._tasks.workers.processing() if late else {}
        if not processing:
            return
        hung = []
        for key, child in late.items():
            if key in processing.get(child.address, ()):
                reason = f"it did not end within child.timeout_minutes = {self._timeout:g} and {self._grace:g} more"
                self._tasks.give_up(key, TimeoutError(reason))
                hung.append(child.address)
            else:  # its worker died and Dask will begin it again, or its result is on the way
                child.began_at = math.inf
        self._tasks.workers.restart(hung)

    def _give_up_for_memory(self, message: Mapping[str, Any]) -> None:
        """Dask ends a process that uses nearly all the memory of its worker. Its child would do it again elsewhere."""
        for key, child in self._under_way.items():
            if child.address == message["worker"] and child.begun_here and not child.had_ended:
                used = message["rss"] / 2**30
                self._tasks.give_up(key, MemoryError(f"Dask ended its worker, which used {used:.2f} GiB of memory"))

    def _look_at_device(self, child: Child, result: TrialResult) -> None:
        """A process whose device failed can compute nothing more; a worker whose processes all fail is closed."""
        if not result.device_failed:
            self._device_failures.pop(child.name, None)
            return
        self._device_failures[child.name] += 1
        if self._device_failures[child.name] < DEVICE_FAILURES:
            self._tasks.workers.restart([child.address])
        else:
            self._tasks.workers.retire(child.address)


class _NoWorkerLives(Exception):
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


def _hardly_began(child: Child, error: BaseException | None) -> bool:
    """Dask counts workers that died while a child only waited there, as one that is bound may. It is no lost one."""
    if not isinstance(error, KilledWorker) or child.begun_here - child.had_ended > error.allowed_failures:
        return False
    child.unbegun += 1
    return child.unbegun <= UNBEGUN


def _reason(error: BaseException) -> tuple[Status, str]:
    """What it means that a task ended by an error: `run_trial` raises none."""
    if isinstance(error, KilledWorker):
        times = error.allowed_failures + 1
        return (
            "lost_worker",
            f"its worker died {times} times while training it, the last at {error.last_worker.address}",
        )
    if isinstance(error, _NoWorkerLives):
        return "lost_worker", str(error)
    if isinstance(error, TimeoutError):
        return "timed_out", str(error)
    if isinstance(error, MemoryError):
        return "out_of_memory", str(error)
    return "failed", f"{type(error).__name__}: {error}"
