"""Train one child, whatever happens: the function that the driver maps onto the workers."""

import math
import os
import socket
import time
import traceback
from dataclasses import fields, replace
from typing import Any, get_args

from models.space import SearchSpace, load_function
from tasks.records import Epoch, InvalidArchitecture, Status, Training, Trial, TrialResult

LONGEST_ERROR = 10_000  # characters of an error that are kept
LARGEST_REWARD = 1e12  # squares of its gradient, in float32, are far from infinite yet


def run_trial(trial: Trial) -> TrialResult:
    """Decode the tokens, train the architecture, reward it. Never raises an Exception: a failure is a result."""
    from tasks.device import is_device_failure, prepare_process  # the driver names this function, and needs no torch

    started = time.monotonic()
    training: Training | None = None
    error: str | None = None
    device_failed = False
    status: Status
    earned = 0.0
    try:
        prepare_process(trial.child.threads)
        training = _as_training(load_function(trial.child.task)(_architecture(trial), trial))
        status, error = training.status, training.out_of_memory
        if status == "timed_out":
            error = f"it was not done after child.timeout_minutes = {trial.child.timeout_minutes}"
        if status == "ok":
            earned = reward(training.metric, trial.reward_power, trial.reward_scale)
            if not (math.isfinite(earned) and math.isfinite(training.metric)):
                status, earned = "diverged", 0.0
    except (Exception, SystemExit) as caught:  # noqa: BLE001  (whatever it was, it is this child's result)
        status, error = _failure(caught), shortened(traceback.format_exc())
        device_failed = is_device_failure(caught)
    return TrialResult(
        trial_id=trial.trial_id,
        status=status,
        reward=earned,
        training=training,
        seconds=time.monotonic() - started,
        worker=f"{socket.gethostname()}:{os.getpid()}",
        error=error,
        attempts=2 if training and training.out_of_memory else 1,
        device_failed=device_failed,
    )


def _architecture(trial: Trial) -> Any:
    """What the tokens spell. Raises InvalidArchitecture where they spell nothing."""
    space = SearchSpace(trial.space.function, trial.space.options)
    try:
        return space.decode(trial.depth, trial.tokens)
    except ValueError as error:
        raise InvalidArchitecture(str(error)) from error


def _failure(error: BaseException) -> Status:
    if isinstance(error, InvalidArchitecture):
        return "invalid"
    from tasks.device import is_out_of_memory

    return "out_of_memory" if is_out_of_memory(error) else "failed"


def shortened(error: str) -> str:
    """An error of a bearable length, its beginning and its end, in UTF-8: names of files in it may be any bytes."""
    error = error.encode(errors="backslashreplace").decode()
    if len(error) <= LONGEST_ERROR:
        return error
    return f"{error[: LONGEST_ERROR // 2]}\n[{len(error) - LONGEST_ERROR} characters]\n{error[-LONGEST_ERROR // 2 :]}"


def _as_training(outcome: Training | float) -> Training:
    """A task function may return its metric alone, and numpy's or torch's numbers in place of Python's.

    Raises ValueError for a status that there is not.
    """
    if not isinstance(outcome, Training):
        return Training("ok", float(outcome))
    if outcome.status not in get_args(Status):
        raise ValueError(f"{outcome.status!r} is no status of a Training; allowed: {', '.join(get_args(Status))}")
    return replace(
        outcome,
        metric=float(outcome.metric),
        epochs=tuple(map(_as_epoch, outcome.epochs)),
        parameters=_as_count(outcome.parameters),
        flops=_as_count(outcome.flops),
        micro_batch=_as_count(outcome.micro_batch),
        device=_as_text(outcome.device),
        precision=_as_text(outcome.precision),
        out_of_memory=_as_text(outcome.out_of_memory),
    )


def _as_count(count: int | None) -> int | None:
    return None if count is None else int(count)


def _as_text(told: object) -> str | None:
    return None if told is None else str(told)


def _as_epoch(epoch: Epoch) -> Epoch:
    numbers = {field.name: float(getattr(epoch, field.name)) for field in fields(Epoch)}
    return Epoch(**{**numbers, "epoch": int(epoch.epoch)})  # type: ignore[arg-type]


def reward(metric: float, power: float, scale: float = 1.0) -> float:
    """scale · metric^power: the accuracy cubed (section 4.1), or c over the perplexity squared (section 4.2).

    Raises ValueError where the metric has no such power, or the reward is too large for the controller's float32.
    """
    if (metric < 0 and power != int(power)) or (metric == 0 and power < 0):
        raise ValueError(f"a metric of {metric} cannot be raised to the power of {power}: search.reward_power")
    earned = float(scale * metric**power)
    if math.isfinite(earned) and abs(earned) > LARGEST_REWARD:
        raise ValueError(
            f"a reward of {earned:.3g}: allowed is up to {LARGEST_REWARD:g}; search.reward_scale makes it less"
        )
    return earned
