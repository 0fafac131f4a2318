"""Real trainings of an image child: its accuracy against that of plain float32 code, and what data take of an epoch."""

import os
import statistics
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import torch

from bench.machine import real_data
from bench.plain_network import PlainNet
from bench.summary import Finding, finding, true_or_not
from models.conv_architecture import ConvArchitecture
from pipeline.configuration import Configuration
from pipeline.datasets import prepare_data
from pipeline.experiments import cifar10_small, digits
from tasks.data import load_images
from tasks.device import pick_device, prepare_process
from tasks.image_child import run_epoch, train_image_child, training_batches
from tasks.records import Trial
from tasks.seeds import derive_seed

DATA_SHARE = 5.0  # percent of an epoch; the goal
KINDS = ("ours", "plain")


def measure(architecture: ConvArchitecture, seeds: int) -> dict[str, Any]:
    """Validation accuracies from the same weights and batches, a process a core; then the data's share of epochs."""
    configuration = _configuration()
    with tempfile.TemporaryDirectory() as name:
        data_path = prepare_data(configuration.data, Path(name))
        trials = [_trial(configuration, data_path, seed) for seed in range(seeds)]
        with ProcessPoolExecutor(os.cpu_count(), mp_context=get_context("spawn")) as pool:
            accuracies = {kind: list(pool.map(partial(_accuracy, kind, architecture), trials)) for kind in KINDS}
        prepare_process(threads=1)
        load_images.cache_clear()
        data = _data_shares(architecture, trials[0])
    return {"dataset": configuration.data.dataset, "accuracies": accuracies, "data_shares": data}


def summary(measured: dict[str, Any]) -> list[Finding]:
    """Accuracies in percent, whether they are the same within the spread of the seeds, and the data's share."""
    percent = {kind: [100 * value for value in measured["accuracies"][kind]] for kind in KINDS}
    ours, plain = (statistics.fmean(percent[kind]) for kind in KINDS)
    spread = max(percent["plain"]) - min(percent["plain"])
    told = f"accuracy after a training on {measured['dataset']}"
    difference = (
        f"means of {len(percent['ours'])} seeds, {ours:.1f}% and {plain:.1f}%, differ by less than plain's spread"
    )
    shares = [100 * share for share in measured["data_shares"]]
    return [
        finding(f"{told}: ours", percent["ours"], "%"),
        finding(f"{told}: plain in float32", percent["plain"], "%"),
        true_or_not(difference, abs(ours - plain) <= spread),
        finding("share of loading, shuffling and augmentation in an epoch", shares, "%", at_most=DATA_SHARE),
    ]


def _configuration() -> Configuration:
    """`cifar10_small` with half its images and three epochs, or where there is no CIFAR-10, `digits`."""
    if (folder := real_data("cifar10")) is None:
        return digits()
    small = cifar10_small()
    return replace(
        small,
        data=replace(small.data, folder=str(folder), num_train=2_000),
        child=replace(small.child, epochs=3, reward_epochs=1),
    )


def _trial(configuration: Configuration, data_path: Path, seed: int) -> Trial:
    return Trial(
        trial_id=seed,
        seed=derive_seed(seed, "trial"),
        depth=0,
        tokens=(),
        space=configuration.space,
        child=configuration.child,
        data=configuration.data,
        data_path=str(data_path),
        reward_power=1.0,
    )


def _accuracy(kind: str, architecture: ConvArchitecture, trial: Trial) -> float:
    """On the validation images, of the last epoch."""
    prepare_process(threads=1)
    if kind == "ours":
        return train_image_child(architecture, trial).epochs[-1].validation_metric
    data, child = load_images(trial.data_path, trial.data, pick_device()), trial.child
    torch.manual_seed(trial.seed)
    network = PlainNet(architecture, data.num_channels, data.num_classes).to(pick_device())
    optimizer = torch.optim.SGD(
        network.parameters(), child.learning_rate, child.momentum, weight_decay=child.weight_decay, nesterov=True
    )
    generator = torch.Generator().manual_seed(derive_seed(trial.seed, "augmentation"))
    for number in range(child.epochs):
        epoch = run_epoch(network, optimizer, data, trial, number, generator, torch.float32, float("inf"))
    return epoch.validation_metric


def _data_shares(architecture: ConvArchitecture, trial: Trial) -> Sequence[float]:
    """Of each epoch: its batches made without a training, and its part of the loading, which is done once a child."""
    started = time.perf_counter()
    data = load_images(trial.data_path, trial.data, pick_device())
    loading = (time.perf_counter() - started) / trial.child.epochs
    shares = []
    for epoch in train_image_child(architecture, trial).epochs:
        started = time.perf_counter()
        for _ in training_batches(data.train, trial.data, trial.child.batch_size, torch.Generator().manual_seed(0)):
            pass
        shares.append((loading + time.perf_counter() - started) / epoch.seconds)
    return shares
