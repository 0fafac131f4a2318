"""Hundreds of workers under one scheduler: how much of their time goes into children, in both modes (section 3.2).

The scheduler runs in the driver's process, as it does on Slurm; the workers share a few other processes.
"""

import gc
import os
import resource
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import dask
import pandas as pd
import torch
from distributed import LocalCluster
from rich.console import Console

from bench.machine import machine
from cluster.dask_configuration import dask_configuration
from cluster.settings import ClusterSettings
from pipeline import experiments
from pipeline.configuration import Configuration
from pipeline.driver import start_run
from tasks.settings import ChildSettings, SearchSettings

WORKERS_A_PROCESS = 100
RUNS = (  # workers, mode, children, mean seconds of a child
    (800, "async", 12_800, 30.0),  # section 4.1: 12,800 networks, 800 at a time
    (800, "waves", 1_600, 30.0),
    (1_600, "async", 4_800, 60.0),  # as many workers as 24 GiB bear
)


def measure() -> dict[str, Any]:
    """Searches with workers of a real scheduler in this process, whose children sleep for log-normal times."""
    return {
        "part": "scale",
        **machine(),
        "runs": [run_search(workers, samples, mode, seconds) for workers, mode, samples, seconds in RUNS],
    }


def table(measured: dict[str, Any]) -> str:
    """What was measured, for people."""
    columns = "mode | workers | children | a child, s | children/s | share | of all | staleness | driver, MiB"
    lines = [
        "Share of the workers' time spent on children: while there were children left to start, and of the whole run.",
        f"The driver's memory by tenths of the run.\n\n| {columns} |",
        "|" + "---|" * 9,
    ]
    for run in measured["runs"]:
        numbers = f"{run['workers']} | {run['samples']:,} | {run['mean_child_seconds']:.1f}"
        shares = f"{run['children_a_second']:.1f} | {run['share']:.1%} | {run['share_of_all']:.1%}"
        memory = " ".join(f"{mib:.0f}" for mib in run["driver_mib"])
        lines.append(f"| {run['mode']} | {numbers} | {shares} | {run['staleness']:.1f} | {memory} |")
    return "\n".join(lines)


def run_search(workers: int, samples: int, mode: str, seconds: float) -> dict[str, Any]:
    """One search with workers in this process. Shares are of the workers' time while children were left to start."""
    os.environ["WAVENAS_BENCH_SECONDS"] = str(seconds)
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as name, _Memory() as memory:
        folder = Path(name) / "run"
        started = time.monotonic()
        with _scheduler(workers) as settings:
            search = replace(sleeping_search(Path(name), workers, samples, mode), cluster=settings)
            start_run(folder, search, Console(quiet=True))
        wall = time.monotonic() - started
        results = pd.read_parquet(folder / "results")
        updates = pd.read_parquet(folder / "updates")
    assert sorted(results.trial_id) == list(range(samples)) and (results.status == "ok").all()
    end = results.ended_at.astype("int64").to_numpy() / 1e6
    start = end - results.seconds.to_numpy()
    first, last = start.min(), start.max()
    busy = (end.clip(first, last) - start.clip(first, last)).sum()
    return {
        "workers": workers,
        "samples": samples,
        "mode": mode,
        "mean_child_seconds": float(results.seconds.mean()),
        "wall_seconds": wall,
        "children_a_second": float(samples / (end.max() - first)),
        "share": float(busy / workers / (last - first)),
        "share_of_all": float(results.seconds.sum() / workers / (end.max() - first)),
        "staleness": float(updates.staleness.mean()),
        "driver_mib": [memory.samples[len(memory.samples) * tenth // 10] for tenth in range(10)],
    }


@contextmanager
def _scheduler(workers: int) -> Iterator[ClusterSettings]:
    """A scheduler in this process, set up as those of runs, that so many workers have connected to."""
    with (
        dask.config.set(dask_configuration(ClusterSettings())),
        LocalCluster(n_workers=0, host="127.0.0.1", dashboard_address=None, silence_logs=50) as cluster,
    ):
        address = cluster.scheduler_address
        first = range(0, workers, WORKERS_A_PROCESS)
        counts = [min(WORKERS_A_PROCESS, workers - number) for number in first]
        command = [sys.executable, "-m", "bench.worker_host", address]
        one_thread = {**os.environ, "OMP_NUM_THREADS": "1"}  # as Dask's nannies and Slurm's jobs are told
        hosts = [subprocess.Popen([*command, str(count)], env=one_thread) for count in counts]
        try:
            cluster.wait_for_workers(workers, timeout=600)
            yield ClusterSettings(kind="address", address=address)
        finally:
            for host in hosts:
                host.terminate()
                host.wait()


def sleeping_search(folder: Path, wave: int, samples: int, mode: str) -> Configuration:
    """A search of ten decisions whose children sleep, with a wave of so many children."""
    rows = folder / "rows.parquet"
    pd.DataFrame({"option": [0, 1], "score": [0.0, 1.0]}).to_parquet(rows)
    experiment = experiments.with_table(experiments.table(), rows, "option", "score", None)
    experiment = experiments.with_own_space(experiment, "bench.sleeping:ten_decisions")
    return replace(
        experiment,
        search=SearchSettings(
            mode=mode, samples=samples, replicas=wave // 8, depth=1, depth_increment=0  # type: ignore[arg-type]
        ),
        child=ChildSettings(task="bench.sleeping:sleep"),
    )  # fmt: skip


class _Memory:
    """Resident memory of this process in MiB, every few seconds."""

    def __init__(self) -> None:
        self.samples: list[float] = []
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> "_Memory":
        gc.collect()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._done.wait(1):
            pages = int(Path("/proc/self/statm").read_text().split()[1])
            self.samples.append(pages * resource.getpagesize() / 2**20)
