"""The networks of a run's trials: as their training begins, and as it leaves them."""

import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from models.conv_net import ConvNet
from models.space import SearchSpace
from pipeline.configuration import Configuration
from pipeline.datasets import prepare_data
from pipeline.errors import UserError
from pipeline.foreign_code import find_own_modules
from pipeline.interruption import in_good_order
from pipeline.rows import Row
from pipeline.run_paths import RunPaths
from pipeline.search import trial_of
from pipeline.summary import summarise
from pipeline.tables import read_table
from pipeline.trust import refuse_foreign_code
from tasks.child_checkpoint import EACH_EPOCH
from tasks.language_child import build_model, hidden_units_of
from tasks.records import Training
from tasks.settings import IMAGE_TASK, LANGUAGE_TASK, DataSettings
from tasks.trial import run_trial

CHANNELS_AND_CLASSES = {"digits": (1, 10), "cifar10": (3, 10)}


def best_trial(paths: RunPaths) -> int:
    """The trial of the highest reward so far. Raises UserError where none ended well."""
    ranked = summarise(paths).ranked
    if not ranked:
        raise UserError(f"{paths.folder}: no trial has ended well yet, so there is no best one")
    return int(ranked[0]["trial_id"])


def drawn_architecture(paths: RunPaths, configuration: Configuration, trial_id: int) -> Any:
    """The architecture of a trial as its space returns it. Raises UserError where there is no such trial."""
    refuse_foreign_code(paths, configuration)
    return decode(configuration, sample_of(paths, trial_id))


def build_child(paths: RunPaths, configuration: Configuration, trial_id: int) -> nn.Module:
    """The network of a trial with the weights that its training begins with.

    Raises UserError where there is no such trial, for tasks of a user's own, and where a text's files are missing.
    """
    refuse_foreign_code(paths, configuration)
    sample = sample_of(paths, trial_id)
    words = vocabulary(paths, configuration)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(sample["seed"])
        return child_network(decode(configuration, sample), configuration, len(words))


def child_network(architecture: Any, configuration: Configuration, vocabulary_size: int) -> nn.Module:
    """A network as the children of a run are, with weights from torch's global generator."""
    if configuration.child.task == LANGUAGE_TASK:
        units = hidden_units_of(architecture, vocabulary_size, configuration.language)
        return build_model(architecture, vocabulary_size, units, configuration.language)
    if configuration.child.task != IMAGE_TASK:
        allowed = f"allowed are {IMAGE_TASK} and {LANGUAGE_TASK}"
        raise UserError(f"child.task = {configuration.child.task!r} builds networks of its own; {allowed}")
    sizes = CHANNELS_AND_CLASSES[configuration.data.dataset]
    return ConvNet(architecture, *sizes, configuration.child.batch_norm_epsilon)


def vocabulary(paths: RunPaths, configuration: Configuration) -> list[str]:
    """The words of a run's text, in order of their numbers; none for images."""
    if configuration.data.dataset != "text":
        return []
    words = np.load(prepare_data(configuration.data, paths.prepared_data) / "vocabulary.npy", allow_pickle=False)
    return list(map(str, words))


def train_child(paths: RunPaths, configuration: Configuration, trial_id: int) -> tuple[dict[str, Tensor], Training]:
    """Train a trial here as the search does; the weights after its last epoch, on the CPU, and how it went.

    Raises UserError where it does not end well.
    """
    refuse_foreign_code(paths, configuration)
    data_path = prepare_data(configuration.data, paths.prepared_data)
    trial = trial_of(configuration, paths, data_path, sample_of(paths, trial_id))
    with in_good_order(), tempfile.TemporaryDirectory() as folder:
        kept = Path(folder) / "child.pt"
        child = replace(trial.child, checkpoint_minutes=EACH_EPOCH)
        result = run_trial(replace(trial, child=child, checkpoint_path=str(kept)))
        if result.training is None or result.status != "ok":
            raise UserError(f"trial {trial_id} ended with status {result.status}: {result.error or 'no weights'}")
        return read_weights(kept), result.training


def load_into(network: nn.Module, path: Path, whose: str) -> None:
    """Give a network the weights in a file. Raises UserError where there are none, or they are not `whose`."""
    try:
        network.load_state_dict(read_weights(path))
    except RuntimeError as error:
        raise UserError(f"{path}: not the weights of {whose}: {error}") from error


def read_weights(path: Path) -> dict[str, Tensor]:
    """The weights of a network in a safetensors file, a state dict of torch's, or a child's checkpoint.

    Raises UserError where there are none.
    """
    if not path.is_file():
        raise UserError(f"{path}: no such file; weights are a .safetensors file, or one of torch.save")
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            return load_file(path)
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged file may raise anything
        raise UserError(f"{path}: cannot be read as weights: {error}") from error
    if isinstance(content, dict) and isinstance(parts := content.get("parts"), dict):
        content = parts.get("network", parts.get("model"))
    if not isinstance(content, dict) or not all(isinstance(value, Tensor) for value in content.values()):
        raise UserError(f"{path}: holds no weights by name")
    return content


def image_settings(configuration: Configuration) -> DataSettings | None:
    """How images were prepared for the children of a run; None where they read something else."""
    return configuration.data if configuration.data.dataset in CHANNELS_AND_CLASSES else None


def sample_of(paths: RunPaths, trial_id: int) -> Row:
    """A trial's row of samples. Raises UserError where there is no such trial."""
    rows = read_table(paths, "samples", ["trial_id", "depth", "tokens", "seed"]).to_pylist()
    for row in rows:
        if row["trial_id"] == trial_id:
            return row  # type: ignore[no-any-return]
    drawn = f"it has 0 to {rows[-1]['trial_id']}" if rows else "it has drawn none yet"
    raise UserError(f"{paths.folder}: no trial {trial_id}; {drawn}")


def decode(configuration: Configuration, sample: Row) -> Any:
    """The architecture of a row of samples, as the configuration's space returns it."""
    find_own_modules()
    space = SearchSpace(configuration.space.function, configuration.space.options)
    return space.decode(sample["depth"], sample["tokens"])
