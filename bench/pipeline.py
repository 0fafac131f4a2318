"""Children that do nothing: what the pipeline takes a child, against bare Dask and other libraries."""

import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
from distributed import Client, LocalCluster
from rich.console import Console

from bench.machine import machine
from bench.peer_environment import run_peer
from bench.scale import sleeping_search
from cluster.settings import ClusterSettings
from pipeline.driver import start_run
from tasks.settings import ChildSettings

WORKERS = 2
PEERS = {
    "Optuna, SQLite": ("optuna", "optuna_nothing.py", "sqlite", 200),
    "Optuna, journal": ("optuna", "optuna_nothing.py", "journal", 200),
    "Ray Tune": ("ray", "ray_nothing.py", "fresh", 16),
    "Ray Tune, actors reused": ("ray", "ray_nothing.py", "reuse", 64),
}


def measure(waves: tuple[int, ...] = (8, 800), children: int = 1_600, peers: bool = True) -> dict[str, Any]:
    """Seconds a child, on two worker processes: the whole pipeline and bare `Client.map` by turns, then the peers."""
    cases = []
    with LocalCluster(n_workers=WORKERS, threads_per_worker=1, dashboard_address=None, silence_logs=50) as cluster:
        address = cluster.scheduler_address
        with Client(cluster) as client:
            _bare(client, 8, 80)
            for wave in waves:
                count = max(children, 3 * wave)
                before = _bare(client, wave, count)
                ours = _ours(address, wave, count)
                cases.append({"wave": wave, "ours": ours, "bare": [before, _bare(client, wave, count)]})
    measured: dict[str, Any] = {"part": "pipeline", **machine(), "cases": cases}
    if peers:
        with tempfile.TemporaryDirectory() as folder:
            measured["peers"] = {name: run_peer(*peer, folder) for name, peer in PEERS.items()}
    return measured


def table(measured: dict[str, Any]) -> str:
    """Markdown: milliseconds a child."""
    lines = ["| what | ms a child | our pipeline takes |", "|---|---|---|"]
    slowest = 0.0
    for case in measured["cases"]:
        ours, bare = case["ours"]["seconds_a_child"], sum(case["bare"]) / len(case["bare"])
        slowest = max(slowest, ours)
        quarters = " to ".join(f"{1e3 * case['ours'][name]:.2f}" for name in ("first_quarter", "last_quarter"))
        told = f"{1e3 * ours:.2f} (first to last quarter: {quarters})"
        lines.append(f"| our pipeline, waves of {case['wave']} | {told} | |")
        lines.append(f"| bare `Client.map`, waves of {case['wave']} | {1e3 * bare:.2f} | {ours / bare:.2f}× the time |")
    for name, peer in measured.get("peers", {}).items():
        if "absent" in peer:
            lines.append(f"| {name} | absent: {peer['absent']} | |")
        else:
            each = peer["seconds"] / peer["trials"]
            lines.append(f"| {name} {peer['version']} | {1e3 * each:.2f} | {slowest / each:.3f}× the time at most |")
    return "\n".join(lines)


def _bare(client: Client, wave: int, children: int) -> float:
    """Seconds a child of waves that are mapped and gathered, and of nothing else."""
    started = time.perf_counter()
    for first in range(0, children, wave):
        client.gather(client.map(abs, range(first, first + wave), pure=False))
    return (time.perf_counter() - started) / children


def _ours(address: str, wave: int, children: int) -> dict[str, float]:
    """Seconds a child, from the end of the first wave to the end of the last."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        search = sleeping_search(folder, wave, children, "waves")
        configuration = replace(
            search,
            child=ChildSettings(task="bench.sleeping:nothing"),
            cluster=ClusterSettings(kind="address", address=address),
        )
        start_run(folder / "run", configuration, Console(quiet=True))
        results = pd.read_parquet(folder / "run" / "results")
    ends = results.groupby("wave").ended_at.max().astype("int64").to_numpy() / 1e6
    gaps = (ends[1:] - ends[:-1]) / wave
    quarter = max(1, len(gaps) // 4)
    return {
        "seconds_a_child": float(gaps.mean()),
        "first_quarter": float(gaps[:quarter].mean()),
        "last_quarter": float(gaps[-quarter:].mean()),
    }
