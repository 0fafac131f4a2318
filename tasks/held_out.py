"""What a trained network is worth on examples that nothing was chosen by."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from models.space import SearchSpace
from tasks import image_child, language_child
from tasks.data import ImageSplit, load_images
from tasks.device import pick_device, pick_precision, prepare_process
from tasks.records import Trial
from tasks.settings import IMAGE_TASK, LANGUAGE_TASK
from tasks.text_data import load_text
from tasks.weights import load_weights


@dataclass(frozen=True)
class HeldOut:
    """Evaluate the weights that a trial left at `trial.weights_path` on the arrays in a folder.

    Images: images.npy (examples, channels, height, width) uint8 and labels.npy (examples,); text: tokens.npy (tokens,).
    """

    trial: Trial
    arrays: str


def evaluate_held_out(request: HeldOut) -> tuple[float, float]:
    """Mean cross-entropy in nats, and the accuracy or perplexity. Raises ValueError for weights of another network."""
    trial = request.trial
    prepare_process(trial.child.threads)
    architecture = SearchSpace(trial.space.function, trial.space.options).decode(trial.depth, trial.tokens)
    return EVALUATIONS[trial.child.task](architecture, request)


def _evaluate_images(architecture: Any, request: HeldOut) -> tuple[float, float]:
    trial, device = request.trial, pick_device()
    network = image_child.build_network(architecture, trial, load_images(trial.data_path, trial.data, device))
    _load(trial, network)
    network = network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    images, labels = (torch.from_numpy(_read(request, name)).to(device) for name in ("images", "labels"))
    precision = pick_precision(trial.child.precision, device)
    return image_child.evaluate(network, ImageSplit(images, labels), trial.data, precision)


def _evaluate_text(architecture: Any, request: HeldOut) -> tuple[float, float]:
    trial, device = request.trial, pick_device()
    vocabulary_size = load_text(trial.data_path, device).vocabulary_size
    units = language_child.hidden_units_of(architecture, vocabulary_size, trial.language)
    model = language_child.build_model(architecture, vocabulary_size, units, trial.language)
    _load(trial, model)
    tokens = torch.from_numpy(_read(request, "tokens").astype(np.int64)).to(device)
    precision = pick_precision(trial.child.precision, device)
    loss = language_child.evaluate(model.to(device), tokens, trial.language, precision)
    return loss, math.exp(loss)


def _load(trial: Trial, network: torch.nn.Module) -> None:
    assert trial.weights_path is not None, "only a training that keeps its weights can be evaluated"
    load_weights(trial.weights_path, network)


def _read(request: HeldOut, name: str) -> np.ndarray:
    return np.load(Path(request.arrays) / f"{name}.npy", allow_pickle=False)  # type: ignore[no-any-return]


# By the task that trained the network.
EVALUATIONS: dict[str, Callable[[Any, HeldOut], tuple[float, float]]] = {
    IMAGE_TASK: _evaluate_images,
    LANGUAGE_TASK: _evaluate_text,
}
