"""The experiments: each a function that returns a complete configuration."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from cluster.settings import ClusterSettings
from pipeline.configuration import Configuration
from pipeline.errors import UserError
from pipeline.stage_settings import AblationSettings, FinalSettings
from tasks.settings import (
    LANGUAGE_TASK,
    ChildSettings,
    ControllerSettings,
    DataSettings,
    EvolutionSettings,
    LanguageSettings,
    SearchSettings,
    SpaceSettings,
)

HASTY = 0.02  # the controller's rate where a few dozen steps have to do; the paper takes thousands at 0.0006


def digits() -> Configuration:
    """Small convolutional networks for scikit-learn's handwritten digits, against random search: three minutes."""
    return Configuration(
        experiment="digits",
        search=SearchSettings(samples=200, replicas=1, depth=4, max_depth=4, control="random"),
        controller=ControllerSettings(learning_rate=HASTY),
        evolution=EvolutionSettings(population_size=40, tournament_size=10),
        space=SpaceSettings(
            options={"filter_heights": [1, 3, 5], "filter_widths": [1, 3, 5], "num_filters": [4, 8, 12, 16]}
        ),
        data=DataSettings(dataset="digits", num_validation=437, upsample=10, crop=8, flip=False),
        child=ChildSettings(epochs=3, batch_size=32, reward_epochs=1),
        final=FinalSettings(grid={"child.learning_rate": (0.1, 0.05), "child.weight_decay": (1e-4, 1e-3)}, epochs=20),
    )


def cifar10() -> Configuration:
    """The paper's search on CIFAR-10 without strides or pooling: 12,800 children of 50 epochs (section 4.1)."""
    return Configuration(
        experiment="cifar10",
        search=SearchSettings(mode="async"),  # in waves of K times m it would take 16 steps in all
        controller=ControllerSettings(baseline_decay=0.99),
        child=ChildSettings(timeout_minutes=8 * 60),  # the deepest take an hour or two on a GPU
    )


def cifar10_strides() -> Configuration:
    """The paper's second search on CIFAR-10: strides in 1, 2, 3 are predicted too (section 4.1)."""
    return replace(cifar10(), experiment="cifar10_strides", space=SpaceSettings(options={"strides": [1, 2, 3]}))


def cifar10_pooling() -> Configuration:
    """The paper's third: 13 predicted blocks of 3 layers, max pooling after layers 13 and 24 (section 4.1)."""
    options = {"num_filters": [6, 12, 24, 36], "block_size": 3, "pool_after": [13, 24]}
    return replace(
        cifar10(),
        experiment="cifar10_pooling",
        search=replace(cifar10().search, depth=13, depth_increment=0),
        space=SpaceSettings(options=options),
        final=FinalSettings(more_filters=(40,)),  # Table 1
    )


def cifar10_small() -> Configuration:
    """The first search for a laptop: 32 narrow children of 4 layers, 5 epochs of 4,000 images of 16×16."""
    return _small(cifar10(), {"num_filters": [6, 12, 18, 24]}, depth=4)


def cifar10_strides_small() -> Configuration:
    """The second search for a laptop: the same with strides."""
    return _small(cifar10_strides(), {"num_filters": [6, 12, 18, 24], "strides": [1, 2, 3]}, depth=4)


def cifar10_pooling_small() -> Configuration:
    """The third search for a laptop: 3 predicted blocks of 2 layers, max pooling after layers 2 and 4."""
    return _small(cifar10_pooling(), {"num_filters": [6, 12, 18], "block_size": 2, "pool_after": [2, 4]}, depth=3)


def ptb() -> Configuration:
    """The paper's search for a recurrent cell on Penn Treebank: 15,000 children of 35 epochs (section 4.2)."""
    return Configuration(
        experiment="ptb",
        search=SearchSettings(
            mode="async",  # one step of the controller for 10 gradients
            samples=15_000,
            replicas=400,
            children_per_replica=1,
            gradients_per_step=10,
            depth=1,
            depth_increment=0,
            reward_power=-2.0,
            reward_scale=80.0,
        ),
        controller=ControllerSettings(learning_rate=5e-4, baseline_decay=0.99),
        space=SpaceSettings(function="models.cell_space:cell_space"),
        data=DataSettings(dataset="text", num_validation=None),
        child=ChildSettings(task=LANGUAGE_TASK, timeout_minutes=48 * 60),  # the paper trained these on CPUs
        final=FinalSettings(  # Table 2
            parameters=(25_000_000, 32_000_000, 54_000_000), shared_embeddings=(False, True)
        ),
    )


