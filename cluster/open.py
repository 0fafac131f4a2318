"""Open the Dask cluster that the settings describe."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

import dask
from dask.system import CPU_COUNT
from distributed import Client, LocalCluster
from distributed.system import MEMORY_LIMIT

from cluster.settings import ClusterSettings

GIB = 2**30


def check_cluster(settings: ClusterSettings) -> None:
    """Raise ValueError, before anything starts, where the settings ask for a cluster that cannot be opened."""
    if settings.kind != "local":
        raise ValueError(f"cluster.kind {settings.kind!r} is not available yet; allowed now: 'local'")


@contextmanager
def open_cluster(settings: ClusterSettings, threads_per_child: int = 1) -> Iterator[Client]:
    """A client of a cluster whose workers train one child at a time. Closes both at the end.

    Workers are processes started by spawn: a fork of a process in which torch has run threads hangs.
    """
    check_cluster(settings)
    with dask.config.set(_dask_configuration(settings)):
        workers = settings.workers or local_workers(settings, threads_per_child)
        with LocalCluster(
            n_workers=workers,
            threads_per_worker=1,
            processes=settings.processes,
            host="127.0.0.1" if settings.processes else None,
            dashboard_address=settings.dashboard,
            worker_dashboard_address=None,
            memory_limit=MEMORY_LIMIT // workers if settings.processes else None,
            silence_logs=logging.CRITICAL,  # what goes wrong with a child is in its row
            preload="cluster.worker_setup" if settings.processes else None,
        ) as cluster, Client(cluster) as client:  # fmt: skip
            yield client


def local_workers(settings: ClusterSettings, threads_per_child: int) -> int:
    """One worker for each child that the cores bear, as far as memory goes."""
    by_memory = int(MEMORY_LIMIT / GIB / settings.worker_memory_gib)
    by_cores = int(CPU_COUNT) // threads_per_child
    return max(1, min(by_cores, by_memory))


def _dask_configuration(settings: ClusterSettings) -> dict[str, object]:
    host = settings.dashboard.rpartition(":")[0] or "127.0.0.1"
    return {
        "distributed.dashboard.link": f"http://{host}:{{port}}/status",  # Dask's own guess can be another address
        # Dask has freed memory handed back at once, and every large tensor of a child then faults its pages in anew.
        "distributed.nanny.pre-spawn-environ.MALLOC_TRIM_THRESHOLD_": GIB,
        "distributed.nanny.pre-spawn-environ.MALLOC_MMAP_THRESHOLD_": GIB,
        "distributed.worker.multiprocessing-method": "spawn",
        "distributed.scheduler.allowed-failures": settings.allowed_failures,
        "distributed.scheduler.work-stealing": False,  # children are alike: moving them costs more than it gains
        "distributed.scheduler.worker-saturation": 1.0,  # no queue on a worker, so only its own child dies with it
    }
