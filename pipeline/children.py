"""Children on the cluster: trained again where that may help, and given up where they hang."""

import logging
import math
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import dask

from pipeline.attempt import Attempt, train_attempt
from pipeline.child import Child, NoWorkerLives
from pipeline.submit import Ended, Tasks
from tasks.records import Trial, TrialResult
from tasks.settings import ChildSettings, RetrySettings

log = logging.getLogger("wavenas")
MEMORY_TOPIC = "worker-restart-memory"  # under which Dask tells of a process that it ends for its memory
DEVICE_FAILURES = 3  # in a row, after which a worker is closed
AGAIN = 1  # priority of a child that is trained again: before those that wait for their first time


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
        children = {child.submit(self._prefix): child for child in map(Child, trials)}
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
            if child.hardly_began(task.error):
                again.append(child)
                continue
            result: TrialResult = child.failed(task.error) if task.error else task.value
            self._look_at_device(child, result)
            child.failures[result.status] += 1
            if child.failures[result.status] <= getattr(self._retries, result.status, 0):
                child.tell(result.status, result.error)
                log.warning("trial %d is trained again: %s", result.trial_id, child.story[-1])
                if result.status == "timed_out" and child.trial.checkpoint_path:  # which tells of the time it has spent
                    Path(child.trial.checkpoint_path).unlink(missing_ok=True)
                again.append(child)
            else:
                over.append(child.final(result))
        self._train_again(again)
        return over

    def _train_again(self, children: Sequence[Child]) -> None:
        """On another worker than the last, where there is one."""
        workers = self._tasks.workers.addresses() if children else set()
        for child in children:
            elsewhere = frozenset(workers - {child.address})
            one = {child.submit(self._prefix, elsewhere): child}
            self._under_way |= one
            self._tasks.submit(list(one), train_attempt, self._attempts(one), AGAIN, elsewhere)

    def _unbind(self) -> None:
        """Dask never looks again at a task whose workers have all gone."""
        bound = {key: child for key, child in self._under_way.items() if child.task.bound_to}
        workers = self._tasks.workers.addresses() if bound else set()
        for key, child in bound.items():
            if workers and not workers & (child.task.bound_to | {child.address}):
                self._tasks.forget(key)
                self._train_again([self._under_way.pop(key)])

    def _attempts(self, children: Mapping[str, Child]) -> list[Attempt]:
        return [Attempt(key, self._topic, child.trial) for key, child in children.items()]

    def _begin(self, message: Mapping[str, Any]) -> None:
        for key in message.get("ended", ()):  # there may be workers that run older code
            if ended := self._under_way.get(key):
                ended.end(message["process"])
        child = self._under_way.get(message["key"])
        if child is None or self._tasks.is_given_up(message["key"]):  # given up while Dask sent it to another worker
            self._tasks.workers.restart([message["address"]])
            return
        child.begin(message)
        if child.task.in_vain > self._lives:  # Dask counts workers that died, not those that retired
            self._tasks.give_up(message["key"], NoWorkerLives(child.task.in_vain))
            self._tasks.workers.restart([message["address"]])

    def _give_up_hung(self) -> None:
        """End the children whose time is over, with the processes of their workers."""
        assert self._timeout is not None
        latest = time.monotonic() - 60 * (self._timeout + self._grace)
        late = {key: child for key, child in self._under_way.items() if child.task.began_at < latest}
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
                child.task.began_at = math.inf
        self._tasks.workers.restart(hung)

    def _give_up_for_memory(self, message: Mapping[str, Any]) -> None:
        """Dask ends a process that uses nearly all the memory of its worker. Its child would do it again elsewhere."""
        for key, child in self._under_way.items():
            if child.address == message["worker"] and child.task.begun and not child.task.had_ended:
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
