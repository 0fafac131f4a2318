"""Tasks that take a time of their own for each child, for the tests of asynchronous replicas."""

import random
import threading
import time
from typing import Any

from tasks.records import Trial
from tasks.table_child import look_up

PEAK: list[int] = []  # children under way whenever one began
_RUNNING: set[int] = set()
_LOCK = threading.Lock()
OVERTAKEN = threading.Condition()
_OTHERS: list[int] = []


def take_a_while(architecture: dict[str, Any], trial: Trial) -> float:
    """Sleep for a log-normal time with a median of 100 ms, then look up the row."""
    with _LOCK:
        _RUNNING.add(trial.trial_id)
        PEAK.append(len(_RUNNING))
    time.sleep(0.1 * random.Random(trial.seed).lognormvariate(0, 0.8))
    with _LOCK:
        _RUNNING.remove(trial.trial_id)
    return look_up(architecture, trial).metric


def first_is_overtaken(architecture: dict[str, Any], trial: Trial) -> float:
    """Trial 0 ends once 40 others did."""
    with OVERTAKEN:
        if trial.trial_id:
            _OTHERS.append(trial.trial_id)
            OVERTAKEN.notify()
        elif not OVERTAKEN.wait_for(lambda: len(_OTHERS) >= 40, timeout=60):
            raise TimeoutError(f"only {len(_OTHERS)} others ended")
    return look_up(architecture, trial).metric
