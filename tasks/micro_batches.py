"""A child whose batches do not fit into memory: once more, with halves of them."""

from collections.abc import Callable
from dataclasses import replace

from tasks.device import free_memory, is_out_of_memory
from tasks.records import Training, Trial

FEWEST = 4  # examples of a batch that can be halved: batch norm cannot take one alone


def train_as_memory_allows(train: Callable[[Trial], Training], trial: Trial, batch_size: int) -> Training:
    """Train with whole batches; where they exhaust the memory, once more from the start with half of one at a time.

    The gradient is still that of the whole batch, in `trial.micro_batches` parts. Raises what `train` raises.
    """
    try:
        return train(trial)
    except Exception as error:
        if not is_out_of_memory(error) or batch_size < FEWEST:
            raise
        reason = f"{type(error).__name__}: {error}"  # alone: the traceback would keep the tensors alive
    free_memory()
    told = f"out_of_memory with batches of {batch_size}, so trained with halves of them: {reason}"
    return replace(train(replace(trial, micro_batches=2)), out_of_memory=told)


def micro_batch(batch_size: int, trial: Trial) -> int:
    """How many of a batch are computed at a time, at most."""
    return -(-batch_size // trial.micro_batches)
