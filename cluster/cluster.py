"""What the rest of the program sees of a cluster."""

from collections.abc import Callable
from dataclasses import dataclass

from distributed import Client

from cluster.errors import ClusterError


@dataclass(frozen=True)
class Cluster:
    """An open cluster. A child that is submitted to `client` has a process of its own on one of the workers."""

    client: Client
    description: str  # for people
    num_workers: int  # wanted, or for a scheduler that ran before, known when it was opened
    check: Callable[[], None]  # raises ClusterError where no worker is left and none will come
    on_gpus: bool = False  # each worker is meant to have one
    job_script: str | None = None  # where workers are jobs
    worker_seconds: float | None = None  # how long a worker lives at least; None: as long as the cluster


def check_scheduler(client: Client) -> None:
    """Raise ClusterError where the client has given up its scheduler, after trying to reach it again."""
    if client.status == "closed":
        raise ClusterError(f"the connection to the Dask scheduler at {client.scheduler.address} is lost")
