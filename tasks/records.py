"""What travels between the driver and the workers."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from tasks.settings import ChildSettings, ControllerSettings, DataSettings, SpaceSettings

if TYPE_CHECKING:  # status and reports read tables without torch
    from torch import Tensor

Status = Literal["ok", "diverged", "failed", "out_of_memory", "timed_out"]
COUNTED: tuple[Status, ...] = ("ok", "diverged")  # outcomes of an architecture, which take part in the gradient


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


@dataclass(frozen=True)
class Epoch:
    """One epoch of a child; metrics are accuracies, losses cross-entropies in nats."""

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
    epochs: tuple[Epoch, ...]
    parameters: int
    flops: int
    device: str
    precision: str


@dataclass(frozen=True)
class TrialResult:
    """How a child ended. `training` is None where none came about; `error` then tells why."""

    trial_id: int
    status: Status
    reward: float
    training: Training | None
    seconds: float
    worker: str
    error: str | None = None


@dataclass(frozen=True)
class PolicyState:
    """All that a policy has learned: the controller's weights, Adam's moments for each, and the baseline.

    The baseline is a bias-corrected exponential moving average: baseline_sum / baseline_weight, 0 before any reward.
    """

    policy: str
    seed: int  # of weights that are yet to come into being
    version: int = 0  # steps taken so far
    parameters: "dict[str, Tensor] | None" = None
    moments: dict[str, dict[str, Any]] | None = None
    baseline_sum: float = 0.0
    baseline_weight: float = 0.0

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


@dataclass(frozen=True)
class Sample:
    """An architecture drawn, with the log-probability (nats) of drawing it."""

    tokens: tuple[int, ...]
    architecture: dict[str, Any]
    log_prob: float


@dataclass(frozen=True)
class ReduceRequest:
    """One step of the controller: the tokens and rewards of a wave, in sample order."""

    state: PolicyState
    controller: ControllerSettings
    space: SpaceSettings
    depth: int
    tokens: tuple[tuple[int, ...], ...]
    rewards: tuple[float, ...]


@dataclass(frozen=True)
class Update:
    """The state after a step and what the step was made of. `baseline` is the one that was subtracted."""

    state: PolicyState
    baseline: float
    entropy: float
    gradient_norm: float
