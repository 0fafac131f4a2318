"""The settings of a search that workers need, with the paper's values as defaults and their section beside them."""

from dataclasses import field
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

Positive = Annotated[int, Field(gt=0)]
NotNegative = Annotated[int, Field(ge=0)]
PositiveFloat = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NotNegativeFloat = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Fraction = Annotated[float, Field(gt=0, lt=1)]
FRESH = ConfigDict(extra="forbid")


@dataclass(frozen=True, kw_only=True, config=FRESH)
class SpaceSettings:
    """What architectures there are."""

    function: str = "models.conv_space:conv_space"  # a generator function, module:function
    options: dict[str, Any] = field(default_factory=dict)  # its keyword arguments


@dataclass(frozen=True, kw_only=True, config=FRESH)
class ControllerSettings:
    """The recurrent network that writes architectures, and how it learns."""

    hidden_units: Positive = 35  # section 4.1
    num_layers: Positive = 2  # section 4.1
    init_range: PositiveFloat = 0.08  # section 4.1: uniform in ±init_range
    learning_rate: PositiveFloat = 6e-4  # section 4.1, Adam
    baseline_decay: Fraction = 0.95  # section 3.2 names the moving average, not its decay; per architecture


@dataclass(frozen=True, kw_only=True, config=FRESH)
class EvolutionSettings:
    """Regularised evolution, a control."""

    population_size: Positive = 100
    tournament_size: Positive = 25


@dataclass(frozen=True, kw_only=True, config=FRESH)
class SearchSettings:
    """How many architectures are drawn, by what policy, how deep, and what they are rewarded with."""

    policy: Literal["controller", "random", "evolution"] = "controller"
    control: Literal["random", "evolution"] | None = None  # section 4.2: a second search to compare with
    mode: Literal["waves", "async"] = "waves"  # async: section 3.2, replicas that do not wait for each other
    samples: Positive = 12_800  # section 4.1
    replicas: Positive = 100  # section 4.1: K
    shards: Positive = 20  # section 4.1: S, of the parameter server; waves do without one
    children_per_replica: Positive = 8  # section 4.1: m; a wave is K times m children
    gradients_per_step: Positive = 1  # N, of asynchronous replicas: 1 for images, 10 for words (section 4.2)
    reward_power: PositiveFloat = 3.0  # section 4.1: accuracy cubed
    depth: Positive = 6  # section 4.1: layers of the first children
    depth_increment: NotNegative = 2  # section 4.1: layers more
    depth_every: Positive = 1_600  # section 4.1: samples between increments
    max_depth: Positive | None = None
    max_parameters: Positive | None = None  # larger children are not trained and earn 0
    max_flops: Positive | None = None  # of one forward pass of one image
    duplicates: Literal["retrain", "reuse", "average"] = "retrain"  # what becomes of an architecture drawn again
    seed: NotNegative = 0


@dataclass(frozen=True, kw_only=True, config=FRESH)
class DataSettings:
    """The images, how they are split and how they are augmented (section 4.1)."""

    dataset: Literal["digits", "cifar10", "table"] = "cifar10"
    folder: str | None = None  # where the files are, or the table's file; unset: data/ for CIFAR-10
    columns: tuple[str, ...] = ()  # of a table: what is decided
    reward: str | None = None  # of a table: the column with the metric
    num_validation: Positive = 5_000  # section 4.1, drawn from the training images
    num_train: Positive | None = None  # unset: all that are left
    split_seed: NotNegative = 0
    upsample: Positive = 40  # pixels a side to which images are scaled before the crop
    crop: Positive = 32  # pixels a side; section 4.1
    flip: bool = True  # section 4.1: random horizontal flips


@dataclass(frozen=True, kw_only=True, config=FRESH)
class ChildSettings:
    """How a child network is trained (section 4.1, and DenseNet's settings, which it adopts)."""

    task: str = "tasks.image_child:train_image_child"  # module:function
    epochs: Positive = 50  # section 4.1
    batch_size: Positive = 64  # DenseNet
    learning_rate: PositiveFloat = 0.1  # section 4.1
    decay_at: tuple[Fraction, ...] = (0.5, 0.75)  # DenseNet: shares of the epochs after which the rate drops
    decay_factor: Fraction = 0.1  # DenseNet
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.9  # section 4.1, Nesterov
    weight_decay: NotNegativeFloat = 1e-4  # section 4.1
    batch_norm_epsilon: PositiveFloat = 1e-5
    reward_epochs: Positive = 5  # section 4.1: best validation accuracy of the last 5 epochs
    timeout_minutes: PositiveFloat | None = None
    checkpoint_minutes: PositiveFloat | None = 10.0  # a longer child is kept so often, between epochs; none: never
    precision: Literal["auto", "float32", "bfloat16"] = "auto"  # auto: bfloat16 where the hardware has it
    threads: Positive = 1  # CPU threads a child
