"""A long run with faults throughout: each child is there once, and the driver needs no more at its end than before.

WAVENAS_SOAK sets the number of children: the paper's 12,800 unless told otherwise.
"""

import json
import os
import random
import signal
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import psutil
import pytest
from conftest import children_ended, write_table
from drivers import drive, exit_code, start_driver
from outside import worker_processes

from cluster.cluster import CONNECTIONS

NUM_CHILDREN = int(os.environ.get("WAVENAS_SOAK", "12800"))
DRIVER_KILLS = (0.04, 0.08, 0.12, 0.96)  # shares of the children
WORKER_KILLS = 30  # at most
FILES_GROWTH = 2 * CONNECTIONS + 8  # Dask keeps what connections were ever needed at once; both ends are the driver's
RSS_GROWTH = 64 * 2**20  # bytes from a tenth of the children on; that of 12,800 futures kept would be twice that


@dataclass(frozen=True)
class Needs:
    """What a driver has used when so many children had ended."""

    children: int
    rss: int  # bytes
    files: int
    threads: int
    cpu: float  # seconds


@pytest.mark.faults
@pytest.mark.timeout(1800)
def test_a_long_run_with_faults_has_each_child_once_and_needs_no_more_at_its_end(tmp_path: Path) -> None:
    folder, table = tmp_path / "run", write_table(tmp_path)
    columns = ["--columns", "width,kind,skip", "--reward", "accuracy", "--samples", str(NUM_CHILDREN)]
    settings = [
        "child.task=fault_tasks:fail_by_chance",
        "cluster.processes=true",
        "cluster.workers=2",
        "search.replicas=8",
        "child.timeout_minutes=0.3",
        "child.grace_minutes=0.3",
    ]
    sets = [part for setting in settings for part in ("--set", setting)]
    command = ["run", "--experiment", "table", "--table", table, *columns, *sets, "--run", folder]
    segments = []
    for share in DRIVER_KILLS:
        segments.append(run_until(int(share * NUM_CHILDREN), command, folder))
        command = ["resume", folder]
    output = tmp_path / "output.txt"
    assert drive(command, output) == 0, output.read_text()
    assert_each_child_once_and_as_its_seed_says(folder, table)
    assert_waves_take_no_longer(folder)
    assert_flat(segments[-1])


def run_until(target: int, command: list[str | Path], folder: Path) -> list[Needs]:
    """Run a driver until so many children have ended, killing workers now and then, and kill it; what it needed."""
    driver = start_driver(command, folder.with_name("output.txt"))
    process, chance, needs = psutil.Process(driver.pid), random.Random(target), []
    next_kill = children_ended(folder) + NUM_CHILDREN // WORKER_KILLS
    while (children := children_ended(folder)) < target:
        assert driver.exitcode is None, folder.with_name("output.txt").read_text()
        if children >= next_kill:  # others ended since the last, so that no child meets one kill after the other
            next_kill = children + NUM_CHILDREN // WORKER_KILLS
            found = worker_processes(driver.pid)
            fate = chance.random()
            for worker in found if fate < 0.1 else found[:1]:
                if fate < 0.7:
                    with suppress(psutil.NoSuchProcess):
                        worker.kill()
                else:
                    stop_for_a_while(worker)
        needs.append(needs_of(process, children))
        time.sleep(0.5)
    driver.kill()
    assert exit_code(driver) == -signal.SIGKILL
    return needs


def stop_for_a_while(worker: psutil.Process) -> None:
    with suppress(psutil.NoSuchProcess):
        worker.suspend()
        time.sleep(2)
        worker.resume()


def needs_of(process: psutil.Process, children: int) -> Needs:
    with process.oneshot():
        cpu = process.cpu_times()
        return Needs(
            children, process.memory_info().rss, process.num_fds(), process.num_threads(), cpu.user + cpu.system
        )


def assert_each_child_once_and_as_its_seed_says(folder: Path, table: Path) -> None:
    samples, results, updates = (pd.read_parquet(folder / name) for name in ("samples", "results", "updates"))
    everyone = list(range(NUM_CHILDREN))
    assert sorted(samples.trial_id) == sorted(results.trial_id) == everyone
    assert sorted(updates.wave) == list(range(-(-NUM_CHILDREN // 64)))
    assert (updates.sort_values("wave").policy_version.diff().dropna() == 1).all()
    merged = results.merge(samples, on="trial_id", suffixes=("", "_drawn"))
    missing = '{"width": 1, "kind": "a", "skip": false}'  # of the table's rows
    known = pd.read_parquet(table).groupby(["width", "kind", "skip"]).accuracy.mean()
    for row in merged.itertuples():
        if row.status == "ok":
            assert row.metric == pytest.approx(known[tuple(json.loads(row.architecture).values())], abs=1e-12)
        assert row.status == fate_of(row.seed, row.architecture == missing), f"trial {row.trial_id}: {row.error}"


def fate_of(seed: int, missing: bool) -> str:
    """What comes of a child by `fault_tasks.fail_by_chance`."""
    chance = random.Random(seed)
    chance.uniform(0, 0.01)
    fate = chance.random()
    if fate < 0.02:
        return "failed"
    if fate < 0.04:
        return "diverged"
    if fate < 0.04025:
        return "timed_out"
    return "invalid" if missing else "ok"


def assert_waves_take_no_longer(folder: Path) -> None:
    """In the last quarter than in the first, by the clock."""
    seconds = pd.read_parquet(folder / "updates").sort_values("wave").seconds
    quarter = len(seconds) // 4
    first, last = float(seconds[:quarter].median()), float(seconds[-quarter:].median())
    print(f"waves: {first:.2f} s in the first quarter, {last:.2f} in the last")
    factor = 2 if len(seconds) >= 100 else 5  # kills outweigh a few
    assert last < factor * first, "waves take longer as the run grows"


def assert_flat(needs: list[Needs]) -> None:
    """Compare the first and the last quarter of a driver's life, its first tenth aside."""
    needs = needs[len(needs) // 10 :]
    first, last = needs[: len(needs) // 4], needs[-(len(needs) // 4) :]
    children, rss = (np.array([getattr(need, name) for need in needs], float) for name in ("children", "rss"))
    growth = np.polyfit(children, rss, 1)[0] * (children[-1] - children[0])
    figures = {name: (median(first, name), median(last, name)) for name in ("files", "threads")}
    seconds = seconds_a_child(needs)
    print(f"driver: {growth / 2**20:.1f} of {rss[-1] / 2**20:.0f} MiB grown, {figures}, {seconds} CPU seconds a child")
    assert growth < RSS_GROWTH, "memory leaks"
    assert figures["files"][1] <= figures["files"][0] + FILES_GROWTH, "files leak"
    assert figures["threads"][1] <= figures["threads"][0] + 8, "threads leak"
    assert seconds[1] < 2 * seconds[0], "the cost of a child grows with the run"


def median(needs: list[Needs], name: str) -> float:
    return float(np.median([getattr(need, name) for need in needs]))


def seconds_a_child(needs: list[Needs]) -> tuple[float, float]:
    """The driver's CPU time for a child in the first and in the last quarter: medians over stretches of its life, so
    that those in which it waits for workers do not count."""
    stretches, begin = [], needs[0]
    for need in needs:
        if need.children - begin.children >= NUM_CHILDREN // 100:
            stretches.append((need.cpu - begin.cpu) / (need.children - begin.children))
            begin = need
    quarter = len(stretches) // 4
    return float(np.median(stretches[:quarter])), float(np.median(stretches[-quarter:]))
