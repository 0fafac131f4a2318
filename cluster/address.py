"""A Dask scheduler that runs already."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

from distributed import Client
from distributed.comm import connect
from distributed.security import Security

from cluster.cluster import CONNECTIONS, Cluster, check_scheduler
from cluster.errors import ClusterError
from cluster.security import site_security
from cluster.settings import ClusterSettings


@contextmanager
def cluster_at_address(settings: ClusterSettings) -> Iterator[Cluster]:
    """Connect to `cluster.address`, with the site's certificates for `tls://`. The scheduler and its workers stay."""
    assert settings.address is not None
    security = site_security(settings)
    try:
        asyncio.run(_greet(settings.address, security, settings.connect_seconds))
        timeout = settings.connect_seconds
        client = Client(settings.address, security=security, timeout=timeout, connection_limit=CONNECTIONS)
    except (OSError, TimeoutError) as error:
        raise ClusterError(
            f"cluster.address = {settings.address!r}: no Dask scheduler answered within"
            f" {settings.connect_seconds:g} seconds; is it running, can its port be reached from here, and is it"
            f" tcp:// or tls:// ? ({error or type(error).__name__})"
        ) from error
    with client:
        check_workers(client)
        workers = len(client.scheduler_info(n_workers=-1)["workers"])
        description = f"scheduler at {settings.address}: {workers} worker{'' if workers == 1 else 's'} so far"
        yield Cluster(client, description, workers, partial(check_workers, client))


async def _greet(address: str, security: Security | None, seconds: float) -> None:
    """Connect once: a client would wait for ever for one that takes the connection and says nothing."""
    arguments = security.get_connection_args("client") if security else {}
    comm = await asyncio.wait_for(connect(address, timeout=seconds, **arguments), seconds)
    await comm.close()


def check_workers(client: Client) -> None:
    """Raise ClusterError where the scheduler is lost or a worker would train two children in one process."""
    check_scheduler(client)
    if client.status != "running":
        return  # connecting again, within cluster.connect_seconds
    try:
        workers = client.scheduler_info(n_workers=-1)["workers"]
    except OSError:  # the connection has just broken
        return
    for address, worker in workers.items():
        if worker["nthreads"] > 1:
            raise ClusterError(
                f"worker {address} has {worker['nthreads']} threads, and children in one process would share torch's"
                " random numbers; allowed is 1: start workers with `dask worker --nthreads 1 --nworkers N`"
            )
