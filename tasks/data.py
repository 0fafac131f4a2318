"""Image data on the device: splits, whitening, and augmentation in whole batches (section 4.1)."""

from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from tasks.settings import DataSettings
from tasks.splits import split_indices

EACH_IMAGE: Any = {"dim": (1, 2, 3), "keepdim": True, "correction": 0}


@dataclass(frozen=True)
class ImageSplit:
    """images (examples, channels, height, width) in uint8 and labels (examples,) in int64, on one device."""

    images: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return len(self.labels)

    def whitened(self, rows: Tensor) -> Tensor:
        """What `whiten` makes of some of the images. Their moments are known, which take longer than all else."""
        mean, deviation = self._moments
        return (self.images.index_select(0, rows).float() - mean[rows]) / deviation[rows]

    @cached_property
    def _moments(self) -> tuple[Tensor, Tensor]:
        """(examples, 1, 1, 1) means and deviations."""
        parts = [torch.std_mean(some.float(), **EACH_IMAGE) for some in torch.split(self.images, 1_024)]
        deviations, means = map(torch.cat, zip(*parts, strict=True))
        return means, deviations.clamp_min(self.images[0].numel() ** -0.5)


@dataclass(frozen=True)
class ImageData:
    """The training split of a data set, parted into what children are trained on and what rewards them."""

    train: ImageSplit
    validation: ImageSplit
    num_classes: int

    @property
    def num_channels(self) -> int:
        return self.train.images.shape[1]


@lru_cache(maxsize=2)
def load_images(data_path: str, settings: DataSettings, device: torch.device) -> ImageData:
    """The prepared images at `data_path`, split and on the device; kept for the next child of this process."""
    images = np.load(Path(data_path) / "images.npy", mmap_mode="r", allow_pickle=False)
    labels = np.load(Path(data_path) / "labels.npy", allow_pickle=False)
    train, validation = (
        ImageSplit(torch.from_numpy(images[indices]).to(device), torch.from_numpy(labels[indices]).to(device))
        for indices in split_indices(len(labels), settings)
    )
    return ImageData(train, validation, num_classes=int(labels.max()) + 1)


def whiten(images: Tensor) -> Tensor:
    """Each image of (batch, channels, height, width) with mean 0 and variance 1 over all its values, in float32.

    A standard deviation below 1/sqrt(values of an image) counts as that, so that a blank image stays finite.
    """
    values = images.float()
    deviation, mean = torch.std_mean(values, dim=(1, 2, 3), keepdim=True, correction=0)
    return (values - mean) / deviation.clamp_min(images[0].numel() ** -0.5)


@dataclass(frozen=True)
class Crops:
    """Where each image of an epoch is cropped, in pixels from the top left, and whether it is flipped."""

    top: Tensor
    left: Tensor
    flipped: Tensor

    def __getitem__(self, rows: slice) -> "Crops":
        return Crops(self.top[rows], self.left[rows], self.flipped[rows])


def random_crops(count: int, settings: DataSettings, generator: torch.Generator, device: torch.device) -> Crops:
    """Crops for a whole epoch, drawn on the CPU so that every device gets the same."""
    free = settings.upsample - settings.crop + 1
    top, left = torch.randint(free, (2, count), generator=generator)
    flipped = torch.rand(count, generator=generator) < 0.5 if settings.flip else torch.zeros(count, dtype=torch.bool)
    return Crops(top.to(device), left.to(device), flipped.to(device))


def augment(whitened: Tensor, crops: Crops, settings: DataSettings) -> Tensor:
    """Upsample bilinearly, crop and flip: (batch, channels, H, W) to (batch, channels, crop, crop)."""
    upsampled = _upsample(whitened, settings)
    windows = upsampled.unfold(2, settings.crop, 1).unfold(
        3, settings.crop, 1
    )  # (batch, channels, top, left, crop, crop)
    cropped = windows[torch.arange(len(whitened), device=whitened.device), :, crops.top, crops.left]
    return torch.where(crops.flipped[:, None, None, None], cropped.flip(3), cropped)


def center(images: Tensor, settings: DataSettings) -> Tensor:
    """What `augment` does without chance: the centre crop of the whitened, upsampled images."""
    edge = (settings.upsample - settings.crop) // 2
    return _upsample(whiten(images), settings)[:, :, edge : edge + settings.crop, edge : edge + settings.crop]


def _upsample(images: Tensor, settings: DataSettings) -> Tensor:
    side = settings.upsample
    if images.shape[2:] == (side, side):
        return images
    return functional.interpolate(images, size=(side, side), mode="bilinear", align_corners=False)
