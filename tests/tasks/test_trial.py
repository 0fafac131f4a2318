import json
import math
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits

from models.conv_space import ConvArchitecture
from pipeline.journal import journal_line
from pipeline.rows import epoch_rows, result_row
from tasks.records import Epoch, Training, Trial
from tasks.settings import ChildSettings, DataSettings, SpaceSettings
from tasks.trial import reward, run_trial


def raise_memory_error(architecture: ConvArchitecture, trial: Trial) -> Training:
    raise MemoryError("no more")


def ask_for_too_much(architecture: ConvArchitecture, trial: Trial) -> Training:
    torch.empty(2**60)
    raise AssertionError


def train_without_training(architecture: ConvArchitecture, trial: Trial) -> Training:
    return Training("ok", 0.5, (), len(architecture.layers), 0, "cpu", "float32")


def diverge(architecture: ConvArchitecture, trial: Trial) -> Training:
    return Training("diverged", math.nan, (), 0, 0, "cpu", "float32")


def trial_of(task: str, tokens: tuple[int, ...] = (1, 1, 0, 0, 1, 1, 1, 0)) -> Trial:
    """A trial of two layers that needs no data."""
    child = ChildSettings(task=task, precision="float32")
    return Trial(3, 11, 2, tokens, SpaceSettings(options={"num_filters": [8, 16]}), child, DataSettings(), "", 3.0)


def own(function: str) -> str:
    return f"{__name__}:{function}"


@pytest.fixture(autouse=True)
def restored_threads() -> Iterator[None]:
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def digits_trial(tmp_path_factory: pytest.TempPathFactory) -> Trial:
    folder, digits = tmp_path_factory.mktemp("digits"), load_digits()
    np.save(folder / "images.npy", (digits.images[:, None] * 15).astype(np.uint8))
    np.save(folder / "labels.npy", digits.target.astype(np.int64))
    trial = trial_of("tasks.image_child:train_image_child")
    data = DataSettings(dataset="digits", num_validation=100, num_train=300, upsample=9, crop=8, flip=False)
    child = replace(trial.child, epochs=2, batch_size=32)
    return replace(trial, data_path=str(folder), data=data, child=child)


def test_the_reward_is_a_scale_times_a_power_of_the_metric() -> None:
    assert reward(100.0, -2.0, 80.0) == pytest.approx(0.008)
    for metric, power in ((0.0, -2.0), (-1.0, 0.5)):
        with pytest.raises(ValueError, match=f"a metric of {metric} cannot be raised to the power of {power}"):
            reward(metric, power)


def test_the_reward_is_the_accuracy_cubed() -> None:
    assert reward(0.5, 3.0) == 0.125
    result = run_trial(trial_of(own("train_without_training")))
    assert (result.trial_id, result.status, result.reward, result.error) == (3, "ok", 0.125, None)


def test_the_task_gets_the_architecture_that_the_tokens_spell() -> None:
    result = run_trial(trial_of(own("train_without_training")))
    assert result.training is not None
    assert result.training.parameters == 2


def test_a_child_is_trained_and_rewarded(digits_trial: Trial) -> None:
    result = run_trial(digits_trial)
    assert result.training is not None
    assert (result.status, result.error, len(result.training.epochs)) == ("ok", None, 2)
    assert result.reward == pytest.approx(result.training.metric**3)
    assert 0 < result.reward < 1
    assert result.seconds >= sum(epoch.seconds for epoch in result.training.epochs)


def test_equal_trials_have_equal_rewards(digits_trial: Trial) -> None:
    assert run_trial(digits_trial).reward == run_trial(digits_trial).reward


def test_a_diverged_child_is_rewarded_with_nothing(digits_trial: Trial) -> None:
    child = replace(digits_trial.child, learning_rate=1e30, epochs=100)
    result = run_trial(replace(digits_trial, child=child))
    assert result.training is not None
    assert (result.status, result.reward, result.error) == ("diverged", 0, None)
    assert math.isnan(result.training.metric)
    assert run_trial(trial_of(own("diverge"))).reward == 0


def test_a_child_that_took_too_long_is_rewarded_with_nothing(digits_trial: Trial) -> None:
    result = run_trial(replace(digits_trial, child=replace(digits_trial.child, timeout_minutes=1e-9)))
    assert (result.status, result.reward) == ("timed_out", 0)
    assert "child.timeout_minutes = 1e-09" in str(result.error)


