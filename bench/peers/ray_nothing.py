"""`python ray_nothing.py REUSE TRIALS FOLDER`: seconds that trials which do nothing take Ray Tune, as JSON."""

import json
import sys
import time

import ray
from ray import tune


def nothing(configuration: dict[str, int]) -> None:
    """Report at once."""
    tune.report({"score": sum(configuration.values())})


def main(reuse: bool, trials: int, folder: str) -> None:
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    space = {f"option_{index}": tune.choice([0, 1, 2, 3]) for index in range(10)}

    def run(count: int) -> float:
        started = time.perf_counter()
        tune.Tuner(
            nothing,
            param_space=space,
            tune_config=tune.TuneConfig(num_samples=count, reuse_actors=reuse),
            run_config=tune.RunConfig(storage_path=folder, verbose=0),
        ).fit()
        return time.perf_counter() - started

    run(2)
    print(json.dumps({"version": ray.__version__, "seconds": run(trials), "trials": trials}))


if __name__ == "__main__":
    main(sys.argv[1] == "reuse", int(sys.argv[2]), sys.argv[3])
