"""Pooling and local contrast normalisation as layers of a child (section 3.3)."""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional


class Pool(nn.Module):
    """Max or average pooling that takes any size of input to its size over the stride, rounded up.

    That is how odd filters change sizes too. Windows start (size - 1) // 2 places above and to the left of the input;
    places outside it do not count, and every window has one inside.
    """

    def __init__(self, kind: str, size: int, stride: int) -> None:
        super().__init__()
        self.kind, self.size, self.stride = kind, size, stride

    def forward(self, features: Tensor) -> Tensor:
        """(batch, channels, ceil(height / stride), ceil(width / stride)) for (batch, channels, height, width)."""
        if self.kind == "max":
            return functional.max_pool2d(self._pad(features, -math.inf), self.size, self.stride)
        return self._sums(features) / self._sums(torch.ones_like(features[:1, :1]))

    def _sums(self, features: Tensor) -> Tensor:
        return functional.avg_pool2d(self._pad(features, 0.0), self.size, self.stride, divisor_override=1)

    def _pad(self, features: Tensor, value: float) -> Tensor:
        """As far as windows reach."""
        before = (self.size - 1) // 2
        ends = [
            (math.ceil(length / self.stride) - 1) * self.stride + self.size - before for length in features.shape[2:]
        ]
        below, right = (max(0, end - length) for end, length in zip(ends, features.shape[2:], strict=True))
        padding = (before, right, before, below)
        return functional.pad(features, padding, value=value) if any(padding) else features


class LocalContrastNorm(nn.Module):
    """Local contrast normalisation (Jarrett et al., 2009): subtract a local mean, divide by a local deviation.

    Both are over all channels and a 9×9 window with Gaussian weights that sum to 1, at borders over the part of the
    window that is inside. Divided is by max(mean over the image of σ, σ), with `epsilon` added to σ² as in batch norm,
    so that a constant input gives zeros and finite gradients.
    """

    def __init__(self, window: int = 9, epsilon: float = 1e-5) -> None:
        super().__init__()
        self.window, self.epsilon = window, epsilon
        places = torch.arange(window) - window // 2
        profile = torch.exp(-((places / (window / 4)) ** 2) / 2)  # its deviation is a quarter of the window
        self.register_buffer("weights", (profile / profile.sum())[:, None], persistent=False)  # (window, 1)

    def forward(self, features: Tensor) -> Tensor:
        """(batch, channels, height, width), both; computed in float32 whatever the type."""
        values = features.float()
        values = values - self._local_mean(values)
        deviation = (self._local_mean(values**2) + self.epsilon).sqrt()  # (batch, 1, height, width)
        divisor = torch.maximum(deviation.mean((2, 3), keepdim=True), deviation)
        return (values / divisor).to(features.dtype)

    def _local_mean(self, values: Tensor) -> Tensor:
        """(batch, 1, height, width)."""
        means = values.mean(1, keepdim=True)
        return self._weighted(means) / self._weighted(torch.ones_like(means[:1]))

    def _weighted(self, maps: Tensor) -> Tensor:
        """Weighted sums over windows of (batch, 1, height, width), zeros outside, down the columns and then the rows.

        Without a convolution, which autocast would round.
        """
        for size in ((self.window, 1), (1, self.window)):
            patches = functional.unfold(maps, size, padding=(size[0] // 2, size[1] // 2))  # (batch, window, places)
            maps = (self.get_buffer("weights") * patches).sum(1).view_as(maps)
        return maps
