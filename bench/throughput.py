"""Children an hour of whole searches, against the same children in a plain loop over processes, on the same cores."""

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

from bench.machine import machine, real_data
from pipeline.configuration import Configuration
from pipeline.datasets import prepare_data
from pipeline.driver import start_run
from pipeline.experiments import experiment_named
from pipeline.run_folder import open_run
from pipeline.search import trial_of
from tasks.records import Trial, TrialResult
from tasks.trial import run_trial

EXPERIMENTS = {"cifar10_small": "cifar10", "ptb_small": "ptb"}  # with their folders of data
CHILDREN = 4


def measure(
    workers: Sequence[int] = (1, 2), children: int = CHILDREN, experiments: dict[str, str] | None = None
) -> dict[str, Any]:
    """Seconds from the start of the first child to the end of the last, ours and the loop's."""
    cases: list[dict[str, Any]] = []
    for name, data in (experiments or EXPERIMENTS).items():
        folder = real_data(data) if data else None
        if data and folder is None:
            cases.append({"experiment": name, "absent": f"WAVENAS_DATA names no folder with {data}"})
            continue
        experiment = experiment_named(name)
        configuration = replace(
            experiment,
            search=replace(experiment.search, samples=children, children_per_replica=children, control=None),
            data=replace(experiment.data, folder=str(folder) if folder else None),
        )
        cases += [{"experiment": name, "workers": count} | _compare(configuration, count) for count in workers]
    return {"part": "throughput", **machine(), "children": children, "cases": cases}


def table(measured: dict[str, Any]) -> str:
    """Markdown: children an hour, and whether both ways ended with the same bits."""
    lines = [
        "| experiment | workers | ours, children/h | plain loop, children/h | ours is | results |",
        "|" + "---|" * 6,
    ]
    for case in measured["cases"]:
        if "absent" in case:
            lines.append(f"| {case['experiment']} | | absent: {case['absent']} | | | |")
            continue
        ours, loop = (3600 * measured["children"] / case[kind] for kind in ("ours_seconds", "loop_seconds"))
        same = "bit-equal" if case["equal"] else "DIFFERENT"
        lines.append(
            f"| {case['experiment']} | {case['workers']} | {ours:,.0f} | {loop:,.0f} | {ours / loop:.2f}× | {same} |"
        )
    return "\n".join(lines)


def _compare(configuration: Configuration, workers: int) -> dict[str, Any]:
    """A search of one wave, then its children again in a loop."""
    configuration = replace(configuration, cluster=replace(configuration.cluster, workers=workers))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "run"
        start_run(folder, configuration, Console(quiet=True))
        results = pd.read_parquet(folder / "results").sort_values("trial_id")
        epochs = pd.read_parquet(folder / "epochs").sort_values(["trial_id", "epoch"])
        samples = pd.read_parquet(folder / "samples").sort_values("trial_id")
        paths, run = open_run(folder)
        data_path = prepare_data(run.data, paths.prepared_data)
        trials = [trial_of(run, paths, data_path, row) for row in samples.to_dict("records")]
        trials = [replace(trial, checkpoint_path=f"{trial.checkpoint_path}.loop") for trial in trials]
        with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
            list(pool.map(time.sleep, [0.1] * workers))  # the processes are there
            ended = list(pool.map(_run, trials))
    ends = results.ended_at.astype("int64") / 1e6
    metrics = [epoch.validation_metric for _, result in ended if result.training for epoch in result.training.epochs]
    return {
        "ours_seconds": float(ends.max() - (ends - results.seconds).min()),
        "loop_seconds": max(end for end, _ in ended) - min(end - result.seconds for end, result in ended),
        "equal": [result.reward for _, result in ended] == results.reward.tolist()
        and metrics == epochs.validation_metric.tolist(),
    }


def _run(trial: Trial) -> tuple[float, TrialResult]:
    result = run_trial(trial)
    return time.time(), result
