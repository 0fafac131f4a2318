"""What Dask is told wherever children are trained."""

import logging
from collections.abc import Mapping
from pathlib import Path

from cluster.settings import ClusterSettings
from cluster.worker_setup import OUTPUT

GIB = 2**30

# A level of logging that nothing has. What goes wrong with a child is in its row, and with a cluster in an error.
SILENT = logging.CRITICAL + 1

# Dask has freed memory handed back at once, and every large tensor of a child then faults its pages in anew.
KEEP_FREED_MEMORY = {"MALLOC_TRIM_THRESHOLD_": GIB, "MALLOC_MMAP_THRESHOLD_": GIB}

# What Dask does in a worker beside its child, which waits for it: a thread of each takes Python's lock from the other.
WORKERS: dict[str, object] = {
    "distributed.worker.profile.enabled": False,  # it looks into a child a hundred times a second
    # Its memory is the child's, and nothing there could be spilled; one that is paused would begin no other child.
    # The nanny ends a process that uses too much all the same.
    **{f"distributed.worker.memory.{name}": False for name in ("target", "spill", "pause")},
    "distributed.admin.tick.interval": "1s",
    "distributed.admin.system-monitor.interval": "5s",
}


def dask_configuration(settings: ClusterSettings) -> dict[str, object]:
    """For `dask.config.set`, around the opening of a cluster and all of its life."""
    configuration: dict[str, object] = {
        "distributed.worker.multiprocessing-method": "spawn",
        "distributed.scheduler.allowed-failures": settings.failures_allowed,
        # A busy machine may take longer than Dask's 15 seconds to begin a worker's process again. On Slurm Dask would
        # cancel whatever job has the name of the one that lost its worker: the healer alone looks after jobs.
        "distributed.deploy.lost-worker-timeout": "1000 days",
        "distributed.scheduler.work-stealing": False,  # children are alike: moving them costs more than it gains
        # Tasks wait at the scheduler: on a worker one would wait for the end of another, or be lost with it.
        "distributed.scheduler.worker-saturation": 1.0,
        # the scheduler would keep the last 1,000 messages to each worker, requests with a whole policy among them
        "distributed.admin.low-level-log-length": 10,
        **WORKERS,
    }
    for name, value in KEEP_FREED_MEMORY.items():
        configuration[f"distributed.nanny.pre-spawn-environ.{name}"] = value
    if not settings.processes:  # hundreds of workers that share a process need not each look after its health
        configuration |= {
            # they stand still with their scheduler alone, and one that it lets go of for that is gone for good
            "distributed.scheduler.worker-ttl": None,
            "distributed.admin.system-monitor.interval": "60s",
            "distributed.admin.tick.interval": "5s",
        }
    if settings.kind != "address":  # Dask's own guess can be another address of this machine
        host = settings.dashboard.rpartition(":")[0] or "127.0.0.1"
        configuration["distributed.dashboard.link"] = f"http://{host}:{{port}}/status"
    return configuration


def as_environment(configuration: Mapping[str, object]) -> dict[str, object]:
    """The variables from which Dask reads a configuration where nobody hands it on."""
    return {f"DASK_{name.replace('.', '__').replace('-', '_').upper()}": value for name, value in configuration.items()}


def silence_dask() -> None:
    """Keep Dask's log off the terminal, for as long as this process lives: its threads tell of a closed cluster too,
    and asyncio tells of theirs. Files that a user's own handlers write are left to them."""
    if not logging.getLogger("asyncio").handlers:
        logging.getLogger("asyncio").addHandler(logging.NullHandler())
    for handler in logging.getLogger("distributed").handlers:
        if type(handler) is logging.StreamHandler:
            handler.setLevel(SILENT)


def output_in(folder: Path | None) -> dict[str, str]:
    """Have processes on this machine print into files of a folder: a child may print megabytes."""
    return {f"distributed.nanny.environ.{OUTPUT}": str(folder.resolve())} if folder else {}
