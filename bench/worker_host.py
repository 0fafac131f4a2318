"""Hundreds of Dask workers in one process: `python -m bench.worker_host ADDRESS COUNT`, until they are closed."""

import asyncio
import logging
import sys
import tempfile

import dask
from distributed import Worker

QUIET = {  # hundreds of workers that share a process need not each look after its health
    "distributed.admin.system-monitor.interval": "60s",
    "distributed.admin.system-monitor.disk": False,
    "distributed.admin.system-monitor.gil.enabled": False,
    "distributed.admin.tick.interval": "5s",
    "distributed.worker.profile.enabled": False,
}


async def host(address: str, count: int) -> None:
    """Connect workers of one thread each to a scheduler, and wait until they are closed."""
    with tempfile.TemporaryDirectory() as folder:
        workers = [
            Worker(address, nthreads=1, memory_limit=0, local_directory=folder, dashboard=False) for _ in range(count)
        ]
        for first in range(0, count, 50):
            await asyncio.gather(*(worker.start() for worker in workers[first : first + 50]))
        await asyncio.gather(*(worker.finished() for worker in workers))


if __name__ == "__main__":
    logging.disable(logging.WARNING)
    with dask.config.set(QUIET):
        asyncio.run(host(sys.argv[1], int(sys.argv[2])))
