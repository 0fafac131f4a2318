"""Train a convolutional child network (section 4.1)."""

import math
import time
from collections.abc import Iterator
from dataclasses import replace
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional

from models.conv_net import ConvNet
from models.conv_space import ConvArchitecture
from models.cost import network_cost
from tasks.child_checkpoint import ChildCheckpoint
from tasks.cuda_graphs import recorded
from tasks.data import ImageData, ImageSplit, augment, center, load_images, random_crops
from tasks.device import autocast, pick_device, pick_precision
from tasks.micro_batches import micro_batch, train_as_memory_allows
from tasks.records import Epoch, Status, Training, Trial
from tasks.seeds import derive_seed
from tasks.settings import ChildSettings, DataSettings
from tasks.weights import save_weights


def train_image_child(architecture: ConvArchitecture, trial: Trial) -> Training:
    """Train the network of an architecture. Its metric is the best validation accuracy of the last epochs.

    Where batches exhaust the memory it is trained once more, with two halves to a batch: the same gradient but for
    batch norm, whose statistics are then those of a half.
    """
    return train_as_memory_allows(partial(_train_child, architecture), trial, trial.child.batch_size)


def _train_child(architecture: ConvArchitecture, trial: Trial) -> Training:
    if architecture.learning_rate is not None:
        trial = replace(trial, child=replace(trial.child, learning_rate=architecture.learning_rate))
    child, device = trial.child, pick_device()
    precision = pick_precision(child.precision, device)
    data = load_images(trial.data_path, trial.data, device)
    parameters, flops = _cost(architecture, trial, data)
    if parameters > (trial.max_parameters or math.inf) or flops > (trial.max_flops or math.inf):
        return Training("too_large", math.nan, parameters=parameters, flops=flops)
    torch.manual_seed(trial.seed)
    network = build_network(architecture, trial, data).to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimizer = torch.optim.SGD(
        network.parameters(),
        lr=child.learning_rate,
        momentum=child.momentum,
        nesterov=child.momentum > 0,
        weight_decay=child.weight_decay,
    )
    generator = torch.Generator().manual_seed(derive_seed(trial.seed, "augmentation"))
    checkpoint = ChildCheckpoint(trial, generator, network=network, optimizer=optimizer)
    epochs = checkpoint.restore()
    spent = sum(epoch.seconds for epoch in epochs)
    deadline = time.monotonic() + 60 * (child.timeout_minutes or math.inf) - spent
    status: Status = "ok"
    with recorded(network, precision, trial.micro_batches, _sample(data, trial)):
        while len(epochs) < child.epochs:
            try:
                epoch = run_epoch(network, optimizer, data, trial, len(epochs), generator, precision, deadline)
            except TimeoutError:
                status = "timed_out"
                break
            epochs.append(epoch)
            if not (math.isfinite(epoch.train_loss) and math.isfinite(epoch.validation_loss)):
                status = "diverged"
                break
            if trial.weights_path and _gives_metric(epochs, child):
                save_weights(trial.weights_path, network)
            checkpoint.save_when_due(epochs)
    accuracies = [epoch.validation_metric for epoch in epochs[-child.reward_epochs :]]
    metric = max(accuracies) if status == "ok" else math.nan
    name, at_a_time = str(precision).removeprefix("torch."), micro_batch(child.batch_size, trial)
    return Training(status, metric, tuple(epochs), parameters, flops, str(device), name, at_a_time)


def learning_rate_at(child: ChildSettings, epoch: int) -> float:
    """The rate of an epoch, counted from 0: it drops by `decay_factor` after each share of the epochs in `decay_at`."""
    drops = sum(epoch >= math.ceil(share * child.epochs) for share in child.decay_at)
    return child.learning_rate * child.decay_factor**drops


@torch.inference_mode()
def evaluate(
    network: nn.Module, split: ImageSplit, data: DataSettings, precision: torch.dtype, at_a_time: int = 256
) -> tuple[float, float]:
    """Mean cross-entropy in nats and accuracy over a split, so many images at a time."""
    network.eval()
    loss, correct = torch.zeros(2, device=split.images.device)
    for images, labels in zip(torch.split(split.images, at_a_time), torch.split(split.labels, at_a_time), strict=True):
        inputs = center(images, data).contiguous(memory_format=torch.channels_last)
        with autocast(images.device, precision):
            logits = network(inputs)
        loss += functional.cross_entropy(logits.float(), labels, reduction="sum")
        correct += (logits.argmax(1) == labels).sum()
    return float(loss) / len(split), float(correct) / len(split)


