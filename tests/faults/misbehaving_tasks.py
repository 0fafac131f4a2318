"""Children that go wrong in every way, by the number of their trial; the others are looked up in a table."""

import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

from distributed import get_worker
from fault_tasks import is_first_attempt

from tasks.records import Trial
from tasks.table_child import look_up


def misbehave(architecture: dict[str, Any], trial: Trial) -> float:
    """Trials 1 to 20 have fates; what returns at all returns the row's metric, but for NaN."""
    fates = {
        1: _raise, 3: _compute_for_ever, 5: _leave, 9: _sleep_for_ever, 11: _kill, 13: _eat_memory, 17: sys.exit,
        18: _chatter,
    }  # fmt: skip
    if fate := fates.get(trial.trial_id):
        fate()
    if trial.trial_id == 19:
        fail_once(architecture, trial)
    return float("nan") if trial.trial_id == 20 else look_up(architecture, trial).metric


def fail_once(architecture: dict[str, Any], trial: Trial) -> float:
    """Raise in the first attempt."""
    if is_first_attempt(trial):
        raise ConnectionError("the file system was away for a moment")
    return look_up(architecture, trial).metric


def fail_on_the_first_worker(architecture: dict[str, Any], trial: Trial) -> float:
    """As where one device of many is broken."""
    time.sleep(0.02)
    if str(get_worker().name) == "0":
        raise RuntimeError("worker 0 computes nothing")
    return look_up(architecture, trial).metric


def fail_until_mended(architecture: dict[str, Any], trial: Trial) -> float:
    """Raise for as long as the file that WAVENAS_TEST_MENDED names is not there."""
    if not Path(os.environ["WAVENAS_TEST_MENDED"]).exists():
        raise OSError(f"no library number {trial.trial_id}")
    return look_up(architecture, trial).metric


def fail_slowly_until_mended(architecture: dict[str, Any], trial: Trial) -> float:
    """The same, but a child that fails takes a while."""
    if not Path(os.environ["WAVENAS_TEST_MENDED"]).exists():
        time.sleep(0.05)
    return fail_until_mended(architecture, trial)


def leave_unless_second(architecture: dict[str, Any], trial: Trial) -> float:
    """Trial 1 is looked up; any other takes its process down after a while."""
    if trial.trial_id != 1:
        time.sleep(0.5)
        _leave()
    return look_up(architecture, trial).metric


def first_sleeps(architecture: dict[str, Any], trial: Trial) -> float:
    """Trial 0 sleeps for a while."""
    time.sleep(15 if trial.trial_id == 0 else 0)
    return look_up(architecture, trial).metric


def _raise() -> None:
    raise RuntimeError("a bug")


def _compute_for_ever() -> None:
    while True:
        pass


def _sleep_for_ever() -> None:
    while True:
        time.sleep(1_000)


def _leave() -> None:
    os._exit(1)


def _kill() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _eat_memory() -> None:
    eaten = []
    while True:
        eaten.append(b"x" * 2**25)
        time.sleep(0.01)


def _chatter() -> None:
    for _ in range(1_000):
        print("chatter" * 500)
    os.write(2, b"and to the other stream\n")


def chatter(architecture: dict[str, Any], trial: Trial) -> float:
    """Print megabytes."""
    _chatter()
    return look_up(architecture, trial).metric
