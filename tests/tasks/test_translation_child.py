import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from sacrebleu.metrics.bleu import BLEU

import tasks.epochs
import tasks.translation_child
from models.beam_search import END
from models.presets import nascell
from models.translation_model import TranslationModel, TranslationSizes
from tasks import parallel_data
from tasks.parallel_data import Batch, Pairs, load_parallel
from tasks.records import Epoch, Training, Trial
from tasks.settings import ChildSettings, DataSettings, SpaceSettings
from tasks.text_data import PADDING
from tasks.translation_child import (
    HeldOutPairs,
    evaluate_pairs,
    rate_at,
    train_translation_child,
    translate_held_out,
)
from tasks.translation_settings import TranslationSettings
from tasks.trial import run_trial

WORDS = 12


def sentences(count: int) -> tuple[list[list[int]], list[list[int]]]:
    """Sentences of 2 to 5 words, and translations: the words backwards, each one number higher."""
    generator = np.random.default_rng(0)
    source = [generator.integers(2, WORDS - 1, 2 + number % 4).tolist() for number in range(count)]
    return source, [[word + 1 for word in reversed(sentence)] for sentence in source]


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def make_trial(tmp_path: Path) -> Callable[..., Trial]:
    """A trial on a dozen sentences, which it is validated on too, for a cell as JSON data."""
    for split in ("train", "validation"):
        for side, lines in zip(("source", "target"), sentences(12), strict=True):
            np.save(tmp_path / f"{split}_{side}.npy", np.concatenate(lines).astype(np.int32))
            np.save(tmp_path / f"{split}_{side}_ends.npy", np.cumsum(list(map(len, lines))))
    for side in ("source", "target"):
        np.save(tmp_path / f"{side}_vocabulary.npy", np.array([f"word{number}" for number in range(WORDS)]))
    load_parallel.cache_clear()

    def make(cell: object = "lstm", **settings: float) -> Trial:
        small = {
            "encoder_layers": 1, "decoder_layers": 1, "hidden_units": 24, "embedding_size": 12, "dropout": 0.0,
            "init_range": 0.3, "epochs": 2, "batch_size": 4, "learning_rate": 0.02, "beam_width": 3,
        }  # fmt: skip
        return Trial(
            trial_id=0,
            seed=5,
            depth=1,
            tokens=(),
            space=SpaceSettings(function="models.given_cell:given_cell", options={"cell": cell}),
            child=ChildSettings(task="tasks.translation_child:train_translation_child", precision="float32"),
            data=DataSettings(dataset="text"),
            data_path=str(tmp_path),
            reward_power=-1.0,
            checkpoint_path=str(tmp_path / "children" / "training.pt"),
            weights_path=str(tmp_path / "weights.pt"),
            translation=TranslationSettings(**{**small, **settings}),
        )

    return make


def losses(training: Training) -> list[tuple[float, float]]:
    return [(epoch.train_loss, epoch.validation_loss) for epoch in training.epochs]


def test_a_dozen_sentences_are_learned_by_heart(make_trial: Callable[..., Trial]) -> None:
    trial = make_trial(nascell().to_json(), epochs=45, learning_rate=0.03)
    training = train_translation_child(nascell(), trial)
    assert training.status == "ok" and training.metric < 1.3
    translated = translate_held_out(HeldOutPairs(trial, trial.data_path, "validation"))
    assert translated.loss == pytest.approx(math.log(training.metric), abs=1e-5)
    told = [" ".join(map(str, hypothesis.words)) for hypothesis in translated.hypotheses]
    expected = [" ".join(map(str, sentence)) for sentence in sentences(12)[1]]
    assert BLEU(tokenize="none", force=True).corpus_score(told, [expected]).score > 90


def test_both_cells_have_as_many_parameters(make_trial: Callable[..., Trial]) -> None:
    plain, other = (
        train_translation_child(cell, make_trial(epochs=1, hidden_units=48)) for cell in ("lstm", nascell())
    )
    assert plain.parameters and other.parameters == pytest.approx(plain.parameters, rel=0.03)


def test_the_seed_decides_every_number(make_trial: Callable[..., Trial]) -> None:
    trial = make_trial(dropout=0.3)
    first, again = train_translation_child("lstm", trial), train_translation_child("lstm", trial)
    other = train_translation_child("lstm", replace(trial, seed=6))
    assert losses(first) == losses(again) != losses(other)


