"""Hundreds of workers under one scheduler: how much of their time goes into children, in both modes (section 3.2).

The scheduler runs in the driver's process, as it does on Slurm; the workers share a few other processes. Each search
has a process of its own, and its children sleep for log-normal times. Shares are of the workers' time while there were
children left to start.
"""

import json
import os
import resource
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import dask
import numpy as np
import pandas as pd
import torch
from distributed import LocalCluster
from rich.console import Console

from bench.machine import machine
from bench.summary import Finding, absent, finding
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
    (1_600, "async", 4_800, 60.0),  # as many workers as two cores and 24 GiB bear
)
SHARE, GROWTH = 95.0, 5.0  # percent; the goals of asynchronous searches, and of long ones
LONG = 10  # children a worker: what Dask keeps for each worker, up to a limit, has come to that limit by half of them


def measure(runs: Sequence[tuple[int, str, int, float]] = RUNS) -> dict[str, Any]:
    """Searches with workers of a real scheduler, each in a fresh process."""
    found = [in_a_process(workers, samples, mode, seconds) for workers, mode, samples, seconds in runs]
    return {"part": "scale", **machine(), "runs": found, "summary": summary(found)}


def in_a_process(workers: int, samples: int, mode: str, seconds: float) -> dict[str, Any]:
    """What `run_search` measures, or why it did not: a machine may not bear so many workers."""
    command = [sys.executable, "-m", "bench.scale", str(workers), str(samples), mode, str(seconds)]
    ended = subprocess.run(command, capture_output=True, text=True)
    if ended.returncode:
        told = ended.stderr.strip().splitlines() or [f"exit status {ended.returncode}"]
        return {"workers": workers, "samples": samples, "mode": mode, "absent": told[-1]}
    measured: dict[str, Any] = json.loads(ended.stdout.splitlines()[-1])
    return measured


def summary(runs: Sequence[dict[str, Any]]) -> list[Finding]:
    """The share of the workers' time spent on children, the driver's memory, and how long all of it took."""
    rows = []
    for run in runs:
        if "absent" in run:
            rows.append(absent(f"{run['mode']}, {run['workers']:,} workers", run["absent"]))
            continue
        seconds = f"{run['mean_child_seconds']:.1f} s"
        what = f"{run['mode']}, {run['workers']:,} workers, {run['samples']:,} children of {seconds}"
        goal = SHARE if run["mode"] == "async" else None
        flat = GROWTH if run["samples"] >= LONG * run["workers"] else None
        memory = run["driver_mib"]
        growth = 100 * (memory[-1] / memory[4] - 1)
        rows += [
            finding(f"{what}: share of the workers' time spent on children", [100 * run["share"]], "%", at_least=goal),
            finding(f"{what}: the same of the whole run", [100 * run["share_of_all"]], "%"),
            finding(f"{what}: children a second", [run["children_a_second"]]),
            finding(f"{what}: driver's memory, from a tenth of the children on", memory, "MiB"),
            finding(f"{what}: its growth over the second half of the children", [growth], "%", at_most=flat),
            finding(f"{what}: until all workers were connected", [run["connect_seconds"]], "s"),
            finding(f"{what}: all of it", [run["wall_seconds"] / 60], "minutes"),
        ]
        if run["mode"] == "async":
            rows.append(finding(f"{what}: staleness of a gradient, in steps", [run["staleness"]]))
    return rows


def run_search(workers: int, samples: int, mode: str, seconds: float) -> dict[str, Any]:
    """One search whose scheduler is in this process, with children of so many seconds in the mean."""
    os.environ["WAVENAS_BENCH_SECONDS"] = str(seconds)
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as name, _Memory() as memory:
        folder = Path(name) / "run"
        started = time.monotonic()
        with _scheduler(workers) as settings:
            connected = time.monotonic()
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
        "connect_seconds": connected - started,
        "wall_seconds": wall,
        "children_a_second": float(samples / (end.max() - first)),
        "share": float(busy / workers / (last - first)),
        "share_of_all": float(results.seconds.sum() / workers / (end.max() - first)),
        "staleness": float(updates.staleness.mean()),
        "driver_mib": memory.by_tenths(np.sort(end)),
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
            mode=mode,  # type: ignore[arg-type]
            samples=samples,
            replicas=max(1, wave // 8),
            children_per_replica=min(8, wave),
            depth=1,
            depth_increment=0,
        ),
        child=ChildSettings(task="bench.sleeping:sleep"),
    )


class _Memory:
    """Resident memory of this process in MiB, now and then."""

    def __init__(self, every: float = 0.2) -> None:
        self._samples: list[tuple[float, float]] = []
        self._every, self._done = every, threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> "_Memory":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._done.wait(self._every):
            pages = int(Path("/proc/self/statm").read_text().split()[1])
            self._samples.append((time.time(), pages * resource.getpagesize() / 2**20))

    def by_tenths(self, ends: np.ndarray) -> list[float]:
        """When a tenth of the children had ended, two tenths, and so on to all of them."""
        times = np.array([moment for moment, _ in self._samples])
        moments = [ends[len(ends) * tenth // 10 - 1] for tenth in range(1, 11)]
        return [self._samples[min(int(np.searchsorted(times, moment)), len(times) - 1)][1] for moment in moments]


if __name__ == "__main__":
    print(json.dumps(run_search(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], float(sys.argv[4]))))
