"""Runs whose networks were drawn by chance and whose figures are made up: reports of any size in seconds."""

from contextlib import closing
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

import pandas as pd

from pipeline.checkpoints import SearchState, save_checkpoint
from pipeline.configuration import Configuration
from pipeline.run_folder import create_run
from pipeline.run_paths import RunPaths
from pipeline.tables import Tables, read_table
from tasks.records import PolicyState, SampleRequest
from tasks.settings import LANGUAGE_TASK
from tasks.waves import sample_wave

BEGUN = 1_767_322_800  # 2026-01-02, 03:00 in UTC
FAILURE = "Traceback (most recent call last):\n  …\nRuntimeError: a child that broke, said in <angle> brackets"


def made_up_run(
    folder: Path,
    configuration: Configuration,
    count: int,
    *,
    failing: int = 0,
    control: int = 0,
    depth: int = 4,
) -> RunPaths:
    """A finished search of `count` children of 10 seconds on 4 workers in waves of 8; each `failing`th one failed.

    After it `control` children of 20 seconds of a search by chance that has as many to train.
    """
    paths = create_run(folder, replace(configuration, search=replace(configuration.search, samples=count)))
    _fill(paths, configuration, count, failing, depth, seed=0)
    if control:
        search = replace(configuration.search, samples=count, policy="random", control=None)
        paths_of_control = create_run(paths.control.folder, replace(configuration, search=search))
        _fill(paths_of_control, configuration, control, 0, depth, seed=1)
    return paths


def _fill(paths: RunPaths, configuration: Configuration, count: int, failing: int, depth: int, seed: int) -> None:
    request = SampleRequest(
        PolicyState("random", 0), configuration.controller, configuration.space, depth, count, seed
    )  # fmt: skip
    chance = Random(seed)
    samples, results = [], []
    for trial, sample in enumerate(sample_wave(request)):
        samples.append(
            {
                "trial_id": trial, "wave": trial // 8, "replica": 0, "index": trial % 8, "depth": depth,
                "tokens": list(sample.tokens), "architecture": "{}", "architecture_hash": sample.architecture_hash,
                "log_prob": -9.0, "policy_version": trial // 8, "seed": trial,
            }
        )  # fmt: skip
        failed = bool(failing) and trial % failing == failing - 1
        status = "failed" if failed else "ok"
        row = result(trial, configuration, chance, status, (1 + trial / count) / 2)
        if seed:  # of a control, which begins when the search has ended
            row |= {"seconds": 20.0, "ended_at": (BEGUN + 10 * paths_count(paths) // 4 + 20 * (1 + trial // 4)) * 10**6}
        results.append(row)
    updates = [
        {
            "update": wave, "wave": wave, "replica": 0, "baseline": 0.1 + 0.3 * 8 * wave / count, "mean_reward": 0.3,
            "best_reward": 0.4, "entropy": 9.0, "gradient_norm": 1.0, "duplicates": 0.0, "num_ok": 8, "num_failed": 0,
            "policy_version": wave + 1, "staleness": 0, "seconds": 20.0,
        }
        for wave in range(-(-count // 8))
    ]  # fmt: skip
    save_checkpoint(paths, SearchState(len(updates), count, PolicyState("random", seed, version=len(updates))))
    with closing(Tables(paths)) as tables:
        tables.append({"samples": samples, "results": results, "updates": updates})


def paths_count(paths: RunPaths) -> int:
    """Children of the search that a control belongs to."""
    return read_table(RunPaths(paths.folder.parent), "results", ["trial_id"]).num_rows


def result(trial: int, configuration: Configuration, chance: Random, status: str, level: float) -> dict[str, Any]:
    """A row of `results` of a child that took 10 seconds on one of 4 workers."""
    metric = 0.7 * level + 0.2 * chance.random()
    if configuration.child.task == LANGUAGE_TASK:
        metric = 300 / (1 + metric)
    reward = configuration.search.reward_scale * metric**configuration.search.reward_power
    return {
        "trial_id": trial, "wave": trial // 8, "status": status, "reward": reward if status == "ok" else 0.0,
        "metric": metric if status == "ok" else None, "parameters": 4_200_000 + trial, "flops": 10**9,
        "seconds": 10.0, "epochs": 2, "worker": f"node1:{trial % 4}", "device": "NVIDIA H100", "precision": "float32",
        "micro_batch": 32, "attempts": 1, "reused_from": None, "error": None if status == "ok" else FAILURE,
        "ended_at": (BEGUN + 10 * (1 + trial // 4)) * 10**6,
    }  # fmt: skip


def stage_row(table: str, number: int, configuration: Configuration, **columns: Any) -> dict[str, Any]:
    """A row of a stage's table: a training that ended well."""
    outcome = result(number, configuration, Random(number), "ok", 1.0)
    del outcome["wave"], outcome["reused_from"]
    told = {"training": number, "fingerprint": f"{table}-{number}", "name": f"training {number}", "weights": None}
    return {**outcome, **told, **columns}


def add_stage(paths: RunPaths, table: str, rows: list[dict[str, Any]]) -> None:
    with closing(Tables(paths, table)) as tables:
        tables.append({table: rows})


def add_comparison(paths: RunPaths) -> None:
    """Figure 6, with two other policies at 12 points."""
    rows = [
        {
            "policy": "controller", "other": other, "top": top, "models": models, "seeds": 3,
            "policy_metric": 0.9, "other_metric": 0.8, "difference": gain, "low": gain - 0.02, "high": gain + 0.02,
        }
        for other in ("random", "evolution")
        for top in (1, 5, 15)
        for models in range(400, 5_200, 400)
        for gain in [models / 50_000 - top / 500]
    ]  # fmt: skip
    paths.comparison.mkdir(exist_ok=True)
    pd.DataFrame(rows).to_parquet(paths.comparison / "comparison.parquet")
