"""What travels between the driver and the workers."""

import math
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from models.evolution import Individual
from tasks.settings import (
    ChildSettings,
    ControllerSettings,
    DataSettings,
    EvolutionSettings,
    LanguageSettings,
    SpaceSettings,
)
from tasks.translation_settings import TranslationSettings

Status = Literal[
    "ok", "diverged", "too_large", "invalid", "failed", "out_of_memory", "timed_out", "lost_worker"
]  # fmt: skip
COUNTED: tuple[Status, ...] = (
    "ok",
    "diverged",
    "too_large",
)  # outcomes of an architecture, which take part in the gradient


class InvalidArchitecture(ValueError):
    """What a task raises for an architecture that it cannot train: the trial is `invalid`, and is not tried again."""


@dataclass(frozen=True)
class Trial:
    """A child to be trained: what to build, how to train it, and from what seed."""

    trial_id: int
    seed: int
    depth: int
    tokens: tuple[int, ...]
    space: SpaceSettings
    child: ChildSettings
    data: DataSettings
    data_path: str
    reward_power: float
    reward_scale: float = 1.0
    max_parameters: int | None = None
    max_flops: int | None = None
    checkpoint_path: str | None = None  # where the child may keep what it has learned so far
    weights_path: str | None = None  # where the weights of the epoch that gives the metric are kept
    language: LanguageSettings = field(default_factory=LanguageSettings)
    micro_batches: int = 1  # into which a batch is divided, where memory was exhausted by a whole one
    translation: TranslationSettings | None = None  # of a translation model alone


@dataclass(frozen=True)
class Epoch:
    """One epoch of a child; metrics are accuracies, of text perplexities, losses cross-entropies in nats."""

    epoch: int
    train_loss: float
    train_metric: float
    validation_loss: float
    validation_metric: float
    learning_rate: float
    seconds: float
    examples_per_second: float


@dataclass(frozen=True)
class Training:
    """What a task function returns: how the training of an architecture ended, and its epochs."""

    status: Status
    metric: float  # what the reward is made of; NaN unless status is ok
    epochs: tuple[Epoch, ...] = ()
    parameters: int | None = None
    flops: int | None = None
    device: str | None = None
    precision: str | None = None
    micro_batch: int | None = None  # examples, or columns of text, whose gradient is computed at a time
    out_of_memory: str | None = None  # what a first try with twice the micro-batch ended with


@dataclass(frozen=True)
class TrialResult:
    """How a child ended. `training` is None where none came about; `error` tells what went wrong, in each attempt."""

    trial_id: int
    status: Status
    reward: float
    training: Training | None
    seconds: float
    worker: str
    error: str | None = None
    attempts: int = 1  # times that its training was begun
    device_failed: bool = False  # the process can compute nothing any more


@dataclass(frozen=True)
class Moments:
    """Adam's state of one weight."""

    step: float
    exp_avg: np.ndarray
    exp_avg_sq: np.ndarray


@dataclass(frozen=True)
class PolicyState:
    """All that a policy has learned: the controller's weights, Adam's moments of each, and the baseline.

    Arrays, since Dask sends hundreds of small tensors ten times as slowly.

    The baseline is a bias-corrected exponential moving average: baseline_sum / baseline_weight, 0 before any reward.
    """

    policy: str
    seed: int  # of weights that are yet to come into being
    version: int = 0  # steps taken so far
    parameters: dict[str, np.ndarray] = field(default_factory=dict)
    moments: dict[str, Moments] = field(default_factory=dict)
    baseline_sum: float = 0.0
    baseline_weight: float = 0.0
    population: tuple[Individual, ...] = ()  # of evolution, oldest first

    @property
    def baseline(self) -> float:
        return self.baseline_sum / self.baseline_weight if self.baseline_weight else 0.0


@dataclass(frozen=True)
class SampleRequest:
    """Draw `count` architectures of `depth` layers."""

    state: PolicyState
    controller: ControllerSettings
    space: SpaceSettings
    depth: int
    count: int
    seed: int
    evolution: EvolutionSettings = field(default_factory=EvolutionSettings)


@dataclass(frozen=True)
class Sample:
    """An architecture drawn, with the log-probability (nats) of drawing it."""

    tokens: tuple[int, ...]
    architecture: Any  # JSON data
    architecture_hash: str
    log_prob: float | None  # evolution has none


@dataclass(frozen=True)
class ReduceRequest:
    """One step of the controller: the tokens and rewards of a wave, in sample order."""

    state: PolicyState
    controller: ControllerSettings
    space: SpaceSettings
    depth: int
    tokens: tuple[tuple[int, ...], ...]
    rewards: tuple[float, ...]
    evolution: EvolutionSettings = field(default_factory=EvolutionSettings)


@dataclass(frozen=True)
class Gradient:
    """What the rewards of some children say, before any step: of the loss −1/m Σ log P (R − b), by weight.

    `born` are weights that the state which drew the children did not have yet, since its choices were not met before.
    """

    baseline: float  # b
    entropy: float = math.nan  # mean of an architecture, in nats
    norm: float = math.nan
    weights: dict[str, np.ndarray] = field(default_factory=dict)
    born: dict[str, np.ndarray] = field(default_factory=dict)


@dataclass(frozen=True)
class Update:
    """The state after a wave's step and the gradient that it followed."""

    state: PolicyState
    gradient: Gradient
