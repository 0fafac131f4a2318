import io
import logging
import os
import time
import urllib.request

import psutil
import pytest
import torch
from conftest import assert_left_in_peace, dashboard_hosts

from cluster.cluster import closed_at_the_end
from cluster.dask_configuration import GIB
from cluster.errors import ClusterError
from cluster.local import num_local_workers
from cluster.open import open_cluster
from cluster.settings import ClusterSettings


def test_local_workers_are_spawned_processes_of_one_thread() -> None:
    with open_cluster(ClusterSettings(workers=2)) as cluster:
        client = cluster.client
        assert cluster.description.startswith("2 workers on this machine") and cluster.num_workers == 2
        cluster.check()
        workers = client.scheduler_info()["workers"]
        assert len(workers) == 2 and all(worker["nthreads"] == 1 for worker in workers.values())
        processes = client.run(os.getpid)
        assert len({*processes.values(), os.getpid()}) == 3
        assert all("multiprocessing.spawn" in command for command in client.run(command_line).values())
        assert client.run(os.getenv, "OMP_NUM_THREADS").popitem()[1] == "1"
        assert client.run(os.getenv, "MALLOC_TRIM_THRESHOLD_").popitem()[1] == str(GIB)
        assert all(address.startswith("tcp://127.0.0.1") for address in workers)
        assert_left_in_peace(client)


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


def command_line() -> str:
    """How this process was begun; a forked one has the words of its parent."""
    return " ".join(psutil.Process().cmdline())


@pytest.mark.parametrize("visible", ["0,1", None])
def test_local_workers_see_no_gpu_and_who_has_some_is_told(
    visible: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    if visible:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    else:
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    with open_cluster(ClusterSettings(workers=1)) as cluster:
        assert cluster.client.run(os.getenv, "CUDA_VISIBLE_DEVICES").popitem()[1] == ""
        told = cluster.description == "1 worker on this machine, on its CPUs; for its GPUs: --cluster cuda"
        assert told or not visible


@pytest.mark.gpu
def test_torch_sees_no_gpu_in_a_local_worker() -> None:
    with open_cluster(ClusterSettings(workers=1)) as cluster:
        assert torch.cuda.is_available() and "--cluster cuda" in cluster.description
        assert cluster.client.submit(torch.cuda.is_available).result(timeout=240) is False


def test_the_scheduler_forgets_what_it_sent() -> None:
    with open_cluster(ClusterSettings(workers=1)) as cluster:
        for number in range(30):
            cluster.client.submit(str, number).result()
        (to_worker,) = cluster.client.cluster.scheduler.stream_comms.values()
        assert len(to_worker.recent_message_log) == 10


@pytest.mark.parametrize("processes", [True, False])
def test_the_dashboard_is_on_loopback_where_its_link_says(processes: bool) -> None:
    with open_cluster(ClusterSettings(workers=1, processes=processes)) as cluster:
        client = cluster.client
        assert client.dashboard_link.startswith("http://127.0.0.1:")
        assert dashboard_hosts(client) == {"127.0.0.1"}
        with urllib.request.urlopen(client.dashboard_link, timeout=20) as page:
            assert page.status == 200


def test_a_dashboard_for_all_is_asked_for() -> None:
    with open_cluster(ClusterSettings(workers=1, processes=False, dashboard="0.0.0.0:0")) as cluster:
        assert dashboard_hosts(cluster.client) == {"0.0.0.0"}


@pytest.mark.parametrize(
    ("threads", "memory_gib", "workers"), [(1, 2, 12), (1, 0.5, 16), (4, 2, 4), (5, 2, 3), (17, 2, 1), (1, 100, 1)]
)
def test_workers_are_sized_from_cores_and_memory(
    threads: int, memory_gib: float, workers: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cluster.local.CPU_COUNT", 16)
    monkeypatch.setattr("cluster.local.MEMORY_LIMIT", 25 * GIB)
    assert num_local_workers(ClusterSettings(worker_memory_gib=memory_gib), threads) == workers


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


@pytest.mark.parametrize("processes", [True, False])
def test_nothing_of_dask_is_logged_onto_the_terminal(processes: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not even what the scheduler calls critical: a client that left while it was being written to, as at Ctrl-C."""
    terminal = io.StringIO()
    monkeypatch.setattr(logging.getLogger("distributed"), "handlers", [logging.StreamHandler(terminal)])
    dask_log = logging.getLogger("distributed.scheduler")
    dask_log.critical("said before")
    with open_cluster(ClusterSettings(workers=1, processes=processes)):
        dask_log.critical("said meanwhile")
    dask_log.critical("said by threads that are left")
    assert terminal.getvalue() == "said before\n"
