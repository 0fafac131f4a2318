"""Settings of the stages after a search, with the paper's values as defaults where it has any."""

from typing import Any

from pydantic.dataclasses import dataclass

from tasks.settings import FRESH, NotNegative, Positive

Grid = dict[str, tuple[Any, ...]]
# Section 4.1 names what the small grid is over, not its values.
IMAGE_GRID: Grid = {
    "child.learning_rate": (0.1, 0.05),
    "child.weight_decay": (1e-4, 5e-4),
    "child.batch_norm_epsilon": (1e-5, 1e-3),
    "child.decay_at": ([0.5, 0.75], [0.4, 0.6]),
}
# Section 4.2 likewise; the second values lean towards those of Zaremba's large model.
LANGUAGE_GRID: Grid = {
    "language.learning_rate": (1.0, 0.7),
    "language.init_range": (0.05, 0.04),
    "language.output_dropout": (0.5, 0.65),
    "language.recurrent_dropout": (0.2, 0.35),
    "language.constant_epochs": (6, 14),
}
IMAGE_EPOCHS, LANGUAGE_EPOCHS = 300, 55  # until convergence: DenseNet's, and those of Zaremba's large model


@dataclass(frozen=True, kw_only=True, config=FRESH)
class FinalSettings:
    """The final stage (sections 4.1 and 4.2): a grid over hyperparameters, a long training, one test."""

    top: Positive = 1  # networks of the search that go into the grid, the best by validation
    grid: Grid | None = None  # values by setting, all combinations of them; unset: IMAGE_GRID or LANGUAGE_GRID
    epochs: Positive | None = None  # of the long trainings; unset: 300 for images, 55 for text
    more_filters: tuple[Positive, ...] = ()  # Table 1: filters added to each layer, a long training more for each
    parameters: tuple[Positive, ...] = ()  # Table 2: sizes, a long training each; unset: the search's
    shared_embeddings: tuple[bool, ...] = ()  # Table 2: of each size; unset: the search's


@dataclass(frozen=True, kw_only=True, config=FRESH)
class AblationSettings:
    """Control experiments on the network found (section 4.1: dense connections, no skips, perturbations)."""

    perturbations: NotNegative | None = None  # decisions that are changed, one at a time; unset: all that can be
    seeds: Positive = 3  # trainings of each, the network found too
