"""The epochs of a model of text: what language models and translation models have in common."""

import math
import time
from collections.abc import Callable

import torch
from torch import nn

from tasks.child_checkpoint import ChildCheckpoint
from tasks.records import Epoch, Status, Trial
from tasks.seeds import derive_seed
from tasks.weights import save_weights

MOST_PERPLEXITY = 1e9  # far beyond any vocabulary: what lies above says no more, and would be infinite at last
RunEpoch = Callable[[int, float], Epoch]


def run_epochs(
    trial: Trial, model: nn.Module, checkpoint: ChildCheckpoint, count: int, vocabulary_size: int, run_epoch: RunEpoch
) -> tuple[Status, float, tuple[Epoch, ...]]:
    """How `count` epochs ended, the lowest validation perplexity, NaN unless ok, and the epochs.

    `run_epoch` is given the number of the epoch and the time (monotonic) after which to raise TimeoutError; random
    numbers come from the number. A training has diverged where an epoch raises FloatingPointError, or ends with a
    perplexity above that of knowing nothing. The weights of the best epoch are kept at the trial's `weights_path`.
    """
    epochs = checkpoint.restore()
    spent = sum(epoch.seconds for epoch in epochs)
    deadline = time.monotonic() + 60 * (trial.child.timeout_minutes or math.inf) - spent
    while len(epochs) < count:
        torch.manual_seed(derive_seed(trial.seed, "epoch", len(epochs)))
        try:
            epochs.append(run_epoch(len(epochs), deadline))
        except TimeoutError:
            return "timed_out", math.nan, tuple(epochs)
        except FloatingPointError:
            return "diverged", math.nan, tuple(epochs)
        perplexities = [epoch.validation_metric for epoch in epochs]
        if perplexities[-1] > vocabulary_size:
            return "diverged", math.nan, tuple(epochs)
        if trial.weights_path and perplexities[-1] < min(perplexities[:-1], default=math.inf):
            save_weights(trial.weights_path, model)
        checkpoint.save_when_due(epochs)
    return "ok", min(epoch.validation_metric for epoch in epochs), tuple(epochs)


def epoch_of(
    number: int, train_loss: float, validation_loss: float, rate: float, seconds: tuple[float, float], tokens: int
) -> Epoch:
    """An epoch from its mean losses in nats; `seconds` in training and in all, `tokens` trained on."""
    training, whole = seconds
    return Epoch(
        epoch=number,
        train_loss=train_loss,
        train_metric=perplexity(train_loss),
        validation_loss=validation_loss,
        validation_metric=perplexity(validation_loss),
        learning_rate=rate,
        seconds=whole,
        examples_per_second=tokens / training,
    )


def clip_and_check(model: nn.Module, norm: float) -> None:
    """Clip the gradient to a norm. Raises FloatingPointError where it is not finite."""
    if not math.isfinite(torch.nn.utils.clip_grad_norm_(model.parameters(), norm)):
        raise FloatingPointError


def perplexity(loss: float) -> float:
    """The exponential of a mean cross-entropy in nats, at most MOST_PERPLEXITY, which NaN counts as too."""
    return math.exp(loss) if loss < math.log(MOST_PERPLEXITY) else MOST_PERPLEXITY
