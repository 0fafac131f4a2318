"""The network that a convolutional architecture describes (sections 3.3 and 4.1)."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from models.conv_architecture import IMAGE, ConvArchitecture
from models.conv_layers import ConvLayer, Layer, NormLayer
from models.pool_and_norm import LocalContrastNorm, Pool


class ConvNet(nn.Module):
    """Layers on their inputs concatenated in depth; loose ends to a linear classifier.

    Filters of height h are padded with h // 2 zeros above and below (widths alike): with stride 1, odd filters keep
    the size. At a pooling point each output that is still to be read is pooled once, for all its readers.
    """

    def __init__(
        self, architecture: ConvArchitecture, in_channels: int, num_classes: int, batch_norm_epsilon: float = 1e-5
    ) -> None:
        super().__init__()
        self.architecture, self.in_channels = architecture, in_channels
        self.layers = nn.ModuleList()
        self.pooling_point = Pool("max", size=2, stride=2)
        self.last_readers: dict[int, int] = dict(architecture.connections())  # later readers come later
        channels = {IMAGE: in_channels}
        for index, layer in enumerate(architecture.layers):
            read = sum(channels[source] for source in layer.inputs or (IMAGE,))
            channels[index] = layer.num_filters if isinstance(layer, ConvLayer) else read
            self.layers.append(_layer(layer, read, batch_norm_epsilon))
        self.classifier = nn.Linear(sum(channels[end] for end in architecture.loose_ends()), num_classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

    def forward(self, images: Tensor) -> Tensor:
        """Logits (batch, num_classes) for images (batch, in_channels, height, width)."""
        outputs = {IMAGE: images}
        for index, (layer, module) in enumerate(zip(self.architecture.layers, self.layers, strict=True)):
            outputs[index] = module(_read(outputs, layer.inputs or (IMAGE,)))
            if index + 1 in self.architecture.pool_after:
                to_read = [source for source in outputs if self.last_readers[source] > index]
                outputs = {source: self.pooling_point(outputs[source]) for source in to_read}
        features = _DenseGradient.apply(_read(outputs, self.architecture.loose_ends()))
        return self.classifier(features.mean(dim=(2, 3)))  # type: ignore[no-any-return]


class _DenseGradient(torch.autograd.Function):
    """The identity, with a gradient that lies in memory as its input does, without gaps and in the same order.

    The gradient of a concatenation is handed on in slices, that of a mean in another order. Elementwise steps over
    such memory take many times as long on a CPU, with the same numbers.
    """

    @staticmethod
    def forward(ctx: Any, features: Tensor) -> Tensor:
        last = features.is_contiguous(memory_format=torch.channels_last)
        ctx.layout = torch.channels_last if last else torch.contiguous_format
        return features.view_as(features)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return gradient.contiguous(memory_format=ctx.layout)


def _read(outputs: Mapping[int, Tensor], sources: Sequence[int]) -> Tensor:
    """What a reader of some layers gets."""
    if len(sources) == 1:
        return outputs[sources[0]]
    return concatenate([_DenseGradient.apply(outputs[source]) for source in sources])


def concatenate(features: list[Tensor]) -> Tensor:
    """Concatenate (batch, channels, height, width) tensors in depth, smaller ones padded with zeros on all sides."""
    if len(features) == 1:
        return features[0]
    height = max(feature.shape[2] for feature in features)
    width = max(feature.shape[3] for feature in features)
    return torch.cat([pad_evenly(feature, height, width) for feature in features], dim=1)


def pad_evenly(feature: Tensor, height: int, width: int) -> Tensor:
    """Zeros on all sides of a (batch, channels, height, width) tensor up to a size, the odd one below and right."""
    missing_height, missing_width = height - feature.shape[2], width - feature.shape[3]
    if not missing_height and not missing_width:
        return feature
    left, top = missing_width // 2, missing_height // 2
    return functional.pad(feature, (left, missing_width - left, top, missing_height - top))


def _layer(layer: Layer, in_channels: int, batch_norm_epsilon: float) -> nn.Module:
    if isinstance(layer, ConvLayer):
        return _convolution(layer, in_channels, batch_norm_epsilon)
    if isinstance(layer, NormLayer):
        return nn.BatchNorm2d(in_channels, eps=batch_norm_epsilon) if layer.kind == "batch" else LocalContrastNorm()
    return Pool(layer.kind, layer.size, layer.stride)


def _convolution(layer: ConvLayer, in_channels: int, batch_norm_epsilon: float) -> nn.Sequential:
    convolution = nn.Conv2d(
        in_channels,
        layer.num_filters,
        (layer.filter_height, layer.filter_width),
        stride=(layer.stride_height, layer.stride_width),
        padding=(layer.filter_height // 2, layer.filter_width // 2),
        bias=not layer.batch_norm,  # a batch norm has one
    )
    norm = [nn.BatchNorm2d(layer.num_filters, eps=batch_norm_epsilon)] if layer.batch_norm else []
    return nn.Sequential(convolution, *norm, nn.ReLU(inplace=True))
