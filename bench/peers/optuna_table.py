"""`python optuna_table.py TABLE SAMPLES SEEDS`: the rewards that Optuna's TPE finds in a table, each seed's, as JSON.

The table is pandas' JSON of orientation "split"; its last column is the reward.
"""

import json
import os
import sys
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import optuna


def search(path: str, samples: int, seed: int) -> list[float]:
    """The rewards in the order of the samples."""
    content = json.loads(Path(path).read_text())
    names, rows = content["columns"][:-1], {tuple(row[:-1]): row[-1] for row in content["data"]}
    values = {name: sorted({row[index] for row in rows}) for index, name in enumerate(names)}

    def objective(trial: optuna.Trial) -> float:
        return float(rows[tuple(trial.suggest_categorical(name, values[name]) for name in names)])

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(sampler=optuna.samplers.TPESampler(seed=seed), direction="maximize")
    study.optimize(objective, n_trials=samples)
    return [trial.value for trial in study.trials]


if __name__ == "__main__":
    with ProcessPoolExecutor(os.cpu_count(), mp_context=get_context("spawn")) as pool:
        rewards = list(pool.map(partial(search, sys.argv[1], int(sys.argv[2])), range(int(sys.argv[3]))))
    print(json.dumps({"version": optuna.__version__, "rewards": rewards}))
