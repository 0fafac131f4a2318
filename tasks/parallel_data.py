"""Sentences and their translations on the device, in batches of similar length (section 4.2)."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from models.beam_search import END
from tasks.text_data import PADDING


@dataclass(frozen=True)
class Pairs:
    """Sentences, each the numbers of its words (words,) in int64, and their translations."""

    source: tuple[Tensor, ...]
    target: tuple[Tensor, ...]

    def __len__(self) -> int:
        return len(self.source)


@dataclass(frozen=True)
class ParallelData:
    """What translation models are trained on, what tells how good they are, and the sizes of both vocabularies."""

    train: Pairs
    validation: Pairs
    source_vocabulary: int
    target_vocabulary: int


@dataclass(frozen=True)
class Batch:
    """Pairs side by side; the decoder reads from END on, and is to say what follows up to END."""

    rows: Tensor  # [batch], which pairs
    source: Tensor  # [time, batch], padded with END
    lengths: Tensor  # [batch], of the sources
    inputs: Tensor  # [target time, batch], padded with END
    targets: Tensor  # [target time, batch], padded with PADDING


@lru_cache(maxsize=2)
def load_parallel(data_path: str, device: torch.device) -> ParallelData:
    """The prepared pairs at `data_path` on the device; kept for the next training of this process."""
    folder = Path(data_path)
    sizes = (len(_load(folder, f"{side}_vocabulary")) for side in ("source", "target"))
    return ParallelData(load_pairs(data_path, "train", device), load_pairs(data_path, "validation", device), *sizes)


def load_pairs(data_path: str, split: str, device: torch.device) -> Pairs:
    """The pairs of one split."""
    sides = []
    for side in ("source", "target"):
        words, ends = (_load(Path(data_path), f"{split}_{side}{part}") for part in ("", "_ends"))
        flat = torch.from_numpy(words.astype(np.int64)).to(device)
        sides.append(torch.tensor_split(flat, torch.from_numpy(ends[:-1])))
    return Pairs(*sides)


def batches(pairs: Pairs, batch_size: int, generator: torch.Generator | None = None) -> Iterator[Batch]:
    """Each pair once, with others of similar length; with a generator in random company and order."""
    count = len(pairs)
    order = torch.arange(count) if generator is None else torch.randperm(count, generator=generator)
    lengths = torch.tensor([[len(words) for words in side] for side in (pairs.source, pairs.target)])
    for side in lengths:  # by the target's length, equals by the source's
        order = order[side[order].argsort(stable=True)]
    parts = torch.split(order, batch_size)
    turns = range(len(parts)) if generator is None else torch.randperm(len(parts), generator=generator).tolist()
    for turn in turns:
        yield batch_of(pairs, parts[turn])


def batch_of(pairs: Pairs, rows: Tensor) -> Batch:
    """The pairs of some rows side by side, padded to the longest."""
    sources = [_with_end(pairs.source[row]) for row in rows]
    targets = [_with_end(pairs.target[row]) for row in rows]
    lengths = torch.tensor([len(source) for source in sources], device=sources[0].device)
    padded = pad_sequence(targets, padding_value=PADDING)
    inputs = torch.cat([torch.full_like(padded[:1], END), padded[:-1]]).clamp_min(END)
    return Batch(rows, pad_sequence(sources, padding_value=END), lengths, inputs, padded)


def _with_end(words: Tensor) -> Tensor:
    return torch.cat([words, words.new_full((1,), END)])


def _load(folder: Path, name: str) -> np.ndarray:
    return np.load(folder / f"{name}.npy", allow_pickle=False)  # type: ignore[no-any-return]
