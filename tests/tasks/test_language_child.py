import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional
from torch.utils.flop_counter import FlopCounterMode

import tasks.language_child
from models.cell_architecture import CellArchitecture, Node
from models.language_model import LanguageModel, count_parameters
from tasks.device import pick_device
from tasks.language_child import evaluate, learning_rate_at, train_language_child
from tasks.records import Epoch, Training, Trial
from tasks.settings import ChildSettings, DataSettings, LanguageSettings, SpaceSettings
from tasks.text_data import load_text
from tasks.trial import run_trial

TANH, ADD, MULTIPLY = Node("add", "tanh"), Node("add", "identity"), Node("elem_mult", "identity")
GATED = CellArchitecture((TANH, Node("add", "sigmoid"), MULTIPLY), TANH, 2, 1)
# c_t is twice the product of what came before: it squares at each step
EXPLODING = CellArchitecture((ADD, ADD, MULTIPLY), ADD, 2, 0)
BASELINES = SpaceSettings(function="models.baseline_space:baseline_space")
UNDROPPED = dict.fromkeys(("embedding_dropout", "input_dropout", "recurrent_dropout", "output_dropout"), 0.0)


@pytest.fixture
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def make_trial(tmp_path: Path, one_thread: None) -> Callable[..., Trial]:
    """A trial on a text of a few words, given as their numbers; validated on the same text."""

    def make(tokens: list[int], **language: float) -> Trial:
        np.save(tmp_path / "train.npy", np.array(tokens, np.int32))
        np.save(tmp_path / "validation.npy", np.array(tokens, np.int32))
        np.save(tmp_path / "vocabulary.npy", np.array([f"word{number}" for number in range(WORDS)]))
        load_text.cache_clear()
        settings = {"hidden_units": 8, "epochs": 3, "batch_size": 2, "steps": 5, "init_range": 0.3, **UNDROPPED}
        return Trial(
            trial_id=0,
            seed=5,
            depth=1,
            tokens=(0,),
            space=BASELINES,
            child=ChildSettings(task="tasks.language_child:train_language_child", precision="float32"),
            data=DataSettings(dataset="text"),
            data_path=str(tmp_path),
            reward_power=-2.0,
            reward_scale=80.0,
            language=LanguageSettings(**{**settings, **language}),
        )

    return make


WORDS = 12
RIDDLE = [1, 0, 0, 2, 0, 0] * 20  # what follows 0, 0 is what did not come before them


def perplexities(training: Training) -> list[float]:
    return [epoch.validation_metric for epoch in training.epochs]


def test_the_rate_is_constant_for_6_epochs_and_then_divided_by_1_2_each() -> None:
    rates = [learning_rate_at(LanguageSettings(), epoch) for epoch in range(35)]
    assert rates[:6] == [1.0] * 6
    assert rates[6:] == pytest.approx([1.2**-epoch for epoch in range(1, 30)])


@pytest.mark.parametrize("cell", [GATED, "lstm", "rnn"])
def test_a_child_learns_a_text_by_heart(cell: CellArchitecture, make_trial: Callable[..., Trial]) -> None:
    training = train_language_child(
        cell, make_trial(RIDDLE, epochs=25, constant_epochs=25, steps=10, learning_rate=0.3, init_range=0.5)
    )
    assert training.status == "ok"
    assert training.metric < 1.6  # who knows the frequencies alone has 2.4


def test_a_training_records_its_epochs_and_its_cost(make_trial: Callable[..., Trial]) -> None:
    trial = make_trial(RIDDLE, constant_epochs=1, rate_divisor=2.0)
    training = train_language_child(GATED, trial)
    assert [epoch.epoch for epoch in training.epochs] == [0, 1, 2]
    assert [epoch.learning_rate for epoch in training.epochs] == [1.0, 0.5, 0.25]
    for epoch in training.epochs:
        assert epoch.train_metric == pytest.approx(math.exp(epoch.train_loss))
        assert epoch.validation_metric == pytest.approx(math.exp(epoch.validation_loss))
        assert epoch.seconds > 0 and epoch.examples_per_second > 0
    assert training.metric == min(perplexities(training))
    assert training.parameters == count_parameters(GATED, WORDS, 8)
    assert (training.device, training.precision) == (str(pick_device()), "float32")


