"""Functions on the cluster as Dask futures under explicit keys, and what comes of them."""

import logging
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from queue import Empty, Queue
from threading import Timer
from typing import Any, TypeVar
from uuid import uuid4

from dask._expr import LLGExpr
from dask.task_spec import Task
from distributed import Client, Future, KilledWorker
from distributed.spans import SpanMetadata

from pipeline.workers import Workers

log = logging.getLogger("wavenas")
A = TypeVar("A")
T = TypeVar("T")
PATIENCE = 5.0  # seconds between looks at the cluster
GATHER_TIMEOUT = 15.0  # seconds: a result's worker may die just before it is asked for it
RUNS = 20  # of a controller's task, on ever other workers that die
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
    options: dict[str, Any]


class Tasks:
    """The tasks of one run on the cluster. `check` raises where the cluster will not come back.

    When the connection to the scheduler is lost, Dask forgets what was submitted, and then connects again: the tasks
    under way are submitted once more.
    """

    def __init__(self, client: Client, check: Callable[[], None] = lambda: None) -> None:
        self._client, self._check = client, check
        self._under_way: dict[str, Future] = {}
        self._calls: dict[str, _Call] = {}  # of those under way
        self._runs_left: dict[str, int] = {}  # of a controller's tasks
        self._handlers: dict[str, Callable[[Any], None]] = {}  # by topic
        self._given_up: dict[str, BaseException] = {}
        self._looks: list[Callable[[], None]] = []
        self._look_at = 0.0
        self._news: Queue[str | Callable[[], None]] = Queue()  # keys of tasks that ended, and what else is to be done
        self.workers = Workers(client, self._news.put)

    def submit(
        self,
        keys: Sequence[str],
        function: Callable[[A], Any],
        arguments: Sequence[A],
        priority: int,
        workers: Collection[str] = (),
    ) -> None:
        """Start a function on each of the arguments, on some workers if they are named and there, else on any."""
        options = {"workers": list(workers), "allow_other_workers": bool(workers), "user_priority": priority}
        self._subscribe()
        calls = {key: _Call(function, some, options) for key, some in zip(keys, arguments, strict=True)}
        self._calls |= calls
        self._start(calls, options)
        if priority == SOON:
            self._runs_left |= dict.fromkeys(calls, RUNS)

    def wait(self) -> list[Ended]:
        """The tasks that ended since the last call, at least one. Their results leave the cluster.

        What `listen` and `look_after` asked for happens in here.
        """
        while True:
            keys = [key for key in self._next_keys() if key in self._under_way]
            ended = [Ended(key, None, self._given_up.pop(key)) for key in keys if key in self._given_up]
            given_up = {task.key for task in ended}
            ended += self._collect([self._under_way[key] for key in keys if key not in given_up])
            for task in ended:
                self.forget(task.key)
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

    def forget(self, key: str) -> None:
        """Let a task be, without a word."""
        del self._calls[key]
        self._runs_left.pop(key, None)
        self._under_way.pop(key).release()

    def give_up(self, key: str, error: BaseException) -> None:
        """Let a task be: `wait` returns it as ended by `error`. It goes on where it runs, but for nobody."""
        self._given_up[key] = error
        self._news.put(key)

    def is_given_up(self, key: str) -> bool:
        """Whether a task was given up that `wait` is yet to return."""
        return key in self._given_up

    def listen(self, topic: str, handler: Callable[[Any], None]) -> None:
        """Have `wait` call `handler` with each message that workers send under a topic of Dask's events."""
        self._handlers[topic] = lambda event: self._news.put(partial(handler, event[1]))

    def look_after(self, look: Callable[[], None]) -> None:
        """Have `wait` call `look` every few seconds."""
        self._looks.append(look)

    def _start(self, calls: Mapping[str, _Call], options: Mapping[str, Any]) -> None:
        """What `Client.map` does, but for a mark: tasks that produce data wait at the scheduler until a worker is idle.

        Of others it deals up to two a worker out at once, to wait for the end of whatever runs there.
        """
        tasks = {key: Task(key, call.function, call.argument, _data_producer=True) for key, call in calls.items()}
        futures = self._client._graph_to_futures(
            LLGExpr(tasks, _determ_token=uuid4().hex),  # without a token Dask would hash every argument
            tasks.keys(),
            SpanMetadata(collections=[{"type": "Future"}]),
            internal_priority={key: place for place, key in enumerate(tasks)},
            **options,
        )
        for key, future in futures.items():
            self._under_way[key] = future
            self._watch(future)

    def _subscribe(self) -> None:
        """With whatever is submitted, since a scheduler that was started again since knows of no subscription."""
        for topic, handler in self._handlers.items():
            self._client.subscribe_topic(topic, handler)

    def _next_keys(self) -> list[str]:
        """Keys of tasks that may have ended; waits for the first piece of news."""
        keys, news = [], [self._next_news()]
        while not self._news.empty():
            news.append(self._news.get())
        for piece in news:
            if isinstance(piece, str):
                keys.append(piece)
            else:
                piece()
        return list(dict.fromkeys(keys))

    def _next_news(self) -> str | Callable[[], None]:
        while True:
            if time.monotonic() >= self._look_at:
                self._look_at = time.monotonic() + PATIENCE
                if self._news.empty():  # what has ended counts first
                    self._check()
                for look in self._looks:
                    look()
            with suppress(Empty):
                return self._news.get(timeout=PATIENCE)

    def _collect(self, futures: list[Future]) -> list[Ended]:
        """Outcomes of futures. Those whose result was lost run again, and are watched again."""
        broken = [Ended(future.key, None, future.exception()) for future in futures if future.status == "error"]
        ended = [task for task in broken if not self._run_again(task)]
        finished = [future.key for future in futures if future.status == "finished"]
        ended += [Ended(key, value) for key, value in self._gather(finished).items()]
        known = {task.key for task in ended}
        waiting = [future for future in futures if future.key not in known]
        self._submit_again([future for future in waiting if future.status == "cancelled"])
        for future in waiting:
            if self._under_way[future.key] is not future:
                continue  # submitted again
            if future.status == "pending":
                self._watch(future)
            else:  # its result is lost, or could not be had, or it was cancelled just now
                Timer(LOST_PATIENCE, self._news.put, [future.key]).start()
        return ended

    def _run_again(self, task: Ended) -> bool:
        """Whether a controller's task that met workers which children killed is run once more: it kills none itself."""
        if not isinstance(task.error, KilledWorker) or self._runs_left.get(task.key, 0) == 0:
            return False
        log.warning("%s met workers that died, and is run again", task.key)
        self._runs_left[task.key] -= 1
        self._client.retry([self._under_way[task.key]])
        return True

    def _submit_again(self, cancelled: list[Future]) -> None:
        """Nobody cancels a task, so the connection to the scheduler was lost, and is there again or soon will be."""
        if not cancelled:
            return
        self._check()
        log.warning("the connection to the scheduler was lost: %d tasks are submitted again", len(cancelled))
        self._subscribe()
        for future in cancelled:
            call = self._calls[future.key]
            self._start({future.key: call}, call.options)

    def _gather(self, keys: list[str]) -> dict[str, Any]:
        """The results that can be had now.

        Dask's own `gather` waits until those that are lost are there again, which may take a worker that only the
        caller of this can set free.
        """

        async def gather(keys: list[str]) -> dict[str, Any]:
            while keys:
                answer = await self._client.scheduler.gather(keys=keys)
                if answer["status"] == "OK":
                    return answer["data"]  # type: ignore[no-any-return]
                keys = [key for key in keys if key not in answer["keys"]]
            return {}

        try:
            return self._client.sync(gather, keys, callback_timeout=GATHER_TIMEOUT) if keys else {}
        except (TimeoutError, OSError):  # of a worker that died, or of a connection that broke
            return {}

    def _watch(self, future: Future) -> None:
        future.add_done_callback(lambda future: self._news.put(future.key))
