"""Train a language model around a recurrent cell (section 4.2)."""

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial

import torch
from torch import Tensor
from torch.nn import functional

from models.cell_formula import Cell
from models.language_model import Dropouts, LanguageModel, count_parameters, hidden_units_for
from models.recurrent import State
from tasks.child_checkpoint import ChildCheckpoint
from tasks.device import autocast, pick_device, pick_precision
from tasks.micro_batches import micro_batch, train_as_memory_allows
from tasks.records import Epoch, Status, Training, Trial
from tasks.seeds import derive_seed
from tasks.settings import LanguageSettings
from tasks.text_data import PADDING, TextData, load_text, windows
from tasks.weights import save_weights


@dataclass
class LanguageTraining:
    """A training under way: all that it takes to go on, since an epoch's random numbers come from its number."""

    model: LanguageModel
    optimizer: torch.optim.SGD
    epochs: list[Epoch] = field(default_factory=list)


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
    parameters = count_parameters(cell, vocabulary_size, hidden_units, language.num_layers, language.shared_embeddings)
    looked_up = 0 if language.shared_embeddings else vocabulary_size * hidden_units
    flops = 2 * (parameters - looked_up - vocabulary_size)  # a token: the embeddings are looked up, the bias is added
    if parameters > (trial.max_parameters or math.inf) or flops > (trial.max_flops or math.inf):
        return Training("too_large", math.nan, parameters=parameters, flops=flops)
    torch.manual_seed(trial.seed)
    model = build_model(cell, vocabulary_size, hidden_units, language).to(device)
    training = LanguageTraining(model, torch.optim.SGD(model.parameters(), lr=language.learning_rate))
    checkpoint = ChildCheckpoint(trial, model=model, optimizer=training.optimizer)
    training.epochs += checkpoint.restore()
    spent = sum(epoch.seconds for epoch in training.epochs)
    deadline = time.monotonic() + 60 * (trial.child.timeout_minutes or math.inf) - spent
    status: Status = "ok"
    while len(training.epochs) < language.epochs and status == "ok":
        try:
            _run_epoch(training, text, trial, precision, deadline)
            if training.epochs[-1].validation_metric > vocabulary_size:
                status = "diverged"
            else:
                if trial.weights_path and _is_best(training.epochs):
                    save_weights(trial.weights_path, model)
                checkpoint.save_when_due(training.epochs)
        except TimeoutError:
            status = "timed_out"
        except FloatingPointError:
            status = "diverged"
    metric = min(epoch.validation_metric for epoch in training.epochs) if status == "ok" else math.nan
    name, at_a_time = str(precision).removeprefix("torch."), micro_batch(language.batch_size, trial)
    return Training(status, metric, tuple(training.epochs), parameters, flops, str(device), name, at_a_time)


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


def _is_best(epochs: list[Epoch]) -> bool:
    """Whether the last of some epochs has the lowest validation perplexity."""
    return epochs[-1].validation_metric < min([epoch.validation_metric for epoch in epochs[:-1]], default=math.inf)


def hidden_units_of(cell: Cell, vocabulary_size: int, language: LanguageSettings) -> int:
    """Hidden units of a layer: those that are set, or as many as come closest to the parameters."""
    if language.hidden_units is not None:
        return language.hidden_units
    return hidden_units_for(language.parameters, cell, vocabulary_size, language.num_layers, language.shared_embeddings)


def build_model(cell: Cell, vocabulary_size: int, hidden_units: int, language: LanguageSettings) -> LanguageModel:
    """The model of a child, with weights from torch's global generator."""
    return LanguageModel(
        cell,
        vocabulary_size,
        hidden_units,
        num_layers=language.num_layers,
        tied=language.shared_embeddings,
        dropouts=Dropouts(
            embedding=language.embedding_dropout,
            inputs=language.input_dropout,
            recurrent=language.recurrent_dropout,
            output=language.output_dropout,
        ),
        init_range=language.init_range,
    )


def _run_epoch(
    training: LanguageTraining, text: TextData, trial: Trial, precision: torch.dtype, deadline: float
) -> None:
    """Train and validate once, and record it. Raises TimeoutError and FloatingPointError as `_train` does."""
    started, number = time.monotonic(), len(training.epochs)
    torch.manual_seed(derive_seed(trial.seed, "epoch", number))
    rate = learning_rate_at(trial.language, number)
    for group in training.optimizer.param_groups:
        group["lr"] = rate
    train_loss = _train(training, text.train, trial.language, precision, deadline, trial.micro_batches)
    trained = time.monotonic()
    validation_loss = evaluate(training.model, text.validation, trial.language, precision, trial.micro_batches)
    training.epochs.append(
        Epoch(
            epoch=number,
            train_loss=train_loss,
            train_metric=_perplexity(train_loss),
            validation_loss=validation_loss,
            validation_metric=_perplexity(validation_loss),
            learning_rate=rate,
            seconds=time.monotonic() - started,
            examples_per_second=(len(text.train) - 1) / (trained - started),
        )
    )


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
        for part, (some_inputs, some_targets) in enumerate(_parts(inputs, targets, micro_batches)):
            with autocast(tokens.device, precision):
                logits, state = training.model(some_inputs, states.get(part))
            states[part] = (state[0].detach(), state[1].detach())
            loss = _summed_loss(logits, some_targets)
            (loss / inputs.shape[1]).backward()  # type: ignore[no-untyped-call]
            losses.append(loss.detach())
        norm = torch.nn.utils.clip_grad_norm_(training.model.parameters(), language.clip_norm)
        if not math.isfinite(norm):
            raise FloatingPointError
        training.optimizer.step()
        if time.monotonic() > deadline:
            raise TimeoutError
    return float(torch.stack(losses).sum()) / (len(tokens) - 1)


def _parts(inputs: Tensor, targets: Tensor, number: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Inputs and targets, each (time, columns), by the columns in so many parts."""
    return zip(inputs.chunk(number, 1), targets.chunk(number, 1), strict=True)


def _summed_loss(logits: Tensor, targets: Tensor) -> Tensor:
    """Cross-entropy in nats of logits (time, columns, vocabulary), summed over the targets (time, columns)."""
    return functional.cross_entropy(
        logits.flatten(0, 1).float(), targets.flatten(), ignore_index=PADDING, reduction="sum"
    )


def _perplexity(loss: float) -> float:
    """The exponential of a mean cross-entropy in nats; infinite where it is not a number."""
    return math.exp(loss) if loss < 700 else math.inf