@pytest.mark.parametrize("shared", [False, True])
def test_flops_are_those_of_the_products_for_a_token(shared: bool, make_trial: Callable[..., Trial]) -> None:
    training = train_language_child(GATED, make_trial(RIDDLE, shared_embeddings=shared, epochs=1))
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        LanguageModel(GATED, WORDS, 8, tied=shared)(torch.zeros(1, 1, dtype=torch.int64))
    assert training.flops == counter.get_total_flops()


def test_the_seed_decides_every_number(make_trial: Callable[..., Trial]) -> None:
    trial = make_trial(RIDDLE, input_dropout=0.5, embedding_dropout=0.2)
    first, again = train_language_child(GATED, trial), train_language_child(GATED, trial)
    other = train_language_child(GATED, replace(trial, seed=6))
    assert perplexities(first) == perplexities(again) != perplexities(other)
    assert [epoch.train_loss for epoch in first.epochs] == [epoch.train_loss for epoch in again.epochs]


@pytest.mark.parametrize("settings", [{}, {"optimizer": "adam", "learning_rate": 0.01}])
def test_a_training_goes_on_after_a_death_to_the_same_end(
    settings: dict[str, object], make_trial: Callable[..., Trial], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trial = make_trial(RIDDLE, input_dropout=0.5, recurrent_dropout=0.2, epochs=4, **settings)
    expected = train_language_child(GATED, trial)
    often = replace(trial.child, checkpoint_minutes=1e-9)
    trial = replace(trial, child=often, checkpoint_path=str(tmp_path / "children" / "trial.pt"))
    begun = []

    def die_in_the_third(*arguments: Any) -> Epoch:
        begun.append(arguments[3])
        if begun == [0, 1, 2]:
            raise KeyboardInterrupt
        return run_epoch(*arguments)

    run_epoch = tasks.language_child._run_epoch
    monkeypatch.setattr("tasks.language_child._run_epoch", die_in_the_third)
    with pytest.raises(KeyboardInterrupt):
        train_language_child(GATED, trial)
    resumed = train_language_child(GATED, trial)
    assert begun == [0, 1, 2, 2, 3], "epochs before the death are not run again"
    assert perplexities(resumed) == perplexities(expected) and resumed.metric == expected.metric
    assert [epoch.train_loss for epoch in resumed.epochs] == [epoch.train_loss for epoch in expected.epochs]


def test_dropout_is_for_training_alone(make_trial: Callable[..., Trial]) -> None:
    """Without learning, the loss of training differs from that of validation by dropout alone."""
    trial = make_trial(RIDDLE, learning_rate=1e-12, epochs=1)
    plain, dropped = (
        train_language_child("rnn", replace(trial, language=replace(trial.language, output_dropout=share))).epochs[0]
        for share in (0.0, 0.9)
    )
    assert plain.train_loss == pytest.approx(plain.validation_loss)
    assert dropped.validation_loss == plain.validation_loss != pytest.approx(dropped.train_loss)


def test_the_state_is_carried_from_window_to_window(make_trial: Callable[..., Trial]) -> None:
    """In windows of one step nothing but the state tells what came before."""
    trial = make_trial(RIDDLE, steps=1, epochs=1, batch_size=2, init_range=1.0, learning_rate=1e-12)
    text = load_text(trial.data_path, torch.device("cpu"))
    training = train_language_child("rnn", trial)
    torch.manual_seed(trial.seed)
    model = LanguageModel("rnn", WORDS, 8, init_range=1.0)
    whole = evaluate(model, text.validation, replace(trial.language, steps=1_000), torch.float32)
    assert training.epochs[0].train_loss == pytest.approx(whole)
    assert training.epochs[0].validation_loss == pytest.approx(whole)
    logits = model(text.validation[None, :-1])[0].detach()  # each token without what came before
    assert float(functional.cross_entropy(logits[0], text.validation[1:])) != pytest.approx(whole, abs=0.01)


def test_gradients_are_clipped(make_trial: Callable[..., Trial]) -> None:
    """A step of rate 1 moves the weights by no more than the norm allows."""
    trial = make_trial(RIDDLE, epochs=1, clip_norm=1e-9)
    unmoved = train_language_child("lstm", trial).epochs[0]
    still = replace(trial, language=replace(trial.language, learning_rate=1e-12))
    assert unmoved.validation_loss == pytest.approx(train_language_child("lstm", still).epochs[0].validation_loss)
    moved = train_language_child("lstm", replace(trial, language=replace(trial.language, clip_norm=5.0))).epochs[0]
    assert moved.validation_loss != pytest.approx(unmoved.validation_loss)


def test_a_huge_rate_diverges_and_is_rewarded_with_nothing(make_trial: Callable[..., Trial]) -> None:
    """Clipped as it is, a step of 1e6 ends in a model that is worse than one that knows nothing."""
    trial = make_trial(RIDDLE, learning_rate=1e6, epochs=1_000)
    result = run_trial(trial)
    assert result.training is not None
    assert (result.status, result.reward, result.error) == ("diverged", 0.0, None)
    assert math.isnan(result.training.metric)
    assert len(result.training.epochs) < 5


def test_a_cell_that_explodes_diverges_in_its_first_epoch(make_trial: Callable[..., Trial]) -> None:
    training = train_language_child(EXPLODING, make_trial(RIDDLE, init_range=30.0, steps=50, epochs=1_000))
    assert (training.status, training.epochs) == ("diverged", ())
    assert math.isnan(training.metric)


def test_a_child_is_rewarded_with_c_over_its_perplexity_squared(make_trial: Callable[..., Trial]) -> None:
    result = run_trial(make_trial(RIDDLE))
    assert result.training is not None and result.status == "ok"
    assert result.reward == pytest.approx(80 / result.training.metric**2)


def test_a_child_that_takes_too_long_is_stopped(make_trial: Callable[..., Trial]) -> None:
    trial = make_trial(RIDDLE, epochs=1_000_000)
    training = train_language_child("rnn", replace(trial, child=replace(trial.child, timeout_minutes=1e-9)))
    assert (training.status, training.epochs) == ("timed_out", ())


def test_a_child_that_is_too_large_is_not_trained(make_trial: Callable[..., Trial]) -> None:
    trial = make_trial(RIDDLE, epochs=1)
    trained = train_language_child(GATED, trial)
    assert trained.parameters is not None and trained.flops is not None
    for bounds in ({"max_parameters": trained.parameters - 1}, {"max_flops": trained.flops - 1}):
        training = train_language_child(GATED, replace(trial, **bounds))
        assert (training.status, training.epochs, training.parameters) == ("too_large", (), trained.parameters)
    at_the_bound = replace(trial, max_parameters=trained.parameters, max_flops=trained.flops)
    assert train_language_child(GATED, at_the_bound).status == "ok"


def test_hidden_units_follow_from_a_number_of_parameters(make_trial: Callable[..., Trial]) -> None:
    counts = {
        cell: train_language_child(cell, make_trial(RIDDLE, hidden_units=None, parameters=5_000, epochs=1)).parameters
        for cell in (GATED, "lstm", "rnn")
    }
    assert all(count == pytest.approx(5_000, rel=0.1) for count in counts.values())
    with pytest.raises(ValueError, match="10 parameters"):
        train_language_child("lstm", make_trial(RIDDLE, hidden_units=None, parameters=10))


def test_validation_counts_every_token_but_the_first(make_trial: Callable[..., Trial]) -> None:
    """A model that prefers one word tells how often it was counted."""
    trial = make_trial(RIDDLE)
    tokens = load_text(trial.data_path, torch.device("cpu")).validation
    model = LanguageModel("rnn", WORDS, 8)
    for weight in model.parameters():
        torch.nn.init.zeros_(weight)
    model.softmax.bias.data[1] = 2.0
    counted = int((tokens[1:] == 1).sum())
    expected = math.log(math.exp(2) + WORDS - 1) - 2 * counted / (len(tokens) - 1)
    for batch_size in (1, 2, 7, 500):
        language = replace(trial.language, batch_size=batch_size)
        assert evaluate(model, tokens, language, torch.float32) == pytest.approx(expected, abs=1e-5)
