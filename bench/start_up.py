"""How long one waits: for the command line, and for the first child of `make run`; and what memory a search holds."""

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import pandas as pd
import psutil

from bench.machine import machine
from bench.summary import Finding, finding

HELP = (sys.executable, "-m", "pipeline", "--help")
MAKE = ("make", "--no-print-directory", f"VENV={sys.prefix}")
SETTINGS = ("search.samples=4", "search.children_per_replica=4", "search.control=none", "cluster.workers=2")
HELP_SECONDS, FIRST_CHILD_SECONDS = 0.5, 8.0  # the goals


def measure(repeats: int = 5) -> dict[str, Any]:
    """Seconds of `wavenas --help`, and from typing `make run` to the start of its first child; resident MiB.

    Where this environment is not one that make has installed, the search is begun without make.
    """
    with_make = _installed_by_make()
    helps = [_help_seconds() for _ in range(repeats + 1)][1:]  # the first reads the disk
    searches = [_search(with_make) for _ in range(repeats)]
    return {
        "part": "start_up", **machine(), "make": with_make, "help_seconds": helps, "searches": searches,
        "summary": summary(helps, searches, with_make),
    }  # fmt: skip


def summary(helps: list[float], searches: list[dict[str, float]], with_make: bool) -> list[Finding]:
    """Times against their goals, and memory."""
    first = [search["first_child_seconds"] for search in searches]
    command = "`make run`" if with_make else "`wavenas run`, without make,"
    return [
        finding("`wavenas --help`", helps, "s", at_most=HELP_SECONDS),
        finding(f"{command} to the start of its first child's training", first, "s", at_most=FIRST_CHILD_SECONDS),
        finding("most memory of the driver", [search["driver_mib"] for search in searches], "MiB"),
        finding("most memory of the largest worker", [search["worker_mib"] for search in searches], "MiB"),
    ]


def _installed_by_make() -> bool:
    """Whether `make run` would begin at once: an environment that it made is there, and newer than its list."""
    if not (Path(sys.prefix) / ".ready").exists():
        return False
    try:
        return subprocess.run([*MAKE, "--question", "setup"], capture_output=True).returncode == 0
    except OSError:
        return False


def _help_seconds() -> float:
    started = time.perf_counter()
    subprocess.run(HELP, check=True, capture_output=True)
    return time.perf_counter() - started


def _command(folder: Path, with_make: bool) -> list[str]:
    """A search of four children of `digits`, as one types it."""
    arguments = ["--run", str(folder), *(word for setting in SETTINGS for word in ("--set", setting))]
    if with_make:
        return [*MAKE, "run", "EXPERIMENT=digits", "RUN=", "DATA=", f"ARGS={' '.join(arguments)}"]
    return [sys.executable, "-m", "pipeline", "run", "--experiment", "digits", *arguments]


def _search(with_make: bool) -> dict[str, float]:
    """Begin a search, and watch its processes until it ends."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}  # of a make above
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "run"
        started = time.time()
        command = subprocess.Popen(_command(folder, with_make), stdout=subprocess.DEVNULL, env=environment)
        of_driver = of_worker = 0.0
        while command.poll() is None:
            sizes = _resident(command.pid)
            of_driver, of_worker = max(of_driver, *sizes[:1], 0.0), max(of_worker, *sizes[1:], 0.0)
            time.sleep(0.2)
        assert command.returncode == 0, "the search failed"
        results = pd.read_parquet(folder / "results")
    first = (results.ended_at.astype("int64") / 1e6 - results.seconds).min()
    return {"first_child_seconds": float(first - started), "driver_mib": of_driver, "worker_mib": of_worker}


def _resident(pid: int) -> list[float]:
    """MiB of the driver, and then of each process that it started; make and its shell are not counted."""
    try:
        process = psutil.Process(pid)
        family = [process, *process.children(recursive=True)]
        return [member.memory_info().rss / 2**20 for member in family if member.name() not in ("make", "sh", "dash")]
    except psutil.NoSuchProcess:  # one ended in between
        return []
