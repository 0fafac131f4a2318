"""Children as Dask futures under explicit keys."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

from distributed import Client, Future, KilledWorker, as_completed

from tasks.records import Trial, TrialResult
from tasks.trial import run_trial

T = TypeVar("T")


def train_children(client: Client, run_key: str, trials: Sequence[Trial]) -> Iterator[tuple[TrialResult, int]]:
    """Each child's result and attempts, as they end. A child whose workers keep dying is a failed one."""
    futures = client.map(run_trial, trials, key=[f"trial-{run_key}-{trial.trial_id}" for trial in trials], pure=False)
    trial_of = {future.key: trial for future, trial in zip(futures, trials, strict=True)}
    ended = as_completed(futures)
    del futures  # each is released, and its result with it, once it is dealt with
    for future in ended:
        yield _outcome(future, trial_of.pop(future.key))
        future.release()


def run_task(client: Client, key: str, function: Callable[[Any], T], argument: Any) -> T:
    """Run one function on the cluster, before any waiting child, and wait for what it returns."""
    future = client.submit(function, argument, key=key, pure=False, priority=10)
    try:
        return future.result()  # type: ignore[no-any-return]
    finally:
        future.release()


def _outcome(future: Future, trial: Trial) -> tuple[TrialResult, int]:
    error = future.exception()
    if error is None:
        return future.result(), 1
    if isinstance(error, KilledWorker):
        attempts = error.allowed_failures + 1
        reason = f"its worker died {attempts} times while training it, the last at {error.last_worker.address}"
    else:
        attempts, reason = 1, f"{type(error).__name__}: {error}"
    return TrialResult(trial.trial_id, "failed", 0.0, None, 0.0, "unknown", reason), attempts
