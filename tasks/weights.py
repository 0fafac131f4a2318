"""The weights that a training ended with, for what comes after it."""

import os
import pickle
from pathlib import Path

import torch
from torch import nn


def save_weights(path: str, network: nn.Module) -> None:
    """Write a network's weights, aside and renamed. The file holds tensors alone."""
    place = Path(path)
    place.parent.mkdir(parents=True, exist_ok=True)
    aside = place.with_suffix(f".{os.getpid()}.tmp")
    with aside.open("wb") as file:
        torch.save(network.state_dict(), file)
        file.flush()
        os.fsync(file.fileno())
    aside.replace(place)


def load_weights(path: str, network: nn.Module) -> None:
    """Give a network the weights in a file. Raises ValueError, naming the file, for those of another network."""
    try:
        network.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
    except (RuntimeError, pickle.UnpicklingError, KeyError, TypeError, EOFError, OSError) as error:
        raise ValueError(f"{path}: not the weights of this network, or damaged ({error})") from error