def _sample(data: ImageData, trial: Trial) -> Tensor:
    """Images as a batch has them, but for their values."""
    count, side = min(trial.child.batch_size, len(data.train)), trial.data.crop
    images = torch.zeros(count, data.num_channels, side, side, device=data.train.images.device)
    return images.contiguous(memory_format=torch.channels_last)


def _gives_metric(epochs: list[Epoch], child: ChildSettings) -> bool:
    """Whether the last of some epochs has the best accuracy so far of those that the metric is taken from."""
    accuracies = [epoch.validation_metric for epoch in epochs[max(0, child.epochs - child.reward_epochs) :]]
    return bool(accuracies) and accuracies[-1] > max(accuracies[:-1], default=-math.inf)


def build_network(architecture: ConvArchitecture, trial: Trial, data: ImageData) -> ConvNet:
    """A child's network, with weights from torch's global generator."""
    return ConvNet(architecture, data.num_channels, data.num_classes, trial.child.batch_norm_epsilon)


def _cost(architecture: ConvArchitecture, trial: Trial, data: ImageData) -> tuple[int, int]:
    """Parameters, and FLOPs an image."""
    image = (data.num_channels, trial.data.crop, trial.data.crop)
    return network_cost(lambda: build_network(architecture, trial, data), image)


def run_epoch(
    network: nn.Module,
    optimizer: torch.optim.Optimizer,
    data: ImageData,
    trial: Trial,
    number: int,
    generator: torch.Generator,
    precision: torch.dtype,
    deadline: float,
) -> Epoch:
    """Train and validate once."""
    started = time.monotonic()
    rate = learning_rate_at(trial.child, number)
    for group in optimizer.param_groups:
        group["lr"] = rate
    batches = training_batches(data.train, trial.data, trial.child.batch_size, generator)
    train_loss, train_accuracy, count = _train(network, optimizer, batches, precision, deadline, trial.micro_batches)
    trained = time.monotonic()
    validation_loss, validation_accuracy = evaluate(
        network, data.validation, trial.data, precision, micro_batch(256, trial)
    )
    return Epoch(
        epoch=number,
        train_loss=train_loss,
        train_metric=train_accuracy,
        validation_loss=validation_loss,
        validation_metric=validation_accuracy,
        learning_rate=rate,
        seconds=time.monotonic() - started,
        examples_per_second=count / (trained - started),
    )


def training_batches(
    split: ImageSplit, data: DataSettings, batch_size: int, generator: torch.Generator
) -> Iterator[tuple[Tensor, Tensor]]:
    """The whole batches of one epoch in random order; a rest smaller than a batch is left out of this epoch."""
    order = torch.randperm(len(split), generator=generator).to(split.images.device)
    crops = random_crops(len(split), data, generator, split.images.device)
    batch_size = min(batch_size, len(split))
    for start in range(0, len(split) - batch_size + 1, batch_size):
        rows = slice(start, start + batch_size)
        images = augment(split.whitened(order[rows]), crops[rows], data)
        yield images.contiguous(memory_format=torch.channels_last), split.labels[order[rows]]


def _train(
    network: nn.Module,
    optimizer: torch.optim.Optimizer,
    batches: Iterator[tuple[Tensor, Tensor]],
    precision: torch.dtype,
    deadline: float,
    micro_batches: int = 1,
) -> tuple[float, float, int]:
    """Mean loss, accuracy and number of the examples trained on. Raises TimeoutError once the deadline has passed.

    A step takes the gradient of a batch, which is the sum of those of its parts, each weighted by its share.
    """
    network.train()
    losses, correct, count = [], [], 0
    for images, labels in batches:
        optimizer.zero_grad()
        parts = []
        for some_images, some_labels in zip(images.chunk(micro_batches), labels.chunk(micro_batches), strict=True):
            with autocast(images.device, precision):
                logits = network(some_images)
            loss = functional.cross_entropy(logits.float(), some_labels) * (len(some_labels) / len(labels))
            loss.backward()  # type: ignore[no-untyped-call]
            parts.append(loss.detach())
            correct.append((logits.detach().argmax(1) == some_labels).sum())
        optimizer.step()
        losses.append(torch.stack(parts).sum())
        count += len(labels)
        if time.monotonic() > deadline:
            raise TimeoutError
    return float(torch.stack(losses).mean()), int(torch.stack(correct).sum()) / count, count
