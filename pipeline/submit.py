"""Functions on the cluster as Dask futures under explicit keys, and what comes of them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from queue import Empty, Queue
from threading import Timer
from typing import Any, TypeVar

from distributed import Client, Future, KilledWorker

from pipeline.progress import log
from tasks.records import TrialResult

A = TypeVar("A")
T = TypeVar("T")
PATIENCE = 5.0  # seconds between looks at the cluster while nothing ends
GATHER_TIMEOUT = 60.0  # seconds: a result's worker may die just before it is asked for it
LOST_PATIENCE = 1.0  # seconds between looks at a task that runs again, since its result was lost with its worker
SOON = 10  # priority of what a controller waits for, before any waiting child


@dataclass(frozen=True)
class Ended:
    """A task that ended: what it returned, or the error that ended it."""

    key: str
    value: Any
    error: BaseException | None = None


@dataclass(frozen=True)
class _Call:
    """What a task was submitted as."""

    function: Callable[[Any], Any]
    argument: Any
    priority: int


class Tasks:
    """The tasks of one run on the cluster. `check` raises where the cluster will not come back.

    When the connection to the scheduler is lost, Dask forgets what was submitted, and then connects again: the tasks
    under way are submitted once more.
    """

    def __init__(self, client: Client, check: Callable[[], None] = lambda: None) -> None:
        self._client, self._check = client, check
        self._under_way: dict[str, Future] = {}
        self._calls: dict[str, _Call] = {}  # of those under way
        self._ended: Queue[str] = Queue()

    def submit(self, keys: Sequence[str], function: Callable[[A], Any], arguments: Sequence[A], priority: int) -> None:
        """Start a function on each of the arguments."""
        self._calls |= {key: _Call(function, argument, priority) for key, argument in zip(keys, arguments, strict=True)}
        for future in self._client.map(function, arguments, key=list(keys), pure=False, priority=priority):
            self._under_way[future.key] = future
            self._watch(future)

    def wait(self) -> list[Ended]:
        """The tasks that ended since the last call, at least one. Their results leave the cluster."""
        while True:
            keys = [self._next_key()]
            while not self._ended.empty():
                keys.append(self._ended.get())
            ended = self._collect([self._under_way[key] for key in keys])
            for task in ended:
                del self._calls[task.key]
                self._under_way.pop(task.key).release()
            if ended:
                return ended

    def run(self, key: str, function: Callable[[A], T], argument: A) -> T:
        """Run one function before any waiting child and wait for what it returns; nothing else may be under way."""
        assert not self._under_way
        self.submit([key], function, [argument], SOON)
        (ended,) = self.wait()
        if ended.error:
            raise ended.error
        return ended.value  # type: ignore[no-any-return]

    def _next_key(self) -> str:
        while True:
            try:
                return self._ended.get(timeout=PATIENCE)
            except Empty:
                self._check()

    def _collect(self, futures: list[Future]) -> list[Ended]:
        """Outcomes of futures. Those whose result was lost run again, and are watched again."""
        ended = [Ended(future.key, None, future.exception()) for future in futures if future.status == "error"]
        finished = {future.key: future for future in futures if future.status == "finished"}
        ended += [Ended(key, value) for key, value in self._gather(finished).items()]
        known = {task.key for task in ended}
        waiting = [future for future in futures if future.key not in known]
        self._submit_again([future for future in waiting if future.status == "cancelled"])
        for future in waiting:
            if future.status != "cancelled":
                self._watch(future)
        return ended

    def _submit_again(self, cancelled: list[Future]) -> None:
        """Nobody cancels a task, so the connection to the scheduler was lost, and is there again or soon will be."""
        if not cancelled:
            return
        self._check()
        log.warning("the connection to the scheduler was lost: %d tasks are submitted again", len(cancelled))
        for future in cancelled:
            call = self._calls[future.key]
            again = self._client.submit(
                call.function, call.argument, key=future.key, pure=False, priority=call.priority
            )
            self._under_way[future.key] = again
            self._watch(again)

    def _gather(self, futures: dict[str, Future]) -> dict[str, Any]:
        """The results that can be had now."""

        async def gather() -> dict[str, Any]:
            return await self._client.gather(futures, errors="skip", asynchronous=True)  # type: ignore[no-any-return]

        try:
            values = self._client.sync(gather, callback_timeout=GATHER_TIMEOUT) if futures else {}
        except (TimeoutError, OSError):  # of a worker that died, or of a connection that broke
            return {}
        return {key: value for key, value in values.items() if futures[key].status == "finished"}

    def _watch(self, future: Future) -> None:
        if future.status == "lost":  # Dask takes it for done
            Timer(LOST_PATIENCE, self._ended.put, [future.key]).start()
        else:
            future.add_done_callback(lambda done: self._ended.put(done.key))


def trial_key(run_key: str, trial_id: int) -> str:
    """The key of a trial, the same whenever it is submitted again."""
    return f"trial-{run_key}-{trial_id}"


def outcome(ended: Ended, trial_id: int) -> tuple[TrialResult, int]:
    """A child's result and attempts. A child whose workers keep dying is a failed one."""
    error = ended.error
    if error is None:
        return ended.value, 1
    if isinstance(error, KilledWorker):
        attempts = error.allowed_failures + 1
        reason = f"its worker died {attempts} times while training it, the last at {error.last_worker.address}"
    else:
        attempts, reason = 1, f"{type(error).__name__}: {error}"
    return TrialResult(trial_id, "failed", 0.0, None, 0.0, "unknown", reason), attempts
