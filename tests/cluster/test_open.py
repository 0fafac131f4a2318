import logging
import multiprocessing
import os
import time
import urllib.request

import pytest
from distributed.system import MEMORY_LIMIT

from cluster.cluster import closed_at_the_end
from cluster.dask_configuration import GIB
from cluster.errors import ClusterError
from cluster.local import num_local_workers
from cluster.open import open_cluster
from cluster.settings import ClusterSettings


def test_local_workers_are_spawned_processes_of_one_thread() -> None:
    with open_cluster(ClusterSettings(workers=2)) as cluster:
        client = cluster.client
        assert (cluster.description, cluster.num_workers) == ("2 workers on this machine", 2)
        cluster.check()
        workers = client.scheduler_info()["workers"]
        assert len(workers) == 2 and all(worker["nthreads"] == 1 for worker in workers.values())
        processes = client.run(os.getpid)
        assert len({*processes.values(), os.getpid()}) == 3
        assert set(client.run(multiprocessing.get_start_method, allow_none=True).values()) <= {None, "spawn", "fork"}
        assert client.run(os.environ.get, "OMP_NUM_THREADS").popitem()[1] == "1"
        assert client.run(os.environ.get, "MALLOC_TRIM_THRESHOLD_").popitem()[1] == str(GIB)
        assert all(address.startswith("tcp://127.0.0.1") for address in workers)


@pytest.mark.parametrize("processes", [True, False])
def test_without_workers_that_could_come_again_a_cluster_says_so(processes: bool) -> None:
    with open_cluster(ClusterSettings(workers=2, processes=processes)) as cluster:
        first, second = cluster.client.scheduler_info()["workers"]
        cluster.client.retire_workers([first])
        cluster.check()
        cluster.client.retire_workers([second])
        deadline = time.monotonic() + 60
        with pytest.raises(ClusterError, match="all workers on this machine have ended"):
            while time.monotonic() < deadline:
                cluster.check()
                time.sleep(0.05)


def test_the_scheduler_forgets_what_it_sent() -> None:
    with open_cluster(ClusterSettings(workers=1)) as cluster:
        for number in range(30):
            cluster.client.submit(str, number).result()
        (to_worker,) = cluster.client.cluster.scheduler.stream_comms.values()
        assert len(to_worker.recent_message_log) == 10


@pytest.mark.parametrize("processes", [True, False])
def test_the_dashboard_is_where_its_link_says(processes: bool) -> None:
    with open_cluster(ClusterSettings(workers=1, processes=processes)) as cluster:
        client = cluster.client
        assert client.dashboard_link.startswith("http://127.0.0.1:")
        with urllib.request.urlopen(client.dashboard_link, timeout=20) as page:
            assert page.status == 200


def test_workers_are_sized_from_cores_and_memory() -> None:
    assert num_local_workers(ClusterSettings(worker_memory_gib=0.01), threads_per_child=1) >= 1
    assert num_local_workers(ClusterSettings(worker_memory_gib=MEMORY_LIMIT / GIB * 10), threads_per_child=1) == 1
    assert num_local_workers(ClusterSettings(worker_memory_gib=0.01), threads_per_child=10_000) == 1


def test_workers_that_end_late_are_no_failure(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = logging.getLogger("wavenas")
    monkeypatch.setattr(log, "propagate", True)
    monkeypatch.setattr(log, "disabled", False)
    caplog.set_level(logging.WARNING, logger="wavenas")

    class Slow:
        def close(self) -> None:
            raise TimeoutError

    with closed_at_the_end(Slow()):
        pass
    assert "some workers did not end in time" in caplog.text
    with pytest.raises(KeyboardInterrupt), closed_at_the_end(Slow()):
        raise KeyboardInterrupt
