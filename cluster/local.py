"""Worker processes on this machine."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import dask
from dask.system import CPU_COUNT
from distributed import Client, LocalCluster
from distributed.core import Status
from distributed.system import MEMORY_LIMIT

from cluster.cluster import CONNECTIONS, Cluster, check_scheduler, closed_at_the_end
from cluster.dask_configuration import GIB, SILENT, output_in
from cluster.errors import ClusterError
from cluster.gpus import num_gpus
from cluster.settings import ClusterSettings

ENDED = (Status.closed, Status.failed)
# Workers do not see the GPUs of this machine: all of them would train on the first one, and exhaust its memory.
OF_PROCESSES = {"preload": "cluster.worker_setup", "env": {"CUDA_VISIBLE_DEVICES": ""}}


@contextmanager
def local_cluster(settings: ClusterSettings, threads_per_child: int, folder: Path | None) -> Iterator[Cluster]:
    """Workers by cores and memory. They are started by spawn: a fork of a process with torch's threads hangs."""
    workers = settings.workers or num_local_workers(settings, threads_per_child)
    with (
        dask.config.set(output_in(folder)),
        closed_at_the_end(_local_cluster(settings, workers)) as dask_cluster,
        Client(dask_cluster, connection_limit=CONNECTIONS) as client,
    ):
        kind = "worker" if settings.processes else "thread"
        description = f"{workers} {kind}{'s' if workers > 1 else ''} on this machine"
        advice = _advice() if settings.processes else ""
        yield Cluster(client, description + advice, workers, partial(check_workers, client, dask_cluster))


def check_workers(client: Client, dask_cluster: LocalCluster) -> None:
    """Raise ClusterError where all workers have ended. A process that died is begun again by its nanny."""
    check_scheduler(client)
    if all(worker.status in ENDED for worker in dask_cluster.workers.values()):
        raise ClusterError("all workers on this machine have ended, and nobody starts others")


def _local_cluster(settings: ClusterSettings, workers: int) -> LocalCluster:
    return LocalCluster(
        n_workers=workers,
        threads_per_worker=1,
        processes=settings.processes,
        host="127.0.0.1" if settings.processes else None,
        dashboard_address=settings.dashboard,
        worker_dashboard_address=None,
        memory_limit=MEMORY_LIMIT // workers if settings.processes else None,
        silence_logs=SILENT,
        **(OF_PROCESSES if settings.processes else {}),
    )


def _advice() -> str:
    gpus = num_gpus()
    return f", on its CPUs; for its GPU{'s' if gpus > 1 else ''}: --cluster cuda" if gpus else ""


def num_local_workers(settings: ClusterSettings, threads_per_child: int) -> int:
    """One worker for each child that the cores bear, as far as memory goes."""
    by_memory = int(MEMORY_LIMIT / GIB / settings.worker_memory_gib)
    by_cores = int(CPU_COUNT) // threads_per_child
    return max(1, min(by_cores, by_memory))
