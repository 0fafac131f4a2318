"""Training passes that a GPU replays give what they give when they are launched one by one."""

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from models.presets import figure7, nascell
from tasks.cuda_graphs import recorded
from tasks.device import free_memory, prepare_process
from tasks.image_child import train_image_child
from tasks.language_child import train_language_child
from tasks.records import Training, Trial
from tasks.settings import ChildSettings, DataSettings, LanguageSettings, SpaceSettings

UNDROPPED = dict.fromkeys(("embedding_dropout", "input_dropout", "recurrent_dropout", "output_dropout"), 0.0)


@pytest.fixture
def trial(tmp_path: Path) -> Trial:
    """Of 200 random images, and 400 words, most of which are one of a few."""
    chance = np.random.default_rng(0)
    np.save(tmp_path / "images.npy", chance.integers(0, 256, (200, 3, 12, 12), dtype=np.uint8))
    np.save(tmp_path / "labels.npy", chance.integers(0, 10, 200))
    for name in ("train", "validation"):
        np.save(tmp_path / f"{name}.npy", np.arange(400, dtype=np.int32) ** 2 % 20)
    np.save(tmp_path / "vocabulary.npy", np.array([f"word{number}" for number in range(20)]))
    return Trial(
        trial_id=0,
        seed=5,
        depth=1,
        tokens=(),
        space=SpaceSettings(),
        child=ChildSettings(epochs=2, batch_size=32, reward_epochs=1),
        data=DataSettings(num_validation=60, num_train=140, upsample=14, crop=12),
        data_path=str(tmp_path),
        reward_power=1.0,
        language=LanguageSettings(hidden_units=24, epochs=2, batch_size=4, steps=7, init_range=0.3),
    )


@pytest.fixture(autouse=True)
def as_in_a_worker() -> None:
    """Kernels that give the same bits again."""
    prepare_process(torch.get_num_threads())


def train_image(trial: Trial) -> Training:
    return train_image_child(figure7(), trial)


def train_words(trial: Trial) -> Training:
    return train_language_child(nascell(), trial)


def told(training: Training) -> list[tuple[float, float]]:
    assert training.status == "ok"
    return [(epoch.train_loss, epoch.validation_loss) for epoch in training.epochs]


@pytest.fixture
def replays(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """One entry a replayed pass."""
    replay, counted = torch.cuda.CUDAGraph.replay, []

    def count_and_replay(graph: torch.cuda.CUDAGraph) -> None:
        counted.append(1)
        replay(graph)

    monkeypatch.setattr(torch.cuda.CUDAGraph, "replay", count_and_replay)
    return counted


@pytest.mark.gpu
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("train", [train_image, train_words])
def test_replayed_passes_train_as_launched_ones(
    train: Callable[[Trial], Training],
    precision: Any,
    trial: Trial,
    replays: list[int],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    trial = replace(trial, child=replace(trial.child, precision=precision))
    trial = replace(trial, language=replace(trial.language, **UNDROPPED))
    replayed = train(trial)
    # forward and backward, in two epochs: 4 batches, or 14 whole windows of the 15
    passes = 2 * 2 * (4 if train is train_image else 14)
    assert len(replays) == passes
    for module in ("image_child", "language_child"):
        monkeypatch.setattr(f"tasks.{module}.recorded", lambda *_: nullcontext())
    launched = train(trial)
    assert len(replays) == passes
    np.testing.assert_allclose(told(replayed), told(launched), rtol=5e-3 if precision == "float32" else 1e-2)


@pytest.mark.gpu
@pytest.mark.parametrize("train", [train_image, train_words])
def test_a_gpu_gives_equal_numbers_again(train: Callable[[Trial], Training], trial: Trial, replays: list[int]) -> None:
    first, again, other = train(trial), train(trial), train(replace(trial, seed=6))
    assert told(first) == told(again) != told(other) and replays


@pytest.mark.gpu
@pytest.mark.parametrize("train", [train_image, train_words])
def test_a_child_leaves_no_memory_behind(train: Callable[[Trial], Training], trial: Trial, replays: list[int]) -> None:
    train(trial)
    free_memory()
    before = torch.cuda.memory_allocated()
    train(trial)
    assert torch.cuda.memory_allocated() <= before and replays


@pytest.mark.gpu
def test_recording_moves_nothing_and_other_passes_are_launched(replays: list[int]) -> None:
    network = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4)).cuda()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    sample, fewer = torch.rand(8, 3, device="cuda"), torch.rand(5, 3, device="cuda")
    with recorded(network, torch.float32, 1, sample):
        assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
        network(fewer).sum().backward()
        network.eval()(sample)
        assert not replays
        network.train()(sample).sum().backward()
        assert len(replays) == 2
    assert "forward" not in vars(network)
    with recorded(network, torch.float32, 2, sample):
        network(sample)
    assert len(replays) == 2


@pytest.mark.gpu
def test_memory_for_the_passes_alone_is_enough(replays: list[int]) -> None:
    """With less than recording takes, kernels are launched one by one."""
    linear, sample = nn.Linear(4_096, 4_096).cuda(), torch.rand(65_536, 4_096, device="cuda")  # 1 GiB
    network = nn.Sequential(linear, nn.ReLU(), linear)
    free_memory()
    torch.cuda.reset_peak_memory_stats()
    network(sample).sum().backward()
    needed, total = torch.cuda.max_memory_reserved(), torch.cuda.get_device_properties(0).total_memory
    network.zero_grad()
    for share, passes in ((1.1 * needed / total, 0), (1.0, 2)):
        free_memory()
        torch.cuda.set_per_process_memory_fraction(share)
        try:
            with recorded(network, torch.float32, 1, sample):
                network(sample).sum().backward()
        finally:
            torch.cuda.set_per_process_memory_fraction(1.0)
        assert len(replays) == passes


def test_on_a_cpu_nothing_is_recorded() -> None:
    network = nn.Linear(3, 4)
    with recorded(network, torch.float32, 1, torch.rand(8, 3)):
        assert "forward" not in vars(network)
