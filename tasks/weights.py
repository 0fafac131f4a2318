"""The weights that a training ended with, for what comes after it."""

import io
import os
import pickle
from pathlib import Path

import torch
from torch import nn

from tasks.sealed import seal, unseal


def save_weights(path: str, network: nn.Module) -> None:
    """Write a network's weights, sealed, aside and renamed. The file holds tensors alone."""
    place = Path(path)
    place.parent.mkdir(parents=True, exist_ok=True)
    aside = place.with_suffix(f".{os.getpid()}.tmp")
    state = io.BytesIO()
    torch.save(network.state_dict(), state)
    with aside.open("wb") as file:
        file.write(seal(state.getvalue()))
        file.flush()
        os.fsync(file.fileno())
    aside.replace(place)


def load_weights(path: str, network: nn.Module) -> None:
    """Give a network the weights in a file. Raises ValueError, naming the file, for those of another network."""
    try:
        whole = io.BytesIO(unseal(Path(path).read_bytes()))
        network.load_state_dict(torch.load(whole, map_location="cpu", weights_only=True))
    except (RuntimeError, pickle.UnpicklingError, KeyError, TypeError, ValueError, EOFError, OSError) as error:
        raise ValueError(f"{path}: not the weights of this network, or damaged ({error})") from error