@pytest.mark.parametrize(
    ("tokens", "message"),
    [
        ((1, 99, 0, 0, 1, 1, 1, 0), "token 99 for filter_width: allowed are 0 to 3"),
        ((1, 1, 1, 0, 1, 1, 1, 0), "token 1 for inputs: allowed are 0 to 0"),
        ((1, 1, 0), "num_filters is still to be decided"),
    ],
)
def test_bad_tokens_are_a_failure_whose_traceback_names_them(tokens: tuple[int, ...], message: str) -> None:
    result = run_trial(trial_of(own("train_without_training"), tokens))
    assert (result.status, result.reward, result.training) == ("invalid", 0, None)
    assert result.error is not None
    assert result.error.startswith("Traceback")
    assert message in result.error


def test_a_task_that_does_not_exist_is_a_failure() -> None:
    result = run_trial(trial_of("tasks.nowhere:train"))
    assert result.status == "failed"
    assert "No module named 'tasks.nowhere'" in str(result.error)


def test_missing_data_are_a_failure(digits_trial: Trial, tmp_path: Path) -> None:
    result = run_trial(replace(digits_trial, data_path=str(tmp_path)))
    assert (result.status, result.reward) == ("failed", 0)
    assert "images.npy" in str(result.error)


@pytest.mark.parametrize("task", ["raise_memory_error", "ask_for_too_much"])
def test_an_exhausted_memory_is_told_apart(task: str) -> None:
    result = run_trial(trial_of(own(task)))
    assert (result.status, result.reward, result.training) == ("out_of_memory", 0, None)
    assert task in str(result.error)


def test_a_trial_gets_its_threads() -> None:
    trial = trial_of(own("train_without_training"))
    run_trial(replace(trial, child=replace(trial.child, threads=2)))
    assert torch.get_num_threads() == 2


def give_a_number(architecture: ConvArchitecture, trial: Trial) -> float:
    return 0.5


def give_infinity(architecture: ConvArchitecture, trial: Trial) -> float:
    return math.inf


def test_a_task_may_return_its_metric_alone() -> None:
    result = run_trial(trial_of(own("give_a_number")))
    assert (result.status, result.reward, result.training) == ("ok", 0.125, Training("ok", 0.5))
    assert run_trial(trial_of(own("give_infinity"))).status == "diverged"


def give_nan_as_a_training(architecture: ConvArchitecture, trial: Trial) -> Training:
    return Training("ok", math.nan)


def give_numpys_numbers(architecture: ConvArchitecture, trial: Trial) -> Training:
    some = np.float32(0.25)
    epoch = Epoch(np.int64(0), *[some] * 7)
    return Training("ok", torch.tensor(0.5), (epoch,), np.int64(7), torch.tensor(9), torch.device("cpu"), torch.float32)  # type: ignore[arg-type]


def give_no_status(architecture: ConvArchitecture, trial: Trial) -> Training:
    return Training("good", 0.5)  # type: ignore[arg-type]


def give_a_large_number(architecture: ConvArchitecture, trial: Trial) -> float:
    return 2e7


def name_a_strange_file(architecture: ConvArchitecture, trial: Trial) -> float:
    raise ValueError(f"{os.fsdecode(b'no-utf-8-' + bytes([255]))}: no such file")


def test_numbers_of_any_library_become_rows() -> None:
    result = run_trial(trial_of(own("give_numpys_numbers")))
    assert (result.status, result.reward) == ("ok", 0.125)
    assert json.loads(journal_line({"results": [result_row(result, 0)], "epochs": epoch_rows(result)})[9:])
    assert result.training == Training("ok", 0.5, (Epoch(0, *[0.25] * 7),), 7, 9, "cpu", "torch.float32")


def test_an_error_can_be_written_whatever_it_names() -> None:
    error = run_trial(trial_of(own("name_a_strange_file"))).error
    assert error is not None and "no-utf-8-\\udcff: no such file" in error and error.encode()


def give_a_negative_number(architecture: ConvArchitecture, trial: Trial) -> float:
    return -0.5


def test_rewards_that_are_not_numbers_never_reach_the_controller() -> None:
    result = run_trial(trial_of(own("give_nan_as_a_training")))
    assert (result.status, result.reward) == ("diverged", 0.0)
    inverse = run_trial(replace(trial_of(own("give_infinity")), reward_power=-1.0))
    assert (inverse.status, inverse.reward) == ("diverged", 0.0)
    for task, message in (
        ("give_no_status", "'good' is no status of a Training; allowed: ok, diverged, too_large"),
        ("give_a_large_number", "a reward of 8e+21: allowed is up to 1e+12; search.reward_scale makes it less"),
    ):
        result = run_trial(trial_of(own(task)))
        assert result.status == "failed" and message in (result.error or "")
    result = run_trial(replace(trial_of(own("give_a_negative_number")), reward_power=0.5))
    assert result.status == "failed" and result.error is not None
    assert "a metric of -0.5 cannot be raised to the power of 0.5: search.reward_power" in result.error
