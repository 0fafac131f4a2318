"""How long one waits: for the command line, and for the first child of a search; and what memory a search holds."""

import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import pandas as pd
import psutil

from bench.machine import machine, median_and_spread

COMMAND = (sys.executable, "-m", "pipeline")
SEARCH = (
    "run", "--experiment", "digits", "--set", "search.samples=8", "--set", "search.control=none", "--set",
    "cluster.workers=2",
)  # fmt: skip


def measure(repeats: int = 5) -> dict[str, Any]:
    """Seconds of `wavenas --help`, and from the start of a search to that of its first child; resident MiB."""
    helps = [_help_seconds() for _ in range(repeats + 1)][1:]  # the first reads the disk
    searches = [_search() for _ in range(repeats // 2 + 1)]
    return {"part": "start_up", **machine(), "help_seconds": helps, "searches": searches}


def table(measured: dict[str, Any]) -> str:
    """Markdown: times in ms, memory in MiB."""
    searches = measured["searches"]
    first = median_and_spread([search["first_child_seconds"] for search in searches])
    lines = ["| what | median (min to max) |", "|---|---|"]
    lines.append(f"| `wavenas --help`, ms | {median_and_spread(measured['help_seconds'])} |")
    lines.append(f"| start of a search to the start of its first child's training, ms | {first} |")
    for name, what in (("driver_mib", "the driver"), ("worker_mib", "the largest worker")):
        lines.append(f"| most memory of {what}, MiB | {max(search[name] for search in searches):,.0f} |")
    return "\n".join(lines)


def _help_seconds() -> float:
    started = time.perf_counter()
    subprocess.run([*COMMAND, "--help"], check=True, capture_output=True)
    return time.perf_counter() - started


def _search() -> dict[str, float]:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "run"
        started = time.time()
        driver = subprocess.Popen([*COMMAND, *SEARCH, "--run", str(folder)], stdout=subprocess.DEVNULL)
        of_driver = of_worker = 0.0
        while driver.poll() is None:
            own, workers = _resident(driver.pid)
            of_driver, of_worker = max(of_driver, own), max([of_worker, *workers])
            time.sleep(0.2)
        assert driver.returncode == 0, "the search failed"
        results = pd.read_parquet(folder / "results")
    first = (results.ended_at.astype("int64") / 1e6 - results.seconds).min()
    return {"first_child_seconds": float(first - started), "driver_mib": of_driver, "worker_mib": of_worker}


def _resident(pid: int) -> tuple[float, list[float]]:
    """MiB of a process, and of each that it started."""
    try:
        process = psutil.Process(pid)
        family = [process, *process.children(recursive=True)]
        own, *others = (member.memory_info().rss / 2**20 for member in family)
    except psutil.NoSuchProcess:  # one ended in between
        return 0.0, []
    return own, others
