"""Train one child, whatever happens: the function that the driver maps onto the workers."""

import math
import os
import socket
import time
import traceback

from models.space import SearchSpace, load_function
from tasks.device import is_out_of_memory, prepare_process
from tasks.records import Status, Training, Trial, TrialResult


def run_trial(trial: Trial) -> TrialResult:
    """Decode the tokens, train the architecture, reward it. Never raises an Exception: a failure is a result."""
    started = time.monotonic()
    training: Training | None = None
    error: str | None = None
    status: Status
    earned = 0.0
    try:
        prepare_process(trial.child.threads)
        architecture = SearchSpace(trial.space.function, trial.space.options).decode(trial.depth, trial.tokens)
        training = _as_training(load_function(trial.child.task)(architecture, trial))
        status = training.status
        if status == "ok":
            earned = reward(training.metric, trial.reward_power, trial.reward_scale)
            if not math.isfinite(earned):
                status, earned = "diverged", 0.0
    except Exception as caught:  # noqa: BLE001  (whatever it was, it is this child's result)
        status = "out_of_memory" if is_out_of_memory(caught) else "failed"
        error = traceback.format_exc()
    return TrialResult(
        trial_id=trial.trial_id,
        status=status,
        reward=earned,
        training=training,
        seconds=time.monotonic() - started,
        worker=f"{socket.gethostname()}:{os.getpid()}",
        error=error,
    )


def _as_training(outcome: Training | float) -> Training:
    """A task function may return its metric alone."""
    return outcome if isinstance(outcome, Training) else Training("ok", float(outcome))


def reward(metric: float, power: float, scale: float = 1.0) -> float:
    """scale · metric^power: the accuracy cubed (section 4.1), or c over the perplexity squared (section 4.2).

    Raises ValueError where the metric has no such power.
    """
    if (metric < 0 and power != int(power)) or (metric == 0 and power < 0):
        raise ValueError(f"a metric of {metric} cannot be raised to the power of {power}: search.reward_power")
    return float(scale * metric**power)
