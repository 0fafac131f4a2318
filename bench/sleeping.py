"""Children that sleep instead of training: what they take is known, so what the pipeline adds can be seen."""

import os
import random
import time

from models.space import Choice, Decisions
from tasks.records import Trial


def ten_decisions(depth: int) -> Decisions:
    """The tokens of ten choices of four."""
    tokens = []
    for _ in range(10):
        tokens.append((yield Choice("option", (0, 1, 2, 3))))
    return tuple(tokens)


def sleep(architecture: tuple[int, ...], trial: Trial) -> float:
    """Sleep for a log-normal time with a mean of WAVENAS_BENCH_SECONDS, sigma 0.5; the more threes, the better."""
    mean = float(os.environ["WAVENAS_BENCH_SECONDS"])
    time.sleep(mean * random.Random(trial.seed).lognormvariate(-0.125, 0.5))
    return 0.1 + 0.08 * architecture.count(3)


def nothing(architecture: tuple[int, ...], trial: Trial) -> float:
    """No work: the more threes, the better."""
    return 0.1 + 0.08 * architecture.count(3)
