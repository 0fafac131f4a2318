"""Hundreds of workers under one scheduler: how much of their time goes into children, in both modes (section 3.2)."""

import gc
import os
import resource
import tempfile
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from rich.console import Console

from cluster.settings import ClusterSettings
from pipeline.configuration import Configuration
from pipeline.driver import start_run
from pipeline.experiments import table, with_own_space, with_table
from tasks.settings import ChildSettings, SearchSettings


def measure(workers: int, samples: int, mode: str, seconds: float) -> dict[str, Any]:
    """One search with workers in this process. Shares are of the workers' time while children were left to start."""
    os.environ["WAVENAS_BENCH_SECONDS"] = str(seconds)
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as name, _Memory() as memory:
        folder = Path(name) / "run"
        started = time.monotonic()
        start_run(folder, _configuration(Path(name), workers, samples, mode), Console(quiet=True))
        wall = time.monotonic() - started
        results = pd.read_parquet(folder / "results")
        updates = pd.read_parquet(folder / "updates")
    assert sorted(results.trial_id) == list(range(samples)) and (results.status == "ok").all()
    end = results.ended_at.astype("int64").to_numpy() / 1e6
    start = end - results.seconds.to_numpy()
    first, last = start.min(), start.max()
    busy = (end.clip(first, last) - start.clip(first, last)).sum()
    return {
        "workers": workers, "samples": samples, "mode": mode, "mean_child_seconds": results.seconds.mean(),
        "wall_seconds": wall, "children_a_second": samples / (end.max() - first),
        "share": busy / workers / (last - first), "share_of_all": results.seconds.sum() / workers / (end.max() - first),
        "staleness": updates.staleness.mean(), "driver_mib": memory.samples,
    }  # fmt: skip


def _configuration(folder: Path, workers: int, samples: int, mode: str) -> Configuration:
    rows = folder / "rows.parquet"
    pd.DataFrame({"option": [0, 1], "score": [0.0, 1.0]}).to_parquet(rows)
    experiment = with_own_space(with_table(table(), rows, "option", "score", None), "bench.sleeping:ten_decisions")
    return replace(
        experiment,
        search=SearchSettings(
            mode=mode, samples=samples, replicas=workers // 8, depth=1, depth_increment=0  # type: ignore[arg-type]
        ),
        child=ChildSettings(task="bench.sleeping:sleep"),
        cluster=ClusterSettings(processes=False, workers=workers),
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
        while not self._done.wait(5):
            pages = int(Path("/proc/self/statm").read_text().split()[1])
            self.samples.append(pages * resource.getpagesize() / 2**20)


if __name__ == "__main__":
    import sys

    print(measure(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], float(sys.argv[4])))
