"""The settings of a search that workers need, with the paper's values as defaults and their section beside them."""

from dataclasses import field
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, ConfigDict, Field
from pydantic.dataclasses import dataclass

IMAGE_TASK = "tasks.image_child:train_image_child"
LANGUAGE_TASK = "tasks.language_child:train_language_child"
TRANSLATION_TASK = "tasks.translation_child:train_translation_child"


def _not_zero(value: float) -> float:
    if value == 0:
        raise ValueError("every number but 0 is allowed")
    return value


Positive = Annotated[int, Field(gt=0)]
NotNegative = Annotated[int, Field(ge=0)]
PositiveFloat = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NotNegativeFloat = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Fraction = Annotated[float, Field(gt=0, lt=1)]
NotZeroFloat = Annotated[float, Field(allow_inf_nan=False), AfterValidator(_not_zero)]
Rate = Annotated[float, Field(ge=0, lt=1)]
FRESH = ConfigDict(extra="forbid")


@dataclass(frozen=True, kw_only=True, config=FRESH)
class SpaceSettings:
    """What architectures there are."""

    function: str = "models.conv_space:conv_space"  # a generator function, module:function
    options: dict[str, Any] = field(default_factory=dict)  # its keyword arguments

    @property
    def functions(self) -> list[str]:
        """The function and, of a space that is made of another, those of that one, named in the options alike."""
        names, options = [self.function], self.options
        while isinstance(options.get("function"), str):
            names.append(options["function"])
            inner = options.get("options")
            options = inner if isinstance(inner, dict) else {}
        return names


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
    reward_power: NotZeroFloat = 3.0  # section 4.1: accuracy cubed; negative where a lower metric is better
    reward_scale: PositiveFloat = 1.0  # section 4.2: c; the reward is reward_scale · metric^reward_power
    depth: Positive = 6  # section 4.1: layers of the first children
    depth_increment: NotNegative = 2  # section 4.1: layers more
    depth_every: Positive = 1_600  # section 4.1: samples between increments
    max_depth: Positive | None = None
    max_parameters: Positive | None = None  # larger children are not trained and earn 0
    max_flops: Positive | None = None  # of one forward pass of an image or a token
    duplicates: Literal["retrain", "reuse", "average"] = "retrain"  # what becomes of an architecture drawn again
    max_failed_share: Annotated[float, Field(gt=0, le=1)] = 0.5  # of a wave, at least 8; with more the search stops
    seed: NotNegative = 0


@dataclass(frozen=True, kw_only=True, config=FRESH)
class DataSettings:
    """The images, how they are split and how they are augmented (section 4.1), or the text (section 4.2)."""

    dataset: Literal["digits", "cifar10", "text", "table"] = "cifar10"
    folder: str | None = None  # where the files are, or the table's file; unset: data/ for CIFAR-10 and text
    columns: tuple[str, ...] = ()  # of a table: what is decided
    reward: str | None = None  # of a table: the column with the metric
    symbols: Literal["words", "characters"] = "words"  # that a text is made of
    vocabulary: Annotated[int, Field(ge=2)] | None = None  # words of a text, <unk> among them; unset: all
    num_validation: Positive | None = 5_000  # section 4.1, of the training images; of text the first tokens, or all
    num_train: Positive | None = None  # images, or first tokens of a text; unset: all that there are
    split_seed: NotNegative = 0
    upsample: Positive = 40  # pixels a side to which images are scaled before the crop
    crop: Positive = 32  # pixels a side; section 4.1
    flip: bool = True  # section 4.1: random horizontal flips


@dataclass(frozen=True, kw_only=True, config=FRESH)
class ChildSettings:
    """What trains a child, and how one for images is trained (section 4.1, DenseNet's settings)."""

    task: str = IMAGE_TASK  # module:function
    epochs: Positive = 50  # section 4.1
    batch_size: Positive = 64  # DenseNet
    learning_rate: PositiveFloat = 0.1  # section 4.1
    decay_at: tuple[Fraction, ...] = (0.5, 0.75)  # DenseNet: shares of the epochs after which the rate drops
    decay_factor: Fraction = 0.1  # DenseNet
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.9  # section 4.1, Nesterov
    weight_decay: NotNegativeFloat = 1e-4  # section 4.1
    batch_norm_epsilon: PositiveFloat = 1e-5
    reward_epochs: Positive = 5  # section 4.1: best validation accuracy of the last 5 epochs
    timeout_minutes: PositiveFloat | None = None  # it is looked at after each batch
    grace_minutes: PositiveFloat = 5.0  # after which a child that does not look is ended, with its worker's process
    checkpoint_minutes: PositiveFloat | None = 10.0  # a longer child is kept so often, between epochs; none: never
    precision: Literal["auto", "float32", "bfloat16"] = "auto"  # auto: bfloat16 where the hardware has it
    threads: Positive = 1  # CPU threads a child


@dataclass(frozen=True, kw_only=True, config=FRESH)
class RetrySettings:
    """How often a child that failed is trained again, from the same seed and on another worker if there is one.

    For workers that die see `cluster.allowed_failures`; an architecture that is invalid stays so.
    """

    failed: NotNegative = 1  # a GPU or a file system may have failed, not the child
    out_of_memory: NotNegative = 1  # a neighbour may have taken it
    timed_out: NotNegative = 0


@dataclass(frozen=True, kw_only=True, config=FRESH)
class LanguageSettings:
    """How a language model is built and trained: section 4.2, and the medium model of Zaremba et al. (2014)."""

    num_layers: Positive = 2  # section 4.2
    parameters: Positive = 19_775_200  # section 4.2: the hidden units are as many as come closest; those of Zaremba
    hidden_units: Positive | None = None  # a layer; set, they go before `parameters`
    embedding_size: Positive | None = None  # unset: as many as hidden units
    shared_embeddings: bool = False  # section 4.2: one matrix for the words read and the words predicted
    # 0.5 where Zaremba's medium model has it; Gal's code has 0.3 elsewhere for a model three times as large
    embedding_dropout: Rate = 0.2  # share of the words of a sequence
    input_dropout: Rate = 0.5  # of a layer's inputs
    recurrent_dropout: Rate = 0.2  # of a layer's outputs on their way to the next step
    output_dropout: Rate = 0.5  # of what words are predicted from
    init_range: PositiveFloat = 0.05  # uniform in ±init_range
    epochs: Positive = 35  # section 4.2
    batch_size: Positive = 20  # columns into which the text is cut
    steps: Positive = 35  # tokens of a column through which gradients go back
    optimizer: Literal["sgd", "adam"] = "sgd"  # plain, on the sum over a column's steps; or Adam, on the mean of all
    learning_rate: PositiveFloat = 1.0
    weight_decay: NotNegativeFloat = 0.0
    constant_epochs: NotNegative = 6  # before the rate begins to drop
    rate_divisor: Annotated[float, Field(ge=1, allow_inf_nan=False)] = 1.2  # each epoch from then on
    clip_norm: PositiveFloat = 5.0  # of the gradient


def depth_at(num_samples: int, settings: SearchSettings) -> int:
    """Layers of the next child once `num_samples` were drawn (section 4.1: 6, and 2 more every 1,600 samples)."""
    depth = settings.depth + settings.depth_increment * (num_samples // settings.depth_every)
    return depth if settings.max_depth is None else min(depth, settings.max_depth)
