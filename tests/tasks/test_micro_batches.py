"""Batches in parts: the same gradient, and a second try where memory is exhausted."""

import copy
import gc
import math
import weakref
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from models.cell_architecture import CellArchitecture, Node
from models.conv_space import ConvArchitecture
from models.language_model import LanguageModel
from tasks.image_child import _train as train_on_images
from tasks.language_child import LanguageTraining, evaluate
from tasks.language_child import _train as train_on_text
from tasks.micro_batches import micro_batch, train_as_memory_allows
from tasks.records import Training, Trial
from tasks.settings import ChildSettings, DataSettings, LanguageSettings, SpaceSettings
from tasks.trial import run_trial

TOKENS = torch.randint(12, (61,), generator=torch.Generator().manual_seed(0))
CELL = CellArchitecture((Node("add", "tanh"), Node("add", "sigmoid"), Node("elem_mult", "identity")),
                        Node("add", "tanh"), 2, 1)  # fmt: skip


def trial_of(task: str, **child: int) -> Trial:
    settings = ChildSettings(task=f"{__name__}:{task}", **child)  # type: ignore[arg-type]
    space = SpaceSettings(options={"num_filters": [8, 16]})
    return Trial(3, 11, 2, (1, 1, 0, 0, 1, 1, 1, 0), space, settings, DataSettings(), "", 3.0)


def exhaust(architecture: ConvArchitecture, trial: Trial) -> Training:
    """Memory holds 8 examples."""
    return train_as_memory_allows(_train_8, trial, trial.child.batch_size)


def _train_8(trial: Trial) -> Training:
    size = micro_batch(trial.child.batch_size, trial)
    if size > 8:
        raise torch.OutOfMemoryError(f"CUDA out of memory: {size} examples")
    return Training("ok", 0.5, micro_batch=size)


def test_exhausted_memory_has_a_second_try_with_half_of_a_batch_and_says_so() -> None:
    result = run_trial(trial_of("exhaust", batch_size=15))
    assert result.training is not None and result.error is not None
    assert (result.status, result.attempts, result.training.micro_batch) == ("ok", 2, 8)
    assert "batches of 15" in result.error and "CUDA out of memory: 15 examples" in result.error
    result = run_trial(trial_of("exhaust", batch_size=8))
    assert (result.attempts, result.error, result.training and result.training.micro_batch) == (1, None, 8)


def test_there_is_no_third_try() -> None:
    result = run_trial(trial_of("exhaust", batch_size=17))
    assert result.status == "out_of_memory" and "CUDA out of memory: 9 examples" in str(result.error)


def test_the_first_try_has_left_the_memory_before_the_second_begins() -> None:
    held: list[weakref.ref[Tensors]] = []

    def train(trial: Trial) -> Training:
        if trial.micro_batches == 1:
            tensors = Tensors()
            held.append(weakref.ref(tensors))
            raise MemoryError
        assert held[0]() is None
        return Training("ok", 0.5)

    gc.disable()
    try:
        train_as_memory_allows(train, trial_of("exhaust"), 16)
    finally:
        gc.enable()


class Tensors:
    """Something that takes memory."""


@pytest.mark.parametrize(("error", "batch_size"), [(ValueError("a bug"), 16), (MemoryError(), 3)])
def test_other_errors_and_batches_that_cannot_be_halved_have_one_try(error: Exception, batch_size: int) -> None:
    tries = []

    def train(trial: Trial) -> Training:
        tries.append(trial.micro_batches)
        raise error

    with pytest.raises(type(error)):
        train_as_memory_allows(train, trial_of("exhaust"), batch_size)
    assert tries == [1]


def test_a_step_on_parts_of_a_batch_of_images_is_a_step_on_the_batch() -> None:
    """Without batch norm."""
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 36, 10)).double()
    images, labels = torch.randn(2, 7, 1, 8, 8, dtype=torch.float64), torch.randint(10, (2, 7))
    told, weights = [], []
    for parts in (1, 2, 3):
        copied = copy.deepcopy(network)
        optimizer = torch.optim.SGD(copied.parameters(), lr=0.1)
        batches = iter(zip(images, labels, strict=True))
        told.append(train_on_images(copied, optimizer, batches, torch.float32, math.inf, parts))
        weights.append(nn.utils.parameters_to_vector(copied.parameters()))
    assert not torch.allclose(weights[0], nn.utils.parameters_to_vector(network.parameters()))
    for other in (1, 2):
        torch.testing.assert_close(weights[other], weights[0], rtol=1e-6, atol=1e-9)  # the loss is in float32
        assert told[other] == pytest.approx(told[0])


@pytest.mark.parametrize("batch_size", [1, 2, 5])
def test_an_epoch_on_parts_of_the_columns_is_an_epoch_on_all(batch_size: int) -> None:
    """Without dropout; the state goes on from window to window in each part."""
    torch.manual_seed(0)
    language = LanguageSettings(batch_size=batch_size, steps=4)
    model = LanguageModel(CELL, 12, 8, num_layers=2)
    told, weights = [], []
    for parts in (1, 2):
        copied = copy.deepcopy(model)
        training = LanguageTraining(copied, torch.optim.SGD(copied.parameters(), lr=0.5))
        loss = train_on_text(training, TOKENS, language, torch.float32, math.inf, parts)
        told.append((loss, evaluate(training.model, TOKENS, language, torch.float32, parts)))
        weights.append(nn.utils.parameters_to_vector(training.model.parameters()))
    assert not torch.allclose(weights[0], nn.utils.parameters_to_vector(model.parameters()))
    torch.testing.assert_close(weights[1], weights[0], rtol=1e-4, atol=1e-5)
    assert told[1] == pytest.approx(told[0], rel=1e-5)


@pytest.mark.gpu
def test_the_memory_of_a_gpu_that_holds_half_a_batch_is_enough(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    chance = np.random.default_rng(0)
    np.save(tmp_path / "images.npy", chance.integers(0, 256, (1_124, 3, 32, 32), dtype=np.uint8))
    np.save(tmp_path / "labels.npy", chance.integers(0, 10, 1_124))
    trial = replace(
        trial_of("exhaust", batch_size=512, epochs=1),
        child=ChildSettings(batch_size=512, epochs=1, reward_epochs=1),
        space=SpaceSettings(options={"num_filters": [256, 8]}),
        data=DataSettings(num_train=1_024, num_validation=100),
        data_path=str(tmp_path),
    )
    with monkeypatch.context() as patch:
        patch.setattr("tasks.image_child.recorded", lambda *_: nullcontext())
        whole, _ = memory_of(trial)
        _, half = memory_of(replace(trial, micro_batches=2))
    assert whole > 1.1 * half, "half a batch was meant to need less"
    torch.cuda.empty_cache()
    total = torch.cuda.get_device_properties(0).total_memory
    torch.cuda.set_per_process_memory_fraction((whole + half) / 2 / total)
    try:
        result = run_trial(trial)
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    assert result.status == "ok" and result.training is not None, result.error
    assert (result.attempts, result.training.micro_batch) == (2, 256)
    assert "out of memory" in str(result.error) and "batches of 512" in str(result.error)


def memory_of(trial: Trial) -> tuple[int, int]:
    """What a child's tensors take at most, and what the allocator takes for them, in bytes."""
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    result = run_trial(trial)
    assert (result.status, result.attempts) == ("ok", 1), result.error
    return torch.cuda.max_memory_allocated(), torch.cuda.max_memory_reserved()
