"""Train a language model around a recurrent cell (section 4.2)."""

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor
from torch.nn import functional

from models.cell_formula import Cell
from models.language_model import Dropouts, LanguageModel, count_parameters, hidden_units_for
from models.recurrent import State
from tasks.child_checkpoint import ChildCheckpoint
from tasks.cuda_graphs import recorded
from tasks.device import autocast, pick_device, pick_precision
from tasks.epochs import clip_and_check, epoch_of, run_epochs
from tasks.micro_batches import micro_batch, train_as_memory_allows
from tasks.records import Epoch, Training, Trial
from tasks.settings import LanguageSettings
from tasks.text_data import PADDING, TextData, load_text, windows


@dataclass
class LanguageTraining:
    """All that an epoch starts from, since its random numbers come from its number."""

    model: LanguageModel
    optimizer: torch.optim.Optimizer


def train_language_child(cell: Cell, trial: Trial) -> Training:
    """Train the model of a cell. Its metric is the lowest validation perplexity of its epochs.

    A child diverges where its gradient is not finite, or where after an epoch it predicts the validation text worse
    than one that knows nothing: the perplexity of that is the size of the vocabulary.

    Where all columns of the text exhaust the memory it is trained once more, with half of them at a time: but for what
    dropout draws, the same gradient.
    """
    return train_as_memory_allows(partial(_train_child, cell), trial, trial.language.batch_size)


def _train_child(cell: Cell, trial: Trial) -> Training:
    device = pick_device()
    precision = pick_precision(trial.child.precision, device)
    text = load_text(trial.data_path, device)
    language, vocabulary_size = trial.language, text.vocabulary_size
    hidden_units = hidden_units_of(cell, vocabulary_size, language)
    parameters = count_parameters(cell, vocabulary_size, hidden_units, *_shape(language))
    looked_up = 0 if language.shared_embeddings else vocabulary_size * (language.embedding_size or hidden_units)
    flops = 2 * (parameters - looked_up - vocabulary_size)  # a token: the embeddings are looked up, the bias is added
    if parameters > (trial.max_parameters or math.inf) or flops > (trial.max_flops or math.inf):
        return Training("too_large", math.nan, parameters=parameters, flops=flops)
    torch.manual_seed(trial.seed)
    model = build_model(cell, vocabulary_size, hidden_units, language).to(device)
    training = LanguageTraining(model, _optimizer(model, language))
    checkpoint = ChildCheckpoint(trial, model=model, optimizer=training.optimizer)

    def run_epoch(number: int, deadline: float) -> Epoch:
        return _run_epoch(training, text, trial, number, precision, deadline)

    with recorded(model, precision, trial.micro_batches, *_sample(text, language, model)):
        status, metric, epochs = run_epochs(trial, model, checkpoint, language.epochs, vocabulary_size, run_epoch)
    name, at_a_time = str(precision).removeprefix("torch."), micro_batch(language.batch_size, trial)
    return Training(status, metric, epochs, parameters, flops, str(device), name, at_a_time)


def learning_rate_at(language: LanguageSettings, epoch: int) -> float:
    """The rate of an epoch, counted from 0: constant at first, then divided by `rate_divisor` each epoch."""
    return language.learning_rate / language.rate_divisor ** max(0, epoch + 1 - language.constant_epochs)


@torch.inference_mode()
def evaluate(
    model: LanguageModel, tokens: Tensor, language: LanguageSettings, precision: torch.dtype, micro_batches: int = 1
) -> float:
    """Mean cross-entropy in nats of every token of a text (tokens,) but the first.

    The text is read in `batch_size` columns at once, each from an empty state.
    """
    model.eval()
    total, states = torch.zeros((), device=tokens.device), dict[int, State]()
    for inputs, targets in windows(tokens, language.batch_size, language.steps):
        for part, (some_inputs, some_targets) in enumerate(_parts(inputs, targets, micro_batches)):
            with autocast(tokens.device, precision):
                logits, states[part] = model(some_inputs, states.get(part))
            total += _summed_loss(logits, some_targets)
    return float(total) / (len(tokens) - 1)


def hidden_units_of(cell: Cell, vocabulary_size: int, language: LanguageSettings) -> int:
    """Hidden units of a layer: those that are set, or as many as come closest to the parameters."""
    if language.hidden_units is not None:
        return language.hidden_units
    return hidden_units_for(language.parameters, cell, vocabulary_size, *_shape(language))


