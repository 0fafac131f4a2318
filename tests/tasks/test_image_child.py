import math
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits

from models.conv_net import ConvNet
from models.conv_space import ConvArchitecture, ConvLayer
from tasks.data import load_images
from tasks.device import pick_device, prepare_process
from tasks.image_child import build_network, evaluate, learning_rate_at, train_image_child
from tasks.records import Training, Trial
from tasks.settings import ChildSettings, DataSettings, SpaceSettings
from tasks.weights import load_weights, save_weights

NETWORK = ConvArchitecture((ConvLayer(3, 3, 8), ConvLayer(5, 5, 16, inputs=(0,))))


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    prepare_process(threads=1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def trial(tmp_path_factory: pytest.TempPathFactory) -> Trial:
    """A child of scikit-learn's digits that takes a second."""
    folder, digits = tmp_path_factory.mktemp("digits"), load_digits()
    np.save(folder / "images.npy", (digits.images[:, None] * 15).astype(np.uint8))
    np.save(folder / "labels.npy", digits.target.astype(np.int64))
    return Trial(
        trial_id=3,
        seed=11,
        depth=2,
        tokens=(),
        space=SpaceSettings(),
        child=ChildSettings(epochs=4, batch_size=16, precision="float32"),
        data=DataSettings(dataset="digits", num_validation=300, num_train=1_200, upsample=10, crop=8, flip=False),
        data_path=str(folder),
        reward_power=3.0,
    )


@pytest.fixture(scope="module")
def training(trial: Trial, one_thread: None) -> Training:
    return train_image_child(NETWORK, trial)


def curve(training: Training) -> list[tuple[float, ...]]:
    """What chance decides of each epoch."""
    return [(epoch.train_loss, epoch.train_metric, epoch.validation_loss, epoch.validation_metric)
            for epoch in training.epochs]  # fmt: skip


def test_the_rate_drops_after_half_and_three_quarters_of_50_epochs() -> None:
    rates = [learning_rate_at(ChildSettings(), epoch) for epoch in range(50)]
    assert rates == pytest.approx([0.1] * 25 + [0.01] * 13 + [0.001] * 12)


def test_the_rate_stays_where_nothing_says_when_to_drop_it() -> None:
    child = ChildSettings(epochs=4, learning_rate=0.2, decay_at=())
    assert [learning_rate_at(child, epoch) for epoch in range(4)] == [0.2] * 4


def test_a_child_learns_to_read_digits(training: Training) -> None:
    assert training.status == "ok"
    assert training.metric > 0.8
    assert training.epochs[-1].train_loss < training.epochs[0].train_loss


def test_a_training_records_its_epochs_and_its_cost(training: Training, trial: Trial) -> None:
    assert [epoch.epoch for epoch in training.epochs] == [0, 1, 2, 3]
    assert [epoch.learning_rate for epoch in training.epochs] == pytest.approx([0.1, 0.1, 0.01, 0.001])
    assert all(0 < epoch.validation_metric <= 1 and 0 < epoch.train_metric <= 1 for epoch in training.epochs)
    assert all(epoch.seconds > 0 and epoch.examples_per_second > 0 for epoch in training.epochs)
    weights = 3 * 3 * 8 + 5 * 5 * 8 * 16
    assert training.parameters == weights + 2 * (8 + 16) + 16 * 10 + 10
    assert training.flops == 2 * (weights * 8 * 8 + 16 * 10)
    assert (training.device, training.precision) == (str(pick_device()), "float32")


def test_the_seed_decides_every_metric(training: Training, trial: Trial) -> None:
    assert curve(train_image_child(NETWORK, trial)) == curve(training)
    assert curve(train_image_child(NETWORK, replace(trial, seed=12))) != curve(training)


@pytest.mark.parametrize("reward_epochs", [1, 2, 3, 9])
def test_the_metric_is_the_best_of_the_last_epochs(trial: Trial, reward_epochs: int) -> None:
    child = replace(trial.child, learning_rate=2.0, decay_at=(), reward_epochs=reward_epochs)  # up and down
    training = train_image_child(NETWORK, replace(trial, child=child))
    assert training.metric == max([epoch.validation_metric for epoch in training.epochs][-reward_epochs:])


def test_an_absurd_learning_rate_diverges_and_ends_the_training(trial: Trial) -> None:
    child = replace(trial.child, learning_rate=1e30, epochs=1_000)
    training = train_image_child(NETWORK, replace(trial, child=child))
    assert training.status == "diverged"
    assert math.isnan(training.metric)
    assert len(training.epochs) < 5


def test_a_child_that_diverges_keeps_no_checkpoint_to_go_on_from(trial: Trial, tmp_path: Path) -> None:
    child = replace(trial.child, learning_rate=1e30, epochs=2, checkpoint_minutes=1e-9)
    kept = replace(trial, child=child, checkpoint_path=str(tmp_path / "child.pt"))
    first, again = train_image_child(NETWORK, kept), train_image_child(NETWORK, kept)
    assert first.status == again.status == "diverged" and len(first.epochs) == len(again.epochs)


@pytest.mark.parametrize("epochs", [1, 1_000])
def test_a_child_that_takes_too_long_is_stopped_in_the_middle_of_an_epoch(epochs: int, trial: Trial) -> None:
    child = replace(trial.child, timeout_minutes=1e-9, epochs=epochs)
    training = train_image_child(NETWORK, replace(trial, child=child))
    assert (training.status, training.epochs) == ("timed_out", ())
    assert math.isnan(training.metric)


def test_training_on_fewer_images_than_a_batch_trains_on_all(trial: Trial) -> None:
    data, child = replace(trial.data, num_train=7), replace(trial.child, batch_size=64, epochs=1)
    training = train_image_child(NETWORK, replace(trial, data=data, child=child))
    assert training.status == "ok"
    assert training.epochs[0].train_metric in [correct / 7 for correct in range(8)]


def test_bfloat16_can_be_asked_for(trial: Trial) -> None:
    child = replace(trial.child, precision="bfloat16", epochs=1)
    training = train_image_child(NETWORK, replace(trial, child=child))
    assert (training.status, training.precision) == ("ok", "bfloat16")


def test_evaluation_is_the_mean_over_all_images_and_changes_nothing(trial: Trial) -> None:
    data = load_images(trial.data_path, trial.data, torch.device("cpu"))
    network = ConvNet(NETWORK, 1, 10)
    for weight in network.classifier.parameters():
        torch.nn.init.zeros_(weight)  # every class as likely as the others, and the first is the one picked
    before = {name: value.clone() for name, value in network.state_dict().items()}
    loss, accuracy = evaluate(network, data.validation, trial.data, torch.float32)
    assert loss == pytest.approx(math.log(10), abs=1e-5)
    assert accuracy == pytest.approx(float((data.validation.labels == 0).float().mean()))
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


@pytest.mark.gpu
def test_a_child_trains_on_the_gpu_in_bfloat16(trial: Trial) -> None:
    training = train_image_child(NETWORK, replace(trial, child=replace(trial.child, precision="bfloat16")))
    assert (training.status, training.device, training.precision) == ("ok", "cuda:0", "bfloat16")
    assert training.metric > 0.5


def test_a_child_that_is_too_large_is_not_trained(trial: Trial, training: Training) -> None:
    assert training.parameters is not None and training.flops is not None
    for bounds in ({"max_parameters": training.parameters - 1}, {"max_flops": training.flops - 1}):
        outcome = train_image_child(NETWORK, replace(trial, **bounds))
        assert (outcome.status, outcome.epochs) == ("too_large", ())
        assert (outcome.parameters, outcome.flops) == (training.parameters, training.flops)
    short = replace(trial, child=replace(trial.child, epochs=1))
    at_the_bound = replace(short, max_parameters=training.parameters, max_flops=training.flops)
    assert train_image_child(NETWORK, at_the_bound).status == "ok"


def test_an_architecture_may_bring_its_own_learning_rate(trial: Trial) -> None:
    short = replace(trial, child=replace(trial.child, epochs=4, decay_at=(0.5,)))
    outcome = train_image_child(replace(NETWORK, learning_rate=0.03), short)
    assert [epoch.learning_rate for epoch in outcome.epochs] == pytest.approx([0.03, 0.03, 0.003, 0.003])


def test_an_interrupted_training_keeps_the_same_weights(
    trial: Trial, training: Training, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those of the epoch that gives the metric, the best of the last three."""
    child = replace(trial.child, reward_epochs=3, checkpoint_minutes=1e-9)
    weights = []
    for name, survives in (("whole", 99), ("parted", 2)):
        paths = {"checkpoint_path": str(tmp_path / f"{name}.pt"), "weights_path": str(tmp_path / f"{name}-weights.pt")}
        kept = replace(trial, child=child, **paths)
        validated = 0

        def evaluate_and_die(*arguments: Any, limit: int = survives) -> tuple[float, float]:
            nonlocal validated
            if (validated := validated + 1) > limit:
                raise KeyboardInterrupt
            return evaluate(*arguments)

        monkeypatch.setattr("tasks.image_child.evaluate", evaluate_and_die)
        with nullcontext() if survives > 4 else pytest.raises(KeyboardInterrupt):
            train_image_child(NETWORK, kept)
        monkeypatch.setattr("tasks.image_child.evaluate", evaluate)
        result = train_image_child(NETWORK, kept)  # the whole one from its last epoch, the parted one from its second
        assert curve(result) == curve(training)
        weights.append(torch.load(paths["weights_path"], weights_only=True))
    for name, weight in weights[0].items():
        assert torch.equal(weight, weights[1][name]), name
    data = load_images(trial.data_path, trial.data, torch.device("cpu"))
    network = build_network(NETWORK, trial, data)
    load_weights(str(tmp_path / "parted-weights.pt"), network)
    metric = max(epoch.validation_metric for epoch in training.epochs[-3:])
    assert evaluate(network, data.validation, trial.data, torch.float32)[1] == metric


def test_weights_of_another_network_are_refused(trial: Trial, tmp_path: Path) -> None:
    save_weights(str(tmp_path / "weights.pt"), torch.nn.Linear(3, 1))
    network = build_network(NETWORK, trial, load_images(trial.data_path, trial.data, torch.device("cpu")))
    for name in ("weights.pt", "none.pt"):
        with pytest.raises(ValueError, match=f"{name}: not the weights of this network, or damaged"):
            load_weights(str(tmp_path / name), network)
