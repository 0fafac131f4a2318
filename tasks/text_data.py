"""Text on the device, in columns (section 4.2)."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

PADDING = -100  # a target that does not count, as torch's losses have it


@dataclass(frozen=True)
class TextData:
    """Tokens (tokens,) in int64, on one device, of what children are trained on and of what rewards them."""

    train: Tensor
    validation: Tensor
    vocabulary_size: int


@lru_cache(maxsize=2)
def load_text(data_path: str, device: torch.device) -> TextData:
    """The prepared text at `data_path` on the device; kept for the next child of this process."""
    train, validation, vocabulary = (
        np.load(Path(data_path) / f"{name}.npy", mmap_mode="r", allow_pickle=False)
        for name in ("train", "validation", "vocabulary")
    )
    tokens = [torch.from_numpy(array.astype(np.int64)).to(device) for array in (train, validation)]
    return TextData(tokens[0], tokens[1], len(vocabulary))


def windows(tokens: Tensor, batch_size: int, steps: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Inputs and targets, each (time, columns) with at most `steps` times, of a text cut into columns.

    A window goes on where the one before it ended. Every token but the first is a target once. What the last column
    lacks is PADDING; a text of fewer than `batch_size` targets has a column for each.
    """
    count = len(tokens) - 1
    columns = min(batch_size, count)
    length = -(-count // columns)  # rounded up
    inputs, targets = tokens.new_zeros(columns * length), tokens.new_full((columns * length,), PADDING)
    inputs[:count], targets[:count] = tokens[:-1], tokens[1:]
    inputs, targets = inputs.view(columns, length).T, targets.view(columns, length).T  # (length, columns)
    yield from zip(torch.split(inputs, steps), torch.split(targets, steps), strict=True)
