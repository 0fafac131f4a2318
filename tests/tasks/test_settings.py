import pytest
from pydantic import ValidationError

from tasks.settings import ChildSettings, ControllerSettings, DataSettings, SearchSettings


def test_the_controllers_defaults_are_the_papers() -> None:
    controller = ControllerSettings()
    assert (controller.num_layers, controller.hidden_units, controller.init_range) == (2, 35, 0.08)
    assert controller.learning_rate == 0.0006


def test_the_searchs_defaults_are_the_papers() -> None:
    search = SearchSettings()
    assert (search.samples, search.replicas, search.children_per_replica) == (12_800, 100, 8)
    assert (search.depth, search.depth_increment, search.depth_every) == (6, 2, 1_600)
    assert search.reward_power == 3


def test_the_childs_defaults_are_the_papers() -> None:
    child, data = ChildSettings(), DataSettings()
    assert (child.epochs, child.reward_epochs) == (50, 5)
    assert (child.learning_rate, child.momentum, child.weight_decay) == (0.1, 0.9, 1e-4)
    assert (data.num_validation, data.crop, data.flip) == (5_000, 32, True)


@pytest.mark.parametrize(
    ("settings", "values"),
    [
        (ChildSettings, {"epoch": 3}),
        (ChildSettings, {"epochs": 0}),
        (ChildSettings, {"learning_rate": float("nan")}),
        (ChildSettings, {"decay_at": (0.5, 1.5)}),
        (ControllerSettings, {"baseline_decay": 1.0}),
        (DataSettings, {"num_validation": 0}),
        (SearchSettings, {"policy": "greedy"}),
    ],
)
def test_settings_that_make_no_sense_are_errors(settings: type, values: dict[str, object]) -> None:
    with pytest.raises(ValidationError, match=next(iter(values))):
        settings(**values)
