"""Tasks that take a time of their own for each child, for the tests of asynchronous replicas."""

import os
import random
import threading
import time
from pathlib import Path
from typing import Any

from tasks.records import Trial
from tasks.table_child import look_up

PEAK: list[int] = []  # children under way whenever one began
_RUNNING: set[int] = set()
_CHANGED = threading.Condition()  # who is running
OVERTAKEN = threading.Condition()
_OTHERS: list[int] = []


def take_a_while(architecture: dict[str, Any], trial: Trial) -> float:
    """Sleep for a log-normal time with a median of 100 ms, then look up the row."""
    return _take_a_while(architecture, trial, together=0)


def nine_at_once(architecture: dict[str, Any], trial: Trial) -> float:
    """The same, but none of the first nine goes on before all of them were there."""
    return _take_a_while(architecture, trial, together=9 if trial.trial_id < 9 else 0)


def held_from_60(architecture: dict[str, Any], trial: Trial) -> float:
    """Take a while; trials from 60 on once the file is there that WAVENAS_TEST_GO names."""
    while trial.trial_id >= 60 and not Path(os.environ["WAVENAS_TEST_GO"]).exists():
        time.sleep(0.05)
    return take_a_while(architecture, trial)


def _take_a_while(architecture: dict[str, Any], trial: Trial, together: int) -> float:
    with _CHANGED:
        _RUNNING.add(trial.trial_id)
        PEAK.append(len(_RUNNING))
        _CHANGED.notify_all()
        _CHANGED.wait_for(lambda: max(PEAK) >= together, timeout=200)
    time.sleep(0.1 * random.Random(trial.seed).lognormvariate(0, 0.8))
    with _CHANGED:
        _RUNNING.remove(trial.trial_id)
    return look_up(architecture, trial).metric


def first_is_overtaken(architecture: dict[str, Any], trial: Trial) -> float:
    """Trial 0 ends once 40 others did."""
    with OVERTAKEN:
        if trial.trial_id:
            _OTHERS.append(trial.trial_id)
            OVERTAKEN.notify()
        elif not OVERTAKEN.wait_for(lambda: len(_OTHERS) >= 40, timeout=200):
            raise TimeoutError(f"only {len(_OTHERS)} others ended")
    return look_up(architecture, trial).metric
