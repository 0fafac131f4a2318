"""What Dask runs in each worker process as it starts (its `preload` hook), and what becomes of its output."""

import os
import signal
from pathlib import Path
from typing import Any

OUTPUT = "WAVENAS_WORKER_OUTPUT"  # variable with the folder that takes what workers print; unset: where it would go
MOST = 64 * 2**20  # bytes that are kept of it, of each worker


def dask_setup(worker: Any) -> None:
    """Leave Ctrl-C and the terminal to the driver.

    A terminal sends Ctrl-C to the workers too, and they would die with tracebacks.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if folder := os.environ.get(OUTPUT):
        Path(folder).mkdir(parents=True, exist_ok=True)
        with (Path(folder) / f"worker-{worker.name}.log").open("ab") as file:
            os.dup2(file.fileno(), 1)
            os.dup2(file.fileno(), 2)


def bound_output() -> None:
    """Empty the file that takes what this worker prints, where it has grown too large."""
    if os.environ.get(OUTPUT) and os.fstat(1).st_size > MOST:
        os.ftruncate(1, 0)
