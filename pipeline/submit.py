"""Functions on the cluster as Dask futures under explicit keys, and what comes of them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from queue import Empty, Queue
from typing import Any, TypeVar

from distributed import Client, Future, KilledWorker

from tasks.records import TrialResult

A = TypeVar("A")
T = TypeVar("T")
PATIENCE = 5.0  # seconds between looks at the cluster while nothing ends
GATHER_TIMEOUT = 60.0  # seconds: a result's worker may die just before it is asked for it
BROKEN = ("error", "cancelled", "lost")
SOON = 10  # priority of what a controller waits for, before any waiting child


@dataclass(frozen=True)
class Ended:
    """A task that ended: what it returned, or the error that ended it."""

    key: str
    value: Any
    error: BaseException | None = None


class Tasks:
    """The tasks of one run on the cluster. `check` raises where the cluster will not come back."""

    def __init__(self, client: Client, check: Callable[[], None] = lambda: None) -> None:
        self._client, self._check = client, check
        self._under_way: dict[str, Future] = {}
        self._ended: Queue[str] = Queue()

    def submit(self, keys: Sequence[str], function: Callable[[A], Any], arguments: Sequence[A], priority: int) -> None:
        """Start a function on each of the arguments."""
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
        """Outcomes of futures. Those whose result was lost with its worker run again, and are watched again."""
        ended = [Ended(future.key, None, future.exception()) for future in futures if future.status in BROKEN]
        finished = {future.key: future for future in futures if future.status == "finished"}
        ended += [Ended(key, value) for key, value in self._gather(finished).items()]
        known = {task.key for task in ended}
        for future in futures:
            if future.key not in known:
                self._watch(future)
        return ended

    def _gather(self, futures: dict[str, Future]) -> dict[str, Any]:
        """The results that can be had now."""

        async def gather() -> dict[str, Any]:
            return await self._client.gather(futures, errors="skip", asynchronous=True)  # type: ignore[no-any-return]

        try:
            values = self._client.sync(gather, callback_timeout=GATHER_TIMEOUT) if futures else {}
        except TimeoutError:
            return {}
        return {key: value for key, value in values.items() if futures[key].status == "finished"}

    def _watch(self, future: Future) -> None:
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
