"""Children an hour of whole searches, against the same children in a plain loop over processes, on the same cores.

Of each, what comes after the first four children is timed: by then the processes have loaded what they need. A search
in waves is held against a loop that waits for a wave before it begins the next, as whoever learns from rewards must; an
asynchronous one against a loop that never waits. The loops take no step. The goal is 1, less the spread of the loop's
own runs: by that much one loop differs from another.

How long one and the same child takes differs from minute to minute, and with it these figures. Two others do not: the
share of the workers' time that goes into children; and how fast a child is on a worker against a process of a plain
loop, one right after the other, whose goal is 1, less twice the standard error of the mean over those pairs.
"""

import math
import statistics
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any
from uuid import uuid4

import pandas as pd
from rich.console import Console

from bench.machine import machine, no_data, real_data
from bench.summary import Finding, absent, finding, true_or_not
from cluster.open import open_cluster
from cluster.settings import ClusterSettings
from pipeline.configuration import Configuration
from pipeline.datasets import prepare_data
from pipeline.driver import start_run
from pipeline.experiments import cifar10_small, digits, ptb_small
from pipeline.run_folder import open_run
from pipeline.search import trial_of
from tasks.records import Trial, TrialResult
from tasks.trial import run_trial

CHILDREN, FIRST = 12, 4  # the first are not timed; they are a wave of the experiments
EXPERIMENTS = {"cifar10_small": "cifar10", "ptb_small": "ptb"}  # with their folders of data
WAYS = (("waves", 1), ("waves", 2), ("async", 2))  # modes, with how many workers; with one, pairs are measured too
REPLICAS = 4  # of asynchronous searches, with two children each: enough for two workers never to wait
OURS = "ours"
LOOPS = {"waves": "plain loop that waits for each wave", "async": "plain loop that waits for none"}  # by mode


def measure(
    ways: Sequence[tuple[str, int]] = WAYS,
    children: int = CHILDREN,
    experiments: dict[str, str] | None = None,
    repeats: int = 2,
) -> dict[str, Any]:
    """Seconds from the end of the first children to the end of the last, ours and the loops' by turns."""
    cases: list[dict[str, Any]] = []
    for name, data in (experiments or EXPERIMENTS).items():
        folder = real_data(data) if data else None
        if data and folder is None:
            cases.append({"experiment": name, "absent": no_data(data)})
            continue
        in_waves: list[list[Any]] = []  # what children found, however many workers there were
        for mode, workers in ways:
            configuration = _shorter(name, mode, workers, children, folder)
            case: dict[str, Any] = {
                "experiment": name, "mode": mode, "workers": workers, "seconds": {}, "shares": {}, "pairs": [],
            }  # fmt: skip
            runs = [_compare(configuration, case) for _ in range(repeats)]
            equal = all(ours == loop for ours, loop in runs)  # an asynchronous search may draw others the next time
            if mode == "waves":
                in_waves += [ours for ours, _ in runs]
                equal = equal and all(found == in_waves[0] for found in in_waves)
            cases.append(case | {"equal": equal, "runs": 2 * max(len(runs), len(in_waves) * (mode == "waves"))})
    measured = {"part": "throughput", **machine(), "children": children, "cases": cases}
    return measured | {"summary": summary(measured)}


def summary(measured: dict[str, Any]) -> list[Finding]:
    """Children an hour, and whether all ways of a search ended with the same bits."""
    rows = []
    for case in measured["cases"]:
        if "absent" in case:
            rows.append(absent(case["experiment"], case["absent"]))
            continue
        timed = 3600 * (measured["children"] - FIRST)
        rates = {kind: [timed / seconds for seconds in values] for kind, values in case["seconds"].items()}
        shares = {kind: [100 * value for value in values] for kind, values in case["shares"].items()}
        ours, loop = rates[OURS], rates[peer := LOOPS[case["mode"]]]
        as_many = statistics.median(loop)
        mode = "in waves" if case["mode"] == "waves" else "asynchronous"
        what = f"{case['experiment']}, shorter children, {mode}, {case['workers']} worker{'s'[: case['workers'] - 1]}"
        rows += [
            finding(f"{what}: {peer}", loop, "children/h"),
            finding(f"{what}: {OURS}", ours, "children/h", ratio=statistics.median(ours) / as_many,
                    peer=f"as many as the {peer}", at_least=min(loop) / as_many),
            *(finding(f"{what}: {kind}: time spent on children", shares[kind], "%") for kind in (peer, OURS)),
            true_or_not(f"{what}: rewards and epochs of all {case['runs']} runs, bit for bit the same", case["equal"]),
        ]  # fmt: skip
        if case["pairs"]:
            rows.append(_paired(case))
    return rows


def _paired(case: dict[str, Any]) -> Finding:
    """How fast children are on a worker, against a process of a plain loop: the geometric mean over pairs."""
    faster = [math.log(plain / ours) for ours, plain in case["pairs"]]
    error = statistics.stdev(faster) / math.sqrt(len(faster))
    return finding(
        f"{case['experiment']}: a child on a worker", [ours for ours, _ in case["pairs"]], "s",
        ratio=math.exp(statistics.fmean(faster)), peer="as fast as right before or after it in a plain process",
        at_least=math.exp(-2 * error),
    )  # fmt: skip