def ptb_small() -> Configuration:
    """The same for a laptop: 32 narrow cells, 3 epochs of 40,000 tokens with 1,000 different words."""
    return replace(
        ptb(),
        experiment="ptb_small",
        search=replace(
            ptb().search,
            mode="waves",
            samples=32,
            replicas=1,
            children_per_replica=4,
            gradients_per_step=1,
            control="random",
        ),
        controller=ControllerSettings(learning_rate=HASTY),
        evolution=EvolutionSettings(population_size=8, tournament_size=3),
        child=ChildSettings(task=LANGUAGE_TASK),
        data=replace(ptb().data, vocabulary=1_000, num_train=40_000, num_validation=15_000),
        language=LanguageSettings(
            parameters=100_000,
            embedding_dropout=0.0,
            input_dropout=0.0,
            recurrent_dropout=0.0,
            output_dropout=0.0,
            init_range=0.8,  # narrow cells hardly learn from weights within 0.05
            epochs=3,
            steps=10,
            learning_rate=2.0,
            clip_norm=1.0,
            constant_epochs=2,
            rate_divisor=2.0,
        ),
        final=FinalSettings(
            grid={"language.learning_rate": (1.0, 0.5), "language.constant_epochs": (2, 3)},
            epochs=6,
            parameters=(200_000, 400_000),
            shared_embeddings=(False, True),
        ),
        ablations=AblationSettings(perturbations=6, seeds=2),
    )


def table() -> Configuration:
    """Search over a table of networks trained before: --table FILE --columns A,B,… --reward COLUMN."""
    return Configuration(
        experiment="table",
        search=SearchSettings(samples=2_000, replicas=1, depth=1, depth_increment=0),
        space=SpaceSettings(function="models.table_space:table_space", options={"columns": {}}),
        data=DataSettings(dataset="table"),
        child=ChildSettings(task="tasks.table_child:look_up"),
        cluster=ClusterSettings(processes=False, workers=4),
    )


def with_own_space(configuration: Configuration, function: str) -> Configuration:
    """An experiment over another space, without the options of its own."""
    return replace(configuration, space=SpaceSettings(function=function))


def with_table(
    configuration: Configuration, path: Path | None, columns: str | None, reward: str | None, data: Path | None
) -> Configuration:
    """Experiment `table` over the columns of a file. Raises UserError for what cannot be such a table."""
    from pipeline.table_data import column_values

    if configuration.data.dataset != "table":
        raise UserError(f"--table, --columns and --reward belong to experiment table, not {configuration.experiment}")
    if data is not None:
        raise UserError("--data and --table do not go together: the table is the data")
    if path is None or not columns or reward is None:
        raise UserError("experiment table needs all of --table FILE.parquet, --columns A,B,… and --reward COLUMN")
    names = tuple(name.strip() for name in columns.split(","))
    options = {"columns": column_values(path, names, reward)}
    return replace(
        configuration,
        space=replace(configuration.space, options=options),
        data=replace(configuration.data, folder=str(path.resolve()), columns=names, reward=reward),
    )


def _small(experiment: Configuration, options: dict[str, Any], depth: int) -> Configuration:
    return replace(
        experiment,
        experiment=f"{experiment.experiment}_small",
        search=SearchSettings(
            samples=32, replicas=1, children_per_replica=4, depth=depth, depth_increment=0, control="random"
        ),
        controller=ControllerSettings(learning_rate=HASTY),
        evolution=EvolutionSettings(population_size=8, tournament_size=3),
        space=SpaceSettings(options=options),
        data=DataSettings(num_train=4_000, num_validation=1_000, upsample=20, crop=16),
        child=ChildSettings(epochs=5, reward_epochs=2),
        final=FinalSettings(
            grid={"child.learning_rate": (0.1, 0.05), "child.decay_at": ([0.5, 0.75], [0.4, 0.6])},
            epochs=15,
            more_filters=tuple(count // 4 for count in experiment.final.more_filters),
        ),
        ablations=AblationSettings(perturbations=6, seeds=2),
    )


EXPERIMENTS: dict[str, Callable[[], Configuration]] = {
    function.__name__: function
    for function in (
        digits,
        cifar10_small,
        cifar10_strides_small,
        cifar10_pooling_small,
        cifar10,
        cifar10_strides,
        cifar10_pooling,
        ptb_small,
        ptb,
        table,
    )
}


def experiment_named(name: str) -> Configuration:
    """An experiment's configuration. Raises UserError with the names there are."""
    if name not in EXPERIMENTS:
        raise UserError(f"unknown experiment {name!r}; allowed: {', '.join(EXPERIMENTS)}")
    return EXPERIMENTS[name]()
