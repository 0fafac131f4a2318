"""What Dask runs in each worker process as it starts (its `preload` hook), and what becomes of its output."""

import asyncio
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

OUTPUT = "WAVENAS_WORKER_OUTPUT"  # variable with the folder that takes what workers print; unset: where it would go
RETIRE_AT = "WAVENAS_RETIRE_AT"  # variable with the time, in seconds since 1970, at which a worker hands over
MOST = 64 * 2**20  # bytes that are kept of it, of each worker


def dask_setup(worker: Any) -> None:
    """Leave Ctrl-C and the terminal to the driver, and retire in time.

    A terminal sends Ctrl-C to the workers too, and they would die with tracebacks.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if folder := os.environ.get(OUTPUT):
        Path(folder).mkdir(parents=True, exist_ok=True)
        with (Path(folder) / output_name(worker.name)).open("ab") as file:
            os.dup2(file.fileno(), 1)
            os.dup2(file.fileno(), 2)
    for stream in (sys.stdout, sys.stderr):  # so that the last words of a process that is killed are there
        stream.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    if at := os.environ.get(RETIRE_AT):
        worker.loop.add_callback(_retire, worker, float(at))


def output_name(worker_name: object) -> str:
    """The file that takes what a worker prints."""
    return f"worker-{worker_name}.log"


async def _retire(worker: Any, at: float) -> None:
    """Hand over the child and end the job.

    Dask's own lifetime would begin anew with each process of a worker, and wait half a minute for the child.
    """
    await asyncio.sleep(at - time.time())
    while worker.status.name == "init":  # the scheduler must know a worker to take its child from it
        await asyncio.sleep(0.1)
    await worker.scheduler.retire_workers(
        workers=[worker.address], close_workers=False, remove=True, stimulus_id=f"retire-{at}"
    )
    await worker.close(executor_wait=False, reason="its job will end soon")


def bound_output() -> None:
    """Empty the file that takes what this worker prints, where it has grown too large."""
    if os.environ.get(OUTPUT) and os.fstat(1).st_size > MOST:
        os.ftruncate(1, 0)
