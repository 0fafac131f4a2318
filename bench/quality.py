"""What a budget finds: the policies on a table of trained networks, against Optuna's TPE, over seeds (section 4.3)."""

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

from bench.machine import machine, real_data
from bench.peer_environment import run_peer
from pipeline.table_data import column_values
from tasks.records import PolicyState, ReduceRequest, SampleRequest
from tasks.seeds import derive_seed
from tasks.settings import ControllerSettings, SpaceSettings
from tasks.waves import reduce_wave, sample_wave

REWARD = "accuracy"
WAVE = 8
RATE = 0.005  # of the controller: the paper's 0.0006 is for 12,800 samples
POLICIES = ("controller", "random", "evolution")


def measure(
    budgets: Sequence[int] = (100, 500, 2_000), seeds: int = 20, peers: bool = True, table_path: Path | None = None
) -> dict[str, Any]:
    """The best accuracy of so many samples, and the mean of the last hundred, for each policy and seed."""
    measured: dict[str, Any] = {"part": "quality", **machine(), "budgets": list(budgets)}
    path = table_path or real_data("nasbench-macro/table.parquet")
    if path is None:
        return measured | {"absent": "WAVENAS_DATA names no folder with nasbench-macro/table.parquet"}
    measured["found"] = {}
    with ProcessPoolExecutor(os.cpu_count(), mp_context=get_context("spawn")) as pool:
        for policy in POLICIES:
            search = partial(rewards_of_search, path, policy, max(budgets))
            measured["found"][policy] = [_found(rewards, budgets) for rewards in pool.map(search, range(seeds))]
    if peers:
        with tempfile.TemporaryDirectory() as folder:
            given = Path(folder) / "table.json"
            _rows(path).to_json(given, orient="split", index=False)
            answer = run_peer("optuna", "optuna_table.py", given, max(budgets), seeds)
        if "absent" in answer:
            measured["peers_absent"] = answer["absent"]
        else:
            name = f"Optuna {answer['version']}, TPE"
            measured["found"][name] = [_found(rewards, budgets) for rewards in answer["rewards"]]
    return measured


def table(measured: dict[str, Any]) -> str:
    """Markdown: means over seeds with the half-width of their 95% interval, in percent."""
    if "absent" in measured:
        return f"absent: {measured['absent']}"
    lines = ["| policy | samples | best, % | mean of the last 100, % |", "|---|---|---|---|"]
    for policy, found in measured["found"].items():
        for number, budget in enumerate(measured["budgets"]):
            best, last = ([seed[number][which] for seed in found] for which in ("best", "last"))
            lines.append(f"| {policy} | {budget:,} | {_mean(best)} | {_mean(last)} |")
    if "peers_absent" in measured:
        lines.append(f"| Optuna's TPE | | absent: {measured['peers_absent']} | |")
    return "\n".join(lines)


def rewards_of_search(path: Path, policy: str, samples: int, seed: int) -> list[float]:
    """The accuracies of a search in waves of 8, in the order of its samples: the functions that a run submits."""
    rows = _rows(path)
    columns = tuple(rows.columns[:-1])
    known = {tuple(row[:-1]): row[-1] for row in rows.itertuples(index=False)}
    space = SpaceSettings(
        function="models.table_space:table_space", options={"columns": column_values(path, columns, REWARD)}
    )
    controller = ControllerSettings(learning_rate=RATE)
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


def _found(rewards: Sequence[float], budgets: Sequence[int]) -> list[dict[str, float]]:
    """At each budget."""
    return [{"best": max(rewards[:budget]), "last": statistics.fmean(rewards[:budget][-100:])} for budget in budgets]


def _mean(values: Sequence[float]) -> str:
    spread = statistics.stdev(values) if len(values) > 1 else 0.0
    return f"{100 * statistics.fmean(values):.3f} ± {196 * spread / math.sqrt(len(values)):.3f}"
