"""Tasks on a cluster that is looked at while they end."""

import itertools
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import dask
import pytest
from distributed import Client, LocalCluster

from cluster.dask_configuration import dask_configuration
from cluster.errors import ClusterError
from cluster.open import open_cluster
from cluster.settings import ClusterSettings
from pipeline.submit import SOON, Tasks

RELEASED, DRAWN = threading.Event(), threading.Event()
begun: list[int] = []
OPTIONS = {"processes": False, "protocol": "tcp://", "dashboard_address": None, "worker_dashboard_address": None}


def test_a_late_worker_of_several_threads_is_noticed_on_a_busy_cluster(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline.submit.PATIENCE", 0.5)  # longer than any task takes
    with LocalCluster(n_workers=1, threads_per_worker=1, **OPTIONS) as running:
        settings = ClusterSettings(kind="address", address=running.scheduler_address)
        with open_cluster(settings) as cluster, pytest.raises(ClusterError, match=r"has 2 threads, .* allowed is 1"):
            tasks = Tasks(cluster.client, cluster.check)
            running.new_spec["options"]["nthreads"] = 2
            running.scale(2)
            for number in range(1_000):
                tasks.submit([f"short-{number}"], time.sleep, [0.05], 0)
                tasks.wait()


def wait_to_be_released(seconds: float) -> bool:
    return RELEASED.wait(seconds)


def wait_to_be_drawn(seconds: float) -> bool:
    return DRAWN.wait(seconds)


def begin(number: int) -> None:
    begun.append(number)


def test_a_result_that_is_lost_holds_nothing_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is computed again, but the worker for that is busy until whoever waits looks after it."""
    monkeypatch.setattr("pipeline.submit.PATIENCE", 0.2)
    monkeypatch.setattr("pipeline.submit.GATHER_TIMEOUT", 60)
    RELEASED.clear()
    with LocalCluster(n_workers=2, threads_per_worker=1, **OPTIONS) as running, Client(running) as client:
        first, second = running.workers.values()
        tasks = Tasks(client)
        tasks.submit(["held"], wait_to_be_released, [60.0], 0, workers=[second.address])
        tasks.submit(["short"], abs, [-7], 0, workers=[first.address])
        while client.futures["short"].status != "finished":
            time.sleep(0.01)
        monkeypatch.setitem(client._stream_handlers, "lost-data", lambda key=None: None)  # as if that came late
        running.sync(first.close)
        looks = itertools.count()

        def look() -> None:
            if next(looks) > 5:
                RELEASED.set()

        tasks.look_after(look)
        started, ended = time.monotonic(), dict[str, object]()
        while len(ended) < 2:
            ended |= {task.key: task.value for task in tasks.wait()}
        assert ended == {"held": True, "short": 7} and time.monotonic() - started < 50


@contextmanager
def worker_threads(count: int) -> Iterator[tuple[LocalCluster, Tasks]]:
    """A cluster as a run opens it, its workers in threads, and tasks on it."""
    with (
        dask.config.set(dask_configuration(ClusterSettings(processes=False))),
        LocalCluster(n_workers=count, threads_per_worker=1, **OPTIONS) as running,
        Client(running) as client,
    ):
        yield running, Tasks(client)


def test_no_task_waits_for_the_end_of_another_while_a_worker_is_idle() -> None:
    """Two more than there are workers, which Dask alone would deal out at once, one of them behind the held one."""
    RELEASED.clear()
    DRAWN.clear()
    with worker_threads(2) as (running, tasks):
        tasks.submit(["held"], wait_to_be_released, [60.0], 0)
        tasks.submit(["drawn"], wait_to_be_drawn, [60.0], SOON)
        tasks.submit(["first", "second"], abs, [-1, -2], 0)
        while len(running.scheduler.tasks) < 4:
            time.sleep(0.01)
        DRAWN.set()
        ended = set[str]()
        while len(ended) < 3:
            ended |= {task.key for task in tasks.wait()}
        RELEASED.set()
        assert ended == {"drawn", "first", "second"}
        assert [task.key for task in tasks.wait()] == ["held"]


def test_tasks_of_one_priority_begin_in_their_order() -> None:
    """What Dask does with a graph is to order its tasks by their names."""
    begun.clear()
    RELEASED.clear()
    with worker_threads(1) as (running, tasks):
        tasks.submit(["held"], wait_to_be_released, [60.0], 0)
        for first in (0, 20):
            numbers = list(range(first, first + 20))
            tasks.submit([f"task-{number}" for number in numbers], begin, numbers, 0)
        tasks.submit(["soon"], begin, [-1], SOON)
        while len(running.scheduler.tasks) < 42:
            time.sleep(0.01)
        RELEASED.set()
        ended = 0
        while ended < 42:
            ended += len(tasks.wait())
    assert begun == [-1, *range(40)]
