"""What Dask runs in each worker process as it starts (its `preload` hook)."""

import signal
from typing import Any


def dask_setup(worker: Any) -> None:
    """Leave Ctrl-C to the driver: a terminal sends it to the workers too, and they would die with tracebacks."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
