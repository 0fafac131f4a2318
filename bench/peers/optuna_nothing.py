"""`python optuna_nothing.py STORAGE TRIALS FOLDER`: seconds that trials which do nothing take Optuna, as JSON."""

import json
import sys
import time
from pathlib import Path

import optuna
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend


def objective(trial: optuna.Trial) -> float:
    """Ten choices of four, and no work."""
    return float(sum(trial.suggest_categorical(f"option_{index}", [0, 1, 2, 3]) for index in range(10)))


def main(storage: str, trials: int, folder: Path) -> None:
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    journal = JournalStorage(JournalFileBackend(str(folder / "optuna.log")))
    where = journal if storage == "journal" else f"sqlite:///{folder}/optuna.db"
    study = optuna.create_study(storage=where, sampler=optuna.samplers.RandomSampler(seed=0), direction="maximize")
    study.optimize(objective, n_trials=5)
    started = time.perf_counter()
    study.optimize(objective, n_trials=trials)
    print(json.dumps({"version": optuna.__version__, "seconds": time.perf_counter() - started, "trials": trials}))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), Path(sys.argv[3]))