def _shape(language: LanguageSettings) -> tuple[int, bool, int | None]:
    """What decides the number of parameters besides the hidden units."""
    return language.num_layers, language.shared_embeddings, language.embedding_size


def build_model(cell: Cell, vocabulary_size: int, hidden_units: int, language: LanguageSettings) -> LanguageModel:
    """The model of a child, with weights from torch's global generator."""
    return LanguageModel(
        cell,
        vocabulary_size,
        hidden_units,
        num_layers=language.num_layers,
        tied=language.shared_embeddings,
        embedding_size=language.embedding_size,
        dropouts=Dropouts(
            embedding=language.embedding_dropout,
            inputs=language.input_dropout,
            recurrent=language.recurrent_dropout,
            output=language.output_dropout,
        ),
        init_range=language.init_range,
    )


def _optimizer(model: LanguageModel, language: LanguageSettings) -> torch.optim.Optimizer:
    kind = torch.optim.Adam if language.optimizer == "adam" else torch.optim.SGD
    return kind(model.parameters(), lr=language.learning_rate, weight_decay=language.weight_decay)


def _run_epoch(
    training: LanguageTraining,
    text: TextData,
    trial: Trial,
    number: int,
    precision: torch.dtype,
    deadline: float,
) -> Epoch:
    """Train and validate once. Raises TimeoutError and FloatingPointError as `_train` does."""
    started, language = time.monotonic(), trial.language
    rate = learning_rate_at(language, number)
    for group in training.optimizer.param_groups:
        group["lr"] = rate
    train_loss = _train(training, text.train, language, precision, deadline, trial.micro_batches)
    trained = time.monotonic()
    validation_loss = evaluate(training.model, text.validation, language, precision, trial.micro_batches)
    seconds = trained - started, time.monotonic() - started
    return epoch_of(number, train_loss, validation_loss, rate, seconds, len(text.train) - 1)


def _train(
    training: LanguageTraining,
    tokens: Tensor,
    language: LanguageSettings,
    precision: torch.dtype,
    deadline: float,
    micro_batches: int = 1,
) -> float:
    """Mean cross-entropy in nats of the tokens trained on; the state is carried from window to window.

    A step takes the gradient of all columns, which is the sum of those of its parts.

    Raises FloatingPointError once the gradient is not finite, and TimeoutError once the deadline has passed.
    """
    training.model.train()
    losses, states = [], dict[int, State]()
    for inputs, targets in windows(tokens, language.batch_size, language.steps):
        training.optimizer.zero_grad()
        # SGD's rate is made for the sum over a column, what Adam's gradient is clipped at for the mean of all tokens
        count = inputs.shape[1] if language.optimizer == "sgd" else int((targets != PADDING).sum())
        for part, (some_inputs, some_targets) in enumerate(_parts(inputs, targets, micro_batches)):
            state = states.get(part) or training.model.recurrent.empty_state(some_inputs.shape[1])
            with autocast(tokens.device, precision):
                logits, state = training.model(some_inputs, state)
            states[part] = (state[0].detach(), state[1].detach())
            loss = _summed_loss(logits, some_targets)
            (loss / count).backward()  # type: ignore[no-untyped-call]
            losses.append(loss.detach())
        clip_and_check(training.model, language.clip_norm)
        training.optimizer.step()
        if time.monotonic() > deadline:
            raise TimeoutError
    return float(torch.stack(losses).sum()) / (len(tokens) - 1)


def _sample(text: TextData, language: LanguageSettings, model: LanguageModel) -> tuple[Tensor, State]:
    """Words and a state as a whole window has them, but for their values."""
    inputs, _ = next(windows(text.train, language.batch_size, language.steps))
    return inputs, model.recurrent.empty_state(inputs.shape[1])


def _parts(inputs: Tensor, targets: Tensor, number: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Inputs and targets, each (time, columns), by the columns in so many parts."""
    return zip(inputs.chunk(number, 1), targets.chunk(number, 1), strict=True)


def _summed_loss(logits: Tensor, targets: Tensor) -> Tensor:
    """Cross-entropy in nats of logits (time, columns, vocabulary), summed over the targets (time, columns)."""
    return functional.cross_entropy(
        logits.flatten(0, 1).float(), targets.flatten(), ignore_index=PADDING, reduction="sum"
    )
