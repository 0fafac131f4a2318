"""Train a translation model around a recurrent cell (section 4.2)."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor
from torch.nn import functional

from models.beam_search import Hypothesis, beam_search
from models.cell_formula import Cell
from models.space import SearchSpace
from models.translation_model import TranslationModel, TranslationSizes, count_parameters, hidden_units_for
from tasks.child_checkpoint import ChildCheckpoint
from tasks.device import autocast, pick_device, pick_precision, prepare_process
from tasks.epochs import clip_and_check, epoch_of, run_epochs
from tasks.micro_batches import micro_batch, train_as_memory_allows
from tasks.parallel_data import Batch, Pairs, ParallelData, batch_of, batches, load_pairs, load_parallel
from tasks.records import Epoch, Training, Trial
from tasks.seeds import derive_seed
from tasks.text_data import PADDING
from tasks.translation_settings import TranslationSettings
from tasks.weights import load_weights

TRANSLATED_AT_ONCE = 32  # sentences


@dataclass(frozen=True)
class TranslationTraining:
    """All that an epoch starts from, since its random numbers come from its number."""

    model: TranslationModel
    adam: torch.optim.Adam
    sgd: torch.optim.SGD  # without momentum: it has no state


@dataclass(frozen=True)
class HeldOutPairs:
    """Translate the source sentences of one split of `arrays`, a folder, with the weights that a trial has left."""

    trial: Trial
    arrays: str
    split: str


@dataclass(frozen=True)
class Translations:
    """What a model makes of a split: the mean cross-entropy (nats) of the references, and its own translations."""

    loss: float
    hypotheses: tuple[Hypothesis, ...]


def train_translation_child(cell: Cell, trial: Trial) -> Training:
    """Train the translation model of a cell. Its metric is the lowest validation perplexity of its epochs.

    It has as many parameters as one of LSTMs with the settings' hidden units, or as many as come closest.

    Where a batch exhausts the memory it is trained once more, with half of one at a time: but for what dropout draws,
    the same gradient.
    """
    return train_as_memory_allows(partial(_train_child, cell), trial, _settings(trial).batch_size)


def _train_child(cell: Cell, trial: Trial) -> Training:
    device, settings = pick_device(), _settings(trial)
    precision = pick_precision(trial.child.precision, device)
    data = load_parallel(trial.data_path, device)
    torch.manual_seed(trial.seed)
    model = build_translation_model(cell, data, settings).to(device)
    adam, sgd = torch.optim.Adam(model.parameters()), torch.optim.SGD(model.parameters())
    training = TranslationTraining(model, adam, sgd)
    checkpoint = ChildCheckpoint(trial, model=model, adam=adam)

    def run_epoch(number: int, deadline: float) -> Epoch:
        generator = torch.Generator().manual_seed(derive_seed(trial.seed, "order", number))
        return _run_epoch(training, data, trial, number, generator, precision, deadline)

    words = data.target_vocabulary
    status, metric, epochs = run_epochs(trial, model, checkpoint, settings.epochs, words, run_epoch)
    parameters, name = sum(weight.numel() for weight in model.parameters()), str(precision).removeprefix("torch.")
    at_a_time = micro_batch(settings.batch_size, trial)
    return Training(status, metric, epochs, parameters, None, str(device), name, at_a_time)


def build_translation_model(cell: Cell, data: ParallelData, settings: TranslationSettings) -> TranslationModel:
    """A model as large as one of LSTMs, with weights from torch's global generator."""
    sizes = TranslationSizes(
        data.source_vocabulary,
        data.target_vocabulary,
        settings.embedding_size,
        settings.encoder_layers,
        settings.decoder_layers,
    )
    units = hidden_units_for(count_parameters("lstm", settings.hidden_units, sizes), cell, sizes)
    return TranslationModel(cell, units, sizes, dropout=settings.dropout, init_range=settings.init_range)


def rate_at(settings: TranslationSettings, step: int) -> tuple[str, float]:
    """The optimizer, adam or sgd, and the rate of a step, counted from 0 (section 4.2)."""
    if step < settings.adam_steps:
        return "adam", settings.learning_rate
    halvings = 0 if step < settings.halve_after else 1 + (step - settings.halve_after) // settings.halve_every
    return "sgd", max(settings.sgd_rate * 0.5**halvings, min(settings.lowest_rate, settings.sgd_rate))


