"""Children that do nothing: what the pipeline takes a child, against bare Dask and other libraries."""

import statistics
import tempfile
import time
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from distributed import Client
from rich.console import Console

from bench.machine import machine
from bench.peer_environment import run_peer
from bench.scale import sleeping_search
from bench.summary import Finding, absent, finding
from bench.wave_commit import commit_seconds
from cluster.open import open_cluster
from cluster.settings import ClusterSettings
from pipeline.driver import start_run
from tasks.settings import ChildSettings

CLUSTER = ClusterSettings(workers=2)  # bare Dask has one like it, opened the same way
WAVES = ((8, 400), (800, 1_600))  # children of a wave and of a run
MARKS = (80, 800, 3_200, 12_800)  # of a long run, in waves of 80, after the first, which is drawn before its children
BARE, FASTER_THAN_RAY, FLAT = 1.25, 100.0, 1.1  # the goals
PEERS = {  # with how many times as fast as it ours is to be
    "Optuna, SQLite": (("optuna", "optuna_nothing.py", "sqlite", 100), 1.0),
    "Optuna, journal": (("optuna", "optuna_nothing.py", "journal", 200), None),
    "Ray Tune": (("ray", "ray_nothing.py", "fresh", 16), FASTER_THAN_RAY),
    "Ray Tune, actors reused": (("ray", "ray_nothing.py", "reuse", 64), None),
}


def measure(
    waves: tuple[tuple[int, int], ...] = WAVES,
    marks: tuple[int, ...] = MARKS,
    long_wave: int = 80,
    repeats: int = 3,
    peers: bool = True,
) -> dict[str, Any]:
    """Seconds a child, on two workers: the whole pipeline and bare `Client.map` by turns; a long run; peers."""
    cases: dict[int, dict[str, list[float]]] = {wave: {"ours": [], "bare": []} for wave, _ in waves}
    with (
        open_cluster(CLUSTER) as cluster,
        tempfile.TemporaryDirectory() as name,
    ):
        folder = Path(name)
        _bare(cluster.client, 8, 80)  # not timed
        for repeat in range(repeats):
            for wave, children in waves:
                cases[wave]["bare"].append(_bare(cluster.client, wave, children))
                ends = _ours(folder / f"{wave}-{repeat}", wave, children)
                cases[wave]["ours"].append(float(ends[-1] - ends[wave - 1]) / (children - wave))
        ends = _ours(folder / "long", long_wave, marks[-1])
        largest = max(wave for wave, _ in waves)
        short, long = (commit_seconds(folder / run / "run", largest) for run in (f"{largest}-0", "long"))
        each = np.diff(ends[long_wave - 1 :: long_wave]) / long_wave  # seconds a child, wave by wave from the second on
    decades = [each[first // long_wave - 1 : last // long_wave - 1].tolist() for first, last in pairwise(marks)]
    measured: dict[str, Any] = {
        "part": "pipeline", **machine(), "cases": cases, "marks": marks, "long_wave": long_wave, "decades": decades,
        "commits": {"children": [dict(waves)[largest], marks[-1]], "wave": largest, "seconds": [short, long]},
    }  # fmt: skip
    if peers:
        with tempfile.TemporaryDirectory() as name:
            measured["peers"] = {peer: run_peer(*call, name) for peer, (call, _) in PEERS.items()}
    return measured | {"summary": summary(measured)}


def summary(measured: dict[str, Any]) -> list[Finding]:
    """Milliseconds a child, against bare Dask's and those of other libraries; and whether a long run slows down."""
    rows = []
    slowest, where = 0.0, 0
    for wave, case in measured["cases"].items():
        ours, bare = statistics.median(case["ours"]), statistics.median(case["bare"])
        rows.append(finding(f"bare `Client.map` in waves of {wave}, a child", _ms(case["bare"]), "ms"))
        rows.append(
            finding(f"ours in waves of {wave}, a child", _ms(case["ours"]), "ms", ratio=ours / bare,
                    peer="the time of bare `Client.map`", at_most=BARE)
        )  # fmt: skip
        slowest, where = max((slowest, where), (ours, wave))
    return [*rows, *_over_a_run(measured), *_peers(measured.get("peers", {}), slowest, where)]


def _over_a_run(measured: dict[str, Any]) -> list[Finding]:
    """A child's and a commit's time along a long run: the last children's against the first ones'."""
    rows = []
    marks, decades = measured["marks"], measured["decades"]
    for number, seconds in enumerate(decades):
        what = f"children {marks[number] + 1:,} to {marks[number + 1]:,} in waves of {measured['long_wave']}, each"
        last = number == len(decades) - 1
        ratio = statistics.median(seconds) / statistics.median(decades[0])
        versus: dict[str, Any] = {"ratio": ratio, "peer": "the time of the first ones", "at_most": FLAT}
        rows.append(finding(what, _ms(seconds), "ms", **(versus if last else {})))
    short, long = measured["commits"]["seconds"]
    few, many = measured["commits"]["children"]
    what = f"writing and committing a wave of {measured['commits']['wave']} after"
    ratio = statistics.median(long) / statistics.median(short)
    rows.append(finding(f"{what} {few:,} children", _ms(short), "ms"))
    rows.append(finding(f"{what} {many:,}", _ms(long), "ms", ratio=ratio, peer=f"the time after {few:,}", at_most=FLAT))
    return rows


def _peers(peers: dict[str, Any], slowest: float, wave: int) -> list[Finding]:
    rows = []
    for name, peer in peers.items():
        if "absent" in peer:
            rows.append(absent(name, peer["absent"]))
            continue
        each = peer["seconds"] / peer["trials"]
        told = f"our time in waves of {wave}"
        what = f"{name} {peer['version']}, a trial"
        rows.append(finding(what, _ms([each]), "ms", ratio=each / slowest, peer=told, at_least=PEERS[name][1]))
    return rows


def _bare(client: Client, wave: int, children: int) -> float:
    """Seconds a child of waves that are mapped and gathered, and of nothing else."""
    started = time.perf_counter()
    for first in range(0, children, wave):
        client.gather(client.map(abs, range(first, first + wave), pure=False))
    return (time.perf_counter() - started) / children


def _ours(folder: Path, wave: int, children: int) -> np.ndarray:
    """When the children of a search ended, in seconds, in this order."""
    folder.mkdir()
    search = sleeping_search(folder, wave, children, "waves")
    configuration = replace(
        search,
        child=ChildSettings(task="bench.sleeping:nothing"),
        cluster=CLUSTER,
    )
    start_run(folder / "run", configuration, Console(quiet=True))
    results = pd.read_parquet(folder / "run" / "results", columns=["ended_at"])
    return np.sort(results.ended_at.astype("int64").to_numpy() / 1e6)


def _ms(seconds: list[float]) -> list[float]:
    return [1e3 * value for value in seconds]