def _shorter(name: str, mode: str, workers: int, children: int, folder: Path | None) -> Configuration:
    """An experiment whose children take seconds, in waves as it has them, or with replicas."""
    experiment = {"cifar10_small": cifar10_small, "ptb_small": ptb_small, "digits": digits}[name]()
    search = replace(experiment.search, samples=children, control=None)
    if mode == "async":
        search = replace(search, mode="async", replicas=REPLICAS, children_per_replica=2)
    data = replace(experiment.data, folder=str(folder) if folder else None)
    if name == "cifar10_small":
        data = replace(data, num_train=3_000, num_validation=500)
    elif name == "ptb_small":
        data = replace(data, num_train=20_000, num_validation=3_000)
    child = replace(experiment.child, epochs=2) if name == "cifar10_small" else experiment.child
    language = replace(experiment.language, epochs=1) if name == "ptb_small" else experiment.language
    cluster = replace(experiment.cluster, workers=workers)
    return replace(experiment, search=search, data=data, child=child, language=language, cluster=cluster)


def _compare(configuration: Configuration, case: dict[str, Any]) -> tuple[list[Any], list[Any]]:
    """What a search found, and what its children found again in a loop; adds their seconds to the case."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "run"
        start_run(folder, configuration, Console(quiet=True))
        rows = pd.read_parquet(folder / "results").sort_values("trial_id")
        epochs = pd.read_parquet(folder / "epochs").sort_values(["trial_id", "epoch"])
        samples = pd.read_parquet(folder / "samples").sort_values("trial_id").to_dict("records")
        paths, run = open_run(folder)
        data_path = prepare_data(run.data, paths.prepared_data)
        trials = [trial_of(run, paths, data_path, row) for row in samples]
        spans = [
            (end - seconds, end) for end, seconds in zip(rows.ended_at.astype("int64") / 1e6, rows.seconds, strict=True)
        ]
        _time(case, OURS, spans)
        found_by_search = [*rows.reward.tolist(), *epochs.validation_metric.tolist()]
        wave = configuration.wave_size if case["mode"] == "waves" else len(trials)
        ended = _loop([trials[first : first + wave] for first in range(0, len(trials), wave)], case["workers"])
        metrics = [epoch.validation_metric for _, found in ended if found.training for epoch in found.training.epochs]
        _time(case, LOOPS[case["mode"]], [(end - found.seconds, end) for end, found in ended])
        if case["workers"] == 1 and not case["pairs"]:
            case["pairs"] += _pairs(trials)
    return found_by_search, [*(found.reward for _, found in ended), *metrics]


def _loop(waves: list[list[Trial]], workers: int) -> list[tuple[float, TrialResult]]:
    """When the children ended in a pool of processes, and with what. None begins before the last wave has ended."""
    ended = []
    with _processes(workers) as pool:
        list(pool.map(time.sleep, [0.1] * workers))  # the processes are there
        for wave in waves:
            ended += list(pool.map(_run, map(_afresh, wave)))
    return ended


def _pairs(trials: list[Trial]) -> list[tuple[float, float]]:
    """Seconds of each child on a worker and in a process of a pool: one waits for the other, and they begin by turns.

    The first ones are not timed: they load what the processes need.
    """
    with open_cluster(ClusterSettings(workers=1)) as cluster, _processes(1) as pool:

        def on_worker(trial: Trial) -> float:
            return cluster.client.submit(run_trial, _afresh(trial), pure=False).result().seconds  # type: ignore[no-any-return]

        def plainly(trial: Trial) -> float:
            return pool.submit(run_trial, _afresh(trial)).result().seconds

        pairs = []
        for place, trial in enumerate(trials):
            if place % 2:
                plain, ours = plainly(trial), on_worker(trial)
            else:
                ours, plain = on_worker(trial), plainly(trial)
            pairs.append((ours, plain))
    return pairs[FIRST:]


def _processes(workers: int) -> ProcessPoolExecutor:
    return ProcessPoolExecutor(workers, mp_context=get_context("spawn"))


def _afresh(trial: Trial) -> Trial:
    """A trial that finds no checkpoint of its own."""
    return replace(trial, checkpoint_path=f"{trial.checkpoint_path}.{uuid4()}")


def _time(case: dict[str, Any], kind: str, spans: Sequence[tuple[float, float]]) -> None:
    """Add to a case the seconds from the end of the first children to that of the last, and the share in children.

    `spans` are when each child began and ended, in seconds.
    """
    ends = sorted(end for _, end in spans)
    begin, seconds = ends[FIRST - 1], ends[-1] - ends[FIRST - 1]
    busy = sum(max(0.0, end - max(start, begin)) for start, end in spans)
    case["seconds"].setdefault(kind, []).append(seconds)
    case["shares"].setdefault(kind, []).append(busy / (seconds * case["workers"]))


def _run(trial: Trial) -> tuple[float, TrialResult]:
    result = run_trial(trial)
    return time.time(), result
