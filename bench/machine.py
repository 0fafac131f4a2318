"""What every measurement tells: the machine, and medians with their spread."""

import os
import platform
import statistics
from collections.abc import Sequence
from pathlib import Path

import torch


def machine() -> dict[str, str | int | None]:
    """The processor, its cores, and the versions that speed depends on."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    processor = names[0] if names else platform.processor() or platform.machine()
    return {
        "processor": processor, "cores": os.cpu_count(), "python": platform.python_version(), "torch": torch.__version__
    }  # fmt: skip


def real_data(name: str) -> Path | None:
    """A file or folder of the data that WAVENAS_DATA names, where it is there."""
    root = os.environ.get("WAVENAS_DATA")
    return path if root and (path := Path(root).resolve() / name).exists() else None


def median_and_spread(seconds: Sequence[float], digits: int = 0) -> str:
    """Milliseconds: the median, and from the least to the most."""
    median, low, high = (1e3 * value for value in (statistics.median(seconds), min(seconds), max(seconds)))
    return f"{median:,.{digits}f} ({low:,.{digits}f} to {high:,.{digits}f})"
