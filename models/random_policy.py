"""Random search (section 4.2, control experiment 2): every choice uniform, every connection a fair coin."""

import math
from collections.abc import Sequence
from random import Random

from models.space import Path


def sample_uniformly(paths: Sequence[Path], seed: int) -> list[float]:
    """Complete each path by uniform draws. Returns each path's log-probability in nats."""
    random = Random(seed)
    log_probs = []
    for path in paths:
        log_prob = 0.0
        while path.decision is not None:
            num_options = path.decision.num_options
            path.take(random.randrange(num_options))
            log_prob -= math.log(num_options)
        log_probs.append(log_prob)
    return log_probs
