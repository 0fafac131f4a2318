"""The experiments: each a function that returns a complete configuration."""

from collections.abc import Callable
from dataclasses import replace

from pipeline.configuration import Configuration
from pipeline.errors import UserError
from tasks.settings import ChildSettings, ControllerSettings, DataSettings, SearchSettings, SpaceSettings

HASTY = 0.02  # the controller's rate where a few dozen steps have to do; the paper takes thousands at 0.0006


def digits() -> Configuration:
    """Small convolutional networks for scikit-learn's handwritten digits, against random search: two minutes."""
    return Configuration(
        experiment="digits",
        search=SearchSettings(samples=200, replicas=1, depth=4, max_depth=4, control="random"),
        controller=ControllerSettings(learning_rate=HASTY),
        space=SpaceSettings(
            options={"filter_heights": [1, 3, 5], "filter_widths": [1, 3, 5], "num_filters": [4, 8, 12, 16]}
        ),
        data=DataSettings(dataset="digits", num_validation=437, upsample=10, crop=8, flip=False),
        child=ChildSettings(epochs=3, batch_size=32, reward_epochs=1),
    )


def cifar10() -> Configuration:
    """The paper's search on CIFAR-10 without strides or pooling: 12,800 children of 50 epochs (section 4.1)."""
    return Configuration(experiment="cifar10", controller=ControllerSettings(baseline_decay=0.99))


def cifar10_small() -> Configuration:
    """The same search for a laptop: 32 narrow children of 4 layers, 5 epochs of 4,000 images of 16×16."""
    return replace(
        cifar10(),
        experiment="cifar10_small",
        search=SearchSettings(samples=32, replicas=1, children_per_replica=4, depth=4, max_depth=4, control="random"),
        controller=ControllerSettings(learning_rate=HASTY),
        space=SpaceSettings(options={"num_filters": [6, 12, 18, 24]}),
        data=DataSettings(num_train=4_000, num_validation=1_000, upsample=20, crop=16),
        child=ChildSettings(epochs=5, reward_epochs=2),
    )


EXPERIMENTS: dict[str, Callable[[], Configuration]] = {
    function.__name__: function for function in (digits, cifar10, cifar10_small)
}


def experiment_named(name: str) -> Configuration:
    """An experiment's configuration. Raises UserError with the names there are."""
    if name not in EXPERIMENTS:
        raise UserError(f"unknown experiment {name!r}; allowed: {', '.join(EXPERIMENTS)}")
    return EXPERIMENTS[name]()
