"""Children for runs with faults: looked up, as in experiment table, after a while, or not at all."""

import os
import random
import threading
import time
from pathlib import Path
from typing import Any

from tasks.records import Trial
from tasks.table_child import look_up

RELEASED = threading.Event()


def take_a_while(architecture: dict[str, Any], trial: Trial) -> float:
    """Sleep for 50 to 150 ms, then look up the row."""
    time.sleep(random.Random(trial.seed).uniform(0.05, 0.15))
    return look_up(architecture, trial).metric


def held_from_20(architecture: dict[str, Any], trial: Trial) -> float:
    """The same; trials from 20 on once a file `go` is beside the run folder."""
    assert trial.checkpoint_path is not None
    while trial.trial_id >= 20 and not (Path(trial.checkpoint_path).parents[2] / "go").exists():
        time.sleep(0.02)
    return take_a_while(architecture, trial)


def fail_by_chance(architecture: dict[str, Any], trial: Trial) -> float:
    """Sleep for 0 to 10 ms; one in 50 fails, one in 50 diverges and one in 4,000 hangs, always the same ones."""
    chance = random.Random(trial.seed)
    time.sleep(chance.uniform(0, 0.01))
    fate = chance.random()
    if fate < 0.02:
        raise RuntimeError("a child that fails by chance")
    if 0.04 <= fate < 0.04025:
        time.sleep(100_000)
    return float("nan") if fate < 0.04 else look_up(architecture, trial).metric


def sleep_on(architecture: Any, trial: Trial) -> float:
    """Wait for longer than any worker lives."""
    RELEASED.wait(600)
    return 0.5


def die_at_first(architecture: Any, trial: Trial) -> float:
    """Take the process down in the first attempt; trial 0 ends at once."""
    if trial.trial_id and is_first_attempt(trial):
        os._exit(1)
    return 0.5


def die_when_told_or_fail_once(architecture: Any, trial: Trial) -> float:
    """Trial 0 takes the process down once a file `go` is there; any other fails in its first attempt."""
    assert trial.checkpoint_path is not None
    if trial.trial_id == 0:
        while not (Path(trial.checkpoint_path).parent / "go").exists():
            time.sleep(0.02)
        os._exit(1)
    if is_first_attempt(trial):
        raise ConnectionError("the file system was away for a moment")
    return 0.5


def is_first_attempt(trial: Trial) -> bool:
    """Whether it is; a file beside the checkpoint tells later ones."""
    assert trial.checkpoint_path is not None
    tried = Path(trial.checkpoint_path).with_suffix(".tried")
    if tried.exists():
        return False
    tried.parent.mkdir(exist_ok=True)
    tried.touch()
    return True
