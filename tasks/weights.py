"""The weights that a training ended with, for what comes after it."""

import io
import pickle
from pathlib import Path

import torch
from torch import nn

from tasks.sealed import unseal, write_sealed


def save_weights(path: str, network: nn.Module) -> None:
    """Write a network's weights, sealed. The file holds tensors alone. Raises OSError."""
    place = Path(path)
    place.parent.mkdir(parents=True, exist_ok=True)
    write_sealed(place, network.state_dict())


def load_weights(path: str, network: nn.Module) -> None:
    """Give a network the weights in a file. Raises ValueError, naming the file, for those of another network."""
    try:
        whole = io.BytesIO(unseal(Path(path).read_bytes()))
        network.load_state_dict(torch.load(whole, map_location="cpu", weights_only=True))
    except (RuntimeError, pickle.UnpicklingError, KeyError, TypeError, ValueError, EOFError, OSError) as error:
        raise ValueError(f"{path}: not the weights of this network, or damaged ({error})") from error