@torch.inference_mode()
def evaluate_pairs(model: TranslationModel, pairs: Pairs, batch_size: int, precision: torch.dtype) -> float:
    """Mean cross-entropy in nats of a word of the translations, their ends included, given the words before it."""
    model.eval()
    total, count = 0.0, 0
    for batch in batches(pairs, batch_size):
        loss, words = _summed_loss(model, batch, precision)
        total, count = total + float(loss), count + words
    return total / count


def translate_held_out(request: HeldOutPairs) -> Translations:
    """Evaluate a trained model on pairs that it was not trained on, and translate them in their order."""
    trial, device, settings = request.trial, pick_device(), _settings(request.trial)
    prepare_process(trial.child.threads)
    assert trial.weights_path is not None, "only a training that keeps its weights can be evaluated"
    precision = pick_precision(trial.child.precision, device)
    cell = SearchSpace(trial.space.function, trial.space.options).decode(trial.depth, trial.tokens)
    model = build_translation_model(cell, load_parallel(trial.data_path, device), settings)
    load_weights(trial.weights_path, model)
    model = model.to(device)
    pairs = load_pairs(request.arrays, request.split, device)
    loss = evaluate_pairs(model, pairs, settings.batch_size, precision)
    found: dict[int, Hypothesis] = {}
    for batch in batches(pairs, TRANSLATED_AT_ONCE):
        with autocast(device, precision):
            best = beam_search(
                model, batch.source, batch.lengths, width=settings.beam_width, alpha=settings.length_penalty
            )
        found |= dict(zip(batch.rows.tolist(), best, strict=True))
    return Translations(loss, tuple(found[row] for row in range(len(pairs))))


def _settings(trial: Trial) -> TranslationSettings:
    assert trial.translation is not None, "a trial of a translation model has its settings"
    return trial.translation


def _run_epoch(
    training: TranslationTraining,
    data: ParallelData,
    trial: Trial,
    number: int,
    generator: torch.Generator,
    precision: torch.dtype,
    deadline: float,
) -> Epoch:
    """Train and validate once. Raises FloatingPointError once the gradient is not finite, and TimeoutError."""
    started, model, total, count, rate = time.monotonic(), training.model, 0.0, 0, 0.0
    settings = _settings(trial)
    model.train()
    step = number * -(-len(data.train) // settings.batch_size)  # batches of the epochs before
    for batch in batches(data.train, settings.batch_size, generator):
        name, rate = rate_at(settings, step)
        optimizer = training.adam if name == "adam" else training.sgd
        optimizer.param_groups[0]["lr"] = rate
        optimizer.zero_grad()
        for part in _parts(data.train, batch, trial.micro_batches):
            loss, words = _summed_loss(model, part, precision)
            (loss / len(batch.rows)).backward()  # type: ignore[no-untyped-call]
            total, count = total + float(loss.detach()), count + words
        clip_and_check(model, settings.clip_norm)
        optimizer.step()
        step += 1
        if time.monotonic() > deadline:
            raise TimeoutError
    trained = time.monotonic()
    validation_loss = evaluate_pairs(model, data.validation, micro_batch(settings.batch_size, trial), precision)
    seconds = trained - started, time.monotonic() - started
    return epoch_of(number, total / count, validation_loss, rate, seconds, count)


def _parts(pairs: Pairs, batch: Batch, number: int) -> Sequence[Batch]:
    """A batch in so many parts, or fewer where it has fewer pairs."""
    return [batch] if number == 1 else [batch_of(pairs, rows) for rows in batch.rows.chunk(number)]


def _summed_loss(model: TranslationModel, batch: Batch, precision: torch.dtype) -> tuple[Tensor, int]:
    """The cross-entropy in nats of the words of a batch's translations, summed, and how many there are."""
    with autocast(batch.source.device, precision):
        logits = model(batch.source, batch.lengths, batch.inputs)
    loss = functional.cross_entropy(
        logits.flatten(0, 1).float(), batch.targets.flatten(), ignore_index=PADDING, reduction="sum"
    )
    return loss, int((batch.targets != PADDING).sum())