def test_a_training_goes_on_after_a_death_to_the_same_end(
    make_trial: Callable[..., Trial], monkeypatch: pytest.MonkeyPatch
) -> None:
    trial = make_trial(nascell().to_json(), epochs=4, dropout=0.2, adam_steps=7)
    expected = train_translation_child(nascell(), trial)
    weights = Path(trial.weights_path or "").read_bytes()
    often = replace(trial, child=replace(trial.child, checkpoint_minutes=1e-9))

    class Death(Exception):
        pass

    def die_in_the_third(number: int, *figures: object) -> Epoch:
        if number == 2:
            raise Death
        return epoch_of(number, *figures)  # type: ignore[arg-type]

    epoch_of = tasks.epochs.epoch_of
    monkeypatch.setattr("tasks.translation_child.epoch_of", die_in_the_third)
    with pytest.raises(Death):
        train_translation_child(nascell(), often)
    monkeypatch.undo()
    resumed = train_translation_child(nascell(), often)
    assert losses(resumed) == losses(expected)
    assert resumed.epochs[0].seconds != expected.epochs[0].seconds  # the epochs before the death are not run again
    assert torch.load(Path(trial.weights_path or ""), weights_only=True).keys()
    assert Path(trial.weights_path or "").read_bytes() == weights


def test_padding_is_no_part_of_the_loss() -> None:
    torch.manual_seed(0)
    model = TranslationModel(nascell(), 6, TranslationSizes(WORDS, WORDS, 5, 2, 2), init_range=0.5)
    source, target = sentences(9)
    one_after_the_other = (
        parallel_data.sentences(np.concatenate(side), np.cumsum([*map(len, side)]), padding, torch.device("cpu"))
        for side, padding in ((source, END), (target, PADDING))
    )
    pairs = Pairs(*one_after_the_other)
    alone = evaluate_pairs(model, pairs, 1, torch.float32)
    assert evaluate_pairs(model, pairs, 9, torch.float32) == pytest.approx(alone, rel=1e-5)
    total, count = 0.0, 0
    for words, said in zip(map(torch.tensor, source), map(torch.tensor, target), strict=True):
        ended = torch.cat([said, torch.tensor([END])])
        with torch.no_grad():
            logits = model(
                torch.cat([words, torch.tensor([END])]).unsqueeze(1),
                torch.tensor([len(words) + 1]),
                torch.cat([torch.tensor([END]), said]).unsqueeze(1),
            )
        total -= float(logits[:, 0].log_softmax(-1).gather(1, ended.unsqueeze(1)).sum())
        count += len(ended)
    assert alone == pytest.approx(total / count, rel=1e-5)


def test_a_gradient_that_is_not_finite_is_divergence(make_trial: Callable[..., Trial]) -> None:
    training = train_translation_child("rnn", make_trial(init_range=1e38))
    assert training.status == "diverged" and math.isnan(training.metric)


def test_a_training_may_take_too_long(make_trial: Callable[..., Trial]) -> None:
    trial = make_trial()
    late = replace(trial, child=replace(trial.child, timeout_minutes=1e-9))
    assert train_translation_child("lstm", late).status == "timed_out"


def test_the_rates_are_those_of_the_paper() -> None:
    """Adam at 0.0002 for 60K steps, SGD at 0.5 until 400K, then halved every 100K steps down to 0.1."""
    settings = TranslationSettings()
    steps = [0, 59_999, 60_000, 399_999, 400_000, 499_999, 500_000, 600_000, 799_999]
    assert [rate_at(settings, step) for step in steps] == [
        ("adam", 2e-4), ("adam", 2e-4), ("sgd", 0.5), ("sgd", 0.5), ("sgd", 0.25), ("sgd", 0.25), ("sgd", 0.125),
        ("sgd", 0.1), ("sgd", 0.1),
    ]  # fmt: skip


@pytest.mark.parametrize("batch_size", [5, 11])
def test_an_epoch_on_halves_of_the_batches_is_an_epoch_on_whole_ones(
    make_trial: Callable[..., Trial], batch_size: int
) -> None:
    """Without dropout. The last batch of 12 pairs is one of 2, or of 1 that cannot be halved."""
    told = []
    for micro_batches in (1, 2):
        trial = replace(make_trial(batch_size=batch_size), micro_batches=micro_batches)
        training = train_translation_child("lstm", trial)
        assert training.micro_batch == math.ceil(batch_size / micro_batches)
        told.append(losses(training))
    assert np.allclose(told[1], told[0], rtol=1e-4)


def test_where_memory_is_exhausted_halves_of_the_batches_are_tried(
    make_trial: Callable[..., Trial], monkeypatch: pytest.MonkeyPatch
) -> None:
    summed_loss = tasks.translation_child._summed_loss

    def holds_two(model: TranslationModel, batch: Batch, precision: torch.dtype) -> tuple[torch.Tensor, int]:
        if len(batch.rows) > 2:
            raise torch.OutOfMemoryError(f"CUDA out of memory: {len(batch.rows)} pairs")
        return summed_loss(model, batch, precision)

    monkeypatch.setattr("tasks.translation_child._summed_loss", holds_two)
    result = run_trial(make_trial())
    assert result.training is not None and result.status == "ok", result.error
    assert (result.attempts, result.training.micro_batch) == (2, 2) and "4 pairs" in str(result.error)
