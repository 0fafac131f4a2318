"""The network that a convolutional architecture describes (sections 3.3 and 4.1)."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from models.conv_space import ConvArchitecture, ConvLayer


class ConvNet(nn.Module):
    """Convolution, batch norm, ReLU a layer; inputs concatenated in depth; loose ends to a linear classifier.

    Filters of height h are padded with h // 2 zeros above and below (widths alike): with stride 1, odd filters keep
    the size.
    """

    def __init__(
        self, architecture: ConvArchitecture, in_channels: int, num_classes: int, batch_norm_epsilon: float = 1e-5
    ) -> None:
        super().__init__()
        self.architecture = architecture
        filters = [layer.num_filters for layer in architecture.layers]
        self.layers = nn.ModuleList(
            _layer(layer, sum(filters[source] for source in layer.inputs) or in_channels, batch_norm_epsilon)
            for layer in architecture.layers
        )
        self.classifier = nn.Linear(sum(filters[end] for end in architecture.loose_ends()), num_classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
        nn.init.zeros_(self.classifier.bias)

    def forward(self, images: Tensor) -> Tensor:
        """Logits (batch, num_classes) for images (batch, in_channels, height, width)."""
        outputs: list[Tensor] = []
        for layer, module in zip(self.architecture.layers, self.layers, strict=True):
            sources = [outputs[source] for source in layer.inputs] or [images]
            outputs.append(module(concatenate(sources)))
        features = concatenate([outputs[end] for end in self.architecture.loose_ends()])
        return self.classifier(features.mean(dim=(2, 3)))  # type: ignore[no-any-return]


def concatenate(features: list[Tensor]) -> Tensor:
    """Concatenate (batch, channels, height, width) tensors in depth, smaller ones padded with zeros on all sides."""
    if len(features) == 1:
        return features[0]
    height = max(feature.shape[2] for feature in features)
    width = max(feature.shape[3] for feature in features)
    return torch.cat([_pad(feature, height, width) for feature in features], dim=1)


def _pad(feature: Tensor, height: int, width: int) -> Tensor:
    missing_height, missing_width = height - feature.shape[2], width - feature.shape[3]
    if not missing_height and not missing_width:
        return feature
    left, top = missing_width // 2, missing_height // 2
    return functional.pad(feature, (left, missing_width - left, top, missing_height - top))


def _layer(layer: ConvLayer, in_channels: int, batch_norm_epsilon: float) -> nn.Sequential:
    convolution = nn.Conv2d(
        in_channels,
        layer.num_filters,
        (layer.filter_height, layer.filter_width),
        stride=(layer.stride_height, layer.stride_width),
        padding=(layer.filter_height // 2, layer.filter_width // 2),
        bias=False,  # the batch norm has one
    )
    return nn.Sequential(convolution, nn.BatchNorm2d(layer.num_filters, eps=batch_norm_epsilon), nn.ReLU(inplace=True))
