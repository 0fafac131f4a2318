"""Sentences and their translations on the device, in batches of similar length (section 4.2)."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from models.beam_search import END
from tasks.text_data import PADDING


@dataclass(frozen=True)
class Sentences:
    """Sentences one after the other, as millions of them fit into memory; where they begin is known on the CPU."""

    words: Tensor  # (words + 2,) in int32 on the device: END and what pads come last
    starts: Tensor  # (sentences,)
    lengths: Tensor  # (sentences,), without END

    def side_by_side(self, rows: Tensor) -> Tensor:
        """Sentences [time, batch] in int64 on the device, each with END after it, padded to the longest."""
        lengths, end = self.lengths[rows], len(self.words) - 2
        times = torch.arange(int(lengths.max()) + 1)[:, None]
        places = torch.where(times < lengths, self.starts[rows] + times, end + (times > lengths).long())
        return self.words[places.to(self.words.device)].long()


def sentences(words: np.ndarray, ends: np.ndarray, padding: int, device: torch.device) -> Sentences:
    """Sentences on a device from their words (words,) and where each ends among them (sentences,)."""
    last = torch.from_numpy(ends.astype(np.int64))
    starts = torch.cat([last.new_zeros(1), last[:-1]])
    stored = torch.from_numpy(np.concatenate([words, (END, padding)], dtype=np.int32)).to(device)
    return Sentences(stored, starts, last - starts)


@dataclass(frozen=True)
class Pairs:
    """Sentences and their translations."""

    source: Sentences
    target: Sentences

    def __len__(self) -> int:
        return len(self.source.starts)


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
    for side, padding in (("source", END), ("target", PADDING)):
        words, ends = (_load(Path(data_path), f"{split}_{side}{part}") for part in ("", "_ends"))
        sides.append(sentences(words, ends, padding, device))
    return Pairs(*sides)


def batches(pairs: Pairs, batch_size: int, generator: torch.Generator | None = None) -> Iterator[Batch]:
    """Each pair once, with others of similar length; with a generator in random company and order."""
    count = len(pairs)
    order = torch.arange(count) if generator is None else torch.randperm(count, generator=generator)
    for side in (pairs.source, pairs.target):  # by the target's length, equals by the source's
        order = order[side.lengths[order].argsort(stable=True)]
    parts = torch.split(order, batch_size)
    turns = range(len(parts)) if generator is None else torch.randperm(len(parts), generator=generator).tolist()
    for turn in turns:
        yield batch_of(pairs, parts[turn])


def batch_of(pairs: Pairs, rows: Tensor) -> Batch:
    """The pairs of some rows side by side, padded to the longest."""
    source, targets = pairs.source.side_by_side(rows), pairs.target.side_by_side(rows)
    inputs = torch.cat([torch.full_like(targets[:1], END), targets[:-1]]).clamp_min(END)
    return Batch(rows, source, (pairs.source.lengths[rows] + 1).to(source.device), inputs, targets)


def _load(folder: Path, name: str) -> np.ndarray:
    return np.load(folder / f"{name}.npy", allow_pickle=False)  # type: ignore[no-any-return]
