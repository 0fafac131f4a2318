"""What a budget finds: policies on a table of trained networks, against Optuna's TPE, over seeds (section 4.2).

It drives what a run submits, `sample_wave` and `reduce_wave`, in waves of 8, without the pipeline around them. The
controller learns at two rates: that of experiment `table`, which is the paper's for 12,800 samples, and one for as few
samples as these. TPE's time grows with the square of its samples, so it has fewer seeds at the largest budget.
"""

import math
import os
import statistics
import tempfile
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pandas as pd

from bench.machine import machine, no_data, real_data
from bench.peer_environment import run_peer
from bench.summary import Finding, absent, finding
from pipeline.table_data import column_values
from tasks.records import PolicyState, ReduceRequest, SampleRequest
from tasks.seeds import derive_seed
from tasks.settings import ControllerSettings, SpaceSettings
from tasks.waves import reduce_wave, sample_wave

TABLE = "nasbench-macro/table.parquet"
REWARD = "accuracy"
WAVE = 8
RATES = (0.005, ControllerSettings().learning_rate)
POLICIES = {f"controller, rate {rate:g}": ("controller", rate) for rate in RATES} | {
    policy: (policy, RATES[0]) for policy in ("random", "evolution")
}
BUDGETS = (100, 500, 2_000)
TPE = ((500, 20), (2_000, 4))  # samples and seeds
Found = dict[str, dict[str, list[dict[str, float]]]]  # by policy and budget, of each seed


def measure(
    budgets: Sequence[int] = BUDGETS,
    seeds: int = 20,
    tpe: Sequence[tuple[int, int]] = TPE,
    table_path: Path | None = None,
) -> dict[str, Any]:
    """The best accuracy of so many samples, the mean of the last hundred and of all, for each policy and seed."""
    measured: dict[str, Any] = {"part": "quality", **machine(), "budgets": list(budgets), "found": {}}
    path = table_path or real_data(TABLE)
    if path is None:
        return measured | {"summary": [absent("policies on a table of networks", no_data(TABLE))]}
    found: Found = measured["found"]
    with ProcessPoolExecutor(os.cpu_count(), mp_context=get_context("spawn")) as pool:
        for name, (policy, rate) in POLICIES.items():
            search = partial(rewards_of_search, path, policy, max(budgets), rate=rate)
            found[name] = _found(list(pool.map(search, range(seeds))), budgets)
    add_tpe(measured, path, tpe)
    return measured | {"summary": summary(measured)}


def table(measured: dict[str, Any]) -> str:
    """Markdown: means over seeds with the half-width of their 95% interval, in percent."""
    columns = "policy | samples | seeds | best, % | mean of the last 100, % | mean of all, %"
    lines = [f"| {columns} |", "|" + "---|" * 6]
    for policy, found in measured["found"].items():
        for budget, seeds in found.items():
            means = " | ".join(_mean([seed[which] for seed in seeds]) for which in ("best", "last", "all"))
            lines.append(f"| {policy} | {int(budget):,} | {len(seeds)} | {means} |")
    return "\n".join(lines) if measured["found"] else ""


def summary(measured: dict[str, Any]) -> list[Finding]:
    """At the largest budget: the best, and whether the controller has learned more than chance gives."""
    budget, found = str(max(measured["budgets"])), measured["found"]
    by_chance = statistics.fmean(seed["last"] for seed in found["random"][budget])
    rows = []
    for policy, of_policy in found.items():
        if budget in of_policy:
            best = [100 * seed["best"] for seed in of_policy[budget]]
            rows.append(finding(f"{policy}: best of {int(budget):,} samples", best, "%"))
    for policy in [policy for policy in found if policy.startswith("controller")]:
        ahead = [100 * (seed["last"] - by_chance) for seed in found[policy][budget]]
        what = f"{policy}: mean of the last 100 of {int(budget):,} samples, ahead of random search"
        rows.append(finding(what, ahead, "points", at_least=0.0))
    return rows + ([absent("Optuna's TPE", measured["peers_absent"])] if "peers_absent" in measured else [])


def add_tpe(measured: dict[str, Any], path: Path, runs: Sequence[tuple[int, int]]) -> None:
    """What Optuna's TPE finds in runs of so many samples and seeds, each budget by the first that reaches it."""
    for samples, seeds in runs:
        answer = _tpe(path, samples, seeds)
        if "absent" in answer:
            measured["peers_absent"] = answer["absent"]
            return
        known = measured["found"].setdefault(f"Optuna {answer['version']}, TPE", {})
        new = [budget for budget in measured["budgets"] if budget <= samples and str(budget) not in known]
        known |= _found(answer["rewards"], new)


def _tpe(path: Path, samples: int, seeds: int) -> dict[str, Any]:
    """What Optuna's TPE finds, a process a core."""
    with tempfile.TemporaryDirectory() as folder:
        given = Path(folder) / "table.json"
        _rows(path).to_json(given, orient="split", index=False)
        return run_peer("optuna", "optuna_table.py", given, samples, seeds)


def rewards_of_search(path: Path, policy: str, samples: int, seed: int, rate: float) -> list[float]:
    """The accuracies of a search in waves of 8, in the order of its samples: the functions that a run submits."""
    rows = _rows(path)
    columns = tuple(rows.columns[:-1])
    known = {tuple(row[:-1]): row[-1] for row in rows.itertuples(index=False)}
    space = SpaceSettings(
        function="models.table_space:table_space", options={"columns": column_values(path, columns, REWARD)}
    )
    controller = ControllerSettings(learning_rate=rate)
    state = PolicyState(policy=policy, seed=derive_seed(seed, "controller"))
    found: list[float] = []
    while len(found) < samples:
        wave, count = len(found) // WAVE, min(WAVE, samples - len(found))
        drawn = sample_wave(SampleRequest(state, controller, space, 1, count, derive_seed(seed, "wave", wave)))
        accuracies = [known[tuple(sample.architecture[name] for name in columns)] for sample in drawn]
        tokens, rewards = tuple(sample.tokens for sample in drawn), tuple(value**3 for value in accuracies)
        state = reduce_wave(ReduceRequest(state, controller, space, 1, tokens, rewards)).state
        found += accuracies
    return found


def _rows(path: Path) -> pd.DataFrame:
    """The columns to choose from, and the reward last."""
    rows = pd.read_parquet(path)
    return rows[[*(name for name in rows.columns if name.startswith("layer_")), REWARD]]


def _found(rewards: Sequence[Sequence[float]], budgets: Sequence[int]) -> dict[str, list[dict[str, float]]]:
    """At each budget, of each seed."""
    return {str(budget): [_means(seed[:budget]) for seed in rewards] for budget in budgets}


def _means(rewards: Sequence[float]) -> dict[str, float]:
    return {"best": max(rewards), "last": statistics.fmean(rewards[-100:]), "all": statistics.fmean(rewards)}


def _mean(values: Sequence[float]) -> str:
    spread = statistics.stdev(values) if len(values) > 1 else 0.0
    return f"{100 * statistics.fmean(values):.3f} ± {196 * spread / math.sqrt(len(values)):.3f}"
