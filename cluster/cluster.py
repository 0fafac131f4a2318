"""What the rest of the program sees of a cluster."""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol, TypeVar

from distributed import Client

from cluster.errors import ClusterError

log = logging.getLogger("wavenas")

CONNECTIONS = 16  # to the scheduler at once: Dask keeps each that was ever needed, up to 512 of them unless told


class Closable(Protocol):
    """What a cluster of Dask's is here."""

    def close(self) -> object: ...


C = TypeVar("C", bound=Closable)


@dataclass(frozen=True)
class Cluster:
    """An open cluster. A child that is submitted to `client` has a process of its own on one of the workers."""

    client: Client
    description: str  # for people
    num_workers: int  # that the settings want, or for a scheduler that ran before, known when it was opened
    check: Callable[[], None]  # raises ClusterError where no worker is left and none will come
    on_gpus: bool = False  # each worker is meant to have one
    job_script: str | None = None  # where workers are jobs
    worker_seconds: float | None = None  # how long a worker lives at least; None: as long as the cluster


def check_scheduler(client: Client) -> None:
    """Raise ClusterError where the client has given up its scheduler, after trying to reach it again."""
    if client.status in ("closing", "closed"):
        raise ClusterError("the connection to the Dask scheduler is lost, and could not be opened again")


@contextmanager
def closed_at_the_end(dask_cluster: C) -> Iterator[C]:
    """Close a cluster of Dask's. Workers that take long to end, where much else runs, are no failure of a run."""
    try:
        yield dask_cluster
    finally:
        try:
            dask_cluster.close()
        except TimeoutError:
            log.warning("some workers did not end in time; they end with this process")
