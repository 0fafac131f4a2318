"""Children an hour of whole searches, against the same children in a plain loop over processes, on the same cores.

Of each, what comes after the first wave's children is timed: by then the processes have loaded what they need. The
loop waits for no wave and takes no step.
"""

import statistics
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pandas as pd
from rich.console import Console

from bench.machine import machine, no_data, real_data
from bench.summary import Finding, absent, finding, true_or_not
from pipeline.configuration import Configuration
from pipeline.datasets import prepare_data
from pipeline.driver import start_run
from pipeline.experiments import cifar10_small, digits, ptb_small
from pipeline.run_folder import open_run
from pipeline.search import trial_of
from tasks.records import Trial, TrialResult
from tasks.trial import run_trial

CHILDREN, FIRST = 12, 4  # three waves, the first of which is not timed
AS_MANY = 1.0  # children of ours for each of the plain loop's; the goal
EXPERIMENTS = {"cifar10_small": "cifar10", "ptb_small": "ptb"}  # with their folders of data


def measure(
    workers: Sequence[int] = (1, 2),
    children: int = CHILDREN,
    experiments: dict[str, str] | None = None,
    repeats: int = 2,
) -> dict[str, Any]:
    """Seconds from the end of the first wave's children to the end of the last, ours and the loop's by turns."""
    cases: list[dict[str, Any]] = []
    for name, data in (experiments or EXPERIMENTS).items():
        folder = real_data(data) if data else None
        if data and folder is None:
            cases.append({"experiment": name, "absent": no_data(data)})
            continue
        configuration = _shorter(name, children, folder)
        results: list[list[Any]] = []
        for count in workers:
            case: dict[str, Any] = {"experiment": name, "workers": count, "ours": [], "loop": []}
            for _ in range(repeats):
                _compare(configuration, count, case, results)
            cases.append(case)
        cases.append({"experiment": name, "equal": all(found == results[0] for found in results), "runs": len(results)})
    measured = {"part": "throughput", **machine(), "children": children, "cases": cases}
    return measured | {"summary": summary(measured)}


def summary(measured: dict[str, Any]) -> list[Finding]:
    """Children an hour, and whether all ways ended with the same bits."""
    rows = []
    for case in measured["cases"]:
        if "absent" in case:
            rows.append(absent(f"{case['experiment']}", case["absent"]))
        elif "equal" in case:
            told = f"{case['experiment']}: rewards and epochs of all {case['runs']} runs, bit for bit the same"
            rows.append(true_or_not(told, case["equal"]))
        else:
            timed = measured["children"] - FIRST
            rates = {kind: [3600 * timed / value for value in case[kind]] for kind in ("ours", "loop")}
            what = f"{case['experiment']}, shorter children, {case['workers']} workers".replace("1 workers", "1 worker")
            ratio = statistics.median(rates["ours"]) / statistics.median(rates["loop"])
            rows += [
                finding(f"{what}: plain loop", rates["loop"], "children/h"),
                finding(f"{what}: ours", rates["ours"], "children/h", ratio=ratio, peer="as many", at_least=AS_MANY),
            ]
    return rows


def _shorter(name: str, children: int, folder: Path | None) -> Configuration:
    """An experiment whose children take seconds, in waves as it has them: with their ends waited for, and steps."""
    experiment = {"cifar10_small": cifar10_small, "ptb_small": ptb_small, "digits": digits}[name]()
    search = replace(experiment.search, samples=children, control=None)
    data = replace(experiment.data, folder=str(folder) if folder else None)
    if name == "cifar10_small":
        data = replace(data, num_train=3_000, num_validation=500)
    elif name == "ptb_small":
        data = replace(data, num_train=20_000, num_validation=3_000)
    child = replace(experiment.child, epochs=2) if name == "cifar10_small" else experiment.child
    language = replace(experiment.language, epochs=1) if name == "ptb_small" else experiment.language
    return replace(experiment, search=search, data=data, child=child, language=language)


def _compare(configuration: Configuration, workers: int, case: dict[str, Any], results: list[list[Any]]) -> None:
    """A search, then its children again in a loop: adds seconds to the case, what they found to results."""
    configuration = replace(configuration, cluster=replace(configuration.cluster, workers=workers))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "run"
        start_run(folder, configuration, Console(quiet=True))
        rows = pd.read_parquet(folder / "results").sort_values("trial_id")
        epochs = pd.read_parquet(folder / "epochs").sort_values(["trial_id", "epoch"])
        samples = pd.read_parquet(folder / "samples").sort_values("trial_id")
        paths, run = open_run(folder)
        data_path = prepare_data(run.data, paths.prepared_data)
        trials = [trial_of(run, paths, data_path, row) for row in samples.to_dict("records")]
        trials = [replace(trial, checkpoint_path=f"{trial.checkpoint_path}.loop") for trial in trials]
        with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
            list(pool.map(time.sleep, [0.1] * workers))  # the processes are there
            ended = list(pool.map(_run, trials))
    ends = sorted(rows.ended_at.astype("int64") / 1e6)
    ends_of_loop = sorted(end for end, _ in ended)
    metrics = [epoch.validation_metric for _, result in ended if result.training for epoch in result.training.epochs]
    case["ours"].append(ends[-1] - ends[FIRST - 1])
    case["loop"].append(ends_of_loop[-1] - ends_of_loop[FIRST - 1])
    results.append([*rows.reward.tolist(), *epochs.validation_metric.tolist()])
    results.append([*(result.reward for _, result in ended), *metrics])


def _run(trial: Trial) -> tuple[float, TrialResult]:
    result = run_trial(trial)
    return time.time(), result
