"""Tasks under way when the connection to the scheduler is lost."""

import threading
import time
from collections.abc import Iterator

import pytest
from distributed import LocalCluster
from wire import Proxy

from cluster.errors import ClusterError
from cluster.open import open_cluster
from cluster.settings import ClusterSettings
from pipeline.submit import Tasks

GO = threading.Event()


def double_when_told(number: int) -> int:
    assert GO.wait(60)
    return 2 * number


@pytest.fixture
def wire() -> Iterator[Proxy]:
    options = {"processes": False, "dashboard_address": None, "worker_dashboard_address": None}
    with LocalCluster(n_workers=2, threads_per_worker=1, protocol="tcp://", **options) as running:
        yield Proxy(int(running.scheduler_address.rpartition(":")[2]))


def test_they_are_submitted_again_once_it_is_opened_again(wire: Proxy) -> None:
    GO.clear()
    with open_cluster(ClusterSettings(kind="address", address=f"tcp://127.0.0.1:{wire.port}")) as cluster:
        tasks = Tasks(cluster.client, cluster.check)
        tasks.submit(["a", "b", "c"], double_when_told, [1, 2, 3], 0)
        wire.cut()
        threading.Timer(1, wire.mend).start()
        threading.Timer(2, GO.set).start()
        values: dict[str, int] = {}
        while len(values) < 3:
            ended = tasks.wait()
            assert not any(task.error for task in ended)
            values |= {task.key: task.value for task in ended}
        assert values == {"a": 2, "b": 4, "c": 6}
        assert tasks.run("d", double_when_told, 4) == 8


def test_it_is_told_where_it_cannot_be_opened_again(wire: Proxy) -> None:
    GO.clear()
    settings = ClusterSettings(kind="address", address=f"tcp://127.0.0.1:{wire.port}", connect_seconds=15)
    started = time.monotonic()
    with (
        pytest.raises(ClusterError, match="connection to the Dask scheduler is lost"),
        open_cluster(settings) as cluster,
    ):
        tasks = Tasks(cluster.client, cluster.check)
        tasks.submit(["a"], double_when_told, [1], 0)
        wire.cut()
        tasks.wait()
    assert time.monotonic() - started < 120
    GO.set()
