"""A convolutional network as one writes it first."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from models.conv_architecture import ConvArchitecture
from models.conv_layers import ConvLayer


class PlainNet(nn.Module):
    """A list of outputs, concatenated anew for each reader. From a seed it begins with the weights of `ConvNet`."""

    def __init__(self, architecture: ConvArchitecture, channels: int, classes: int) -> None:
        super().__init__()
        self.architecture = architecture
        widths: list[int] = []
        self.convolutions, self.norms = nn.ModuleList(), nn.ModuleList()
        for layer in architecture.layers:
            assert isinstance(layer, ConvLayer), "the plain network has convolutions alone"
            read = sum(widths[source] for source in layer.inputs) or channels
            size = (layer.filter_height, layer.filter_width)
            padding = (layer.filter_height // 2, layer.filter_width // 2)
            self.convolutions.append(nn.Conv2d(read, layer.num_filters, size, padding=padding, bias=False))
            self.norms.append(nn.BatchNorm2d(layer.num_filters))
            widths.append(layer.num_filters)
        self.classifier = nn.Linear(sum(widths[end] for end in architecture.loose_ends()), classes)
        for module in (*self.convolutions, self.classifier):
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
        nn.init.zeros_(self.classifier.bias)

    def forward(self, images: Tensor) -> Tensor:
        """Logits (batch, classes) of images (batch, channels, height, width)."""
        outputs: list[Tensor] = []
        for layer, convolution, norm in zip(self.architecture.layers, self.convolutions, self.norms, strict=True):
            inputs = torch.cat([outputs[source] for source in layer.inputs], 1) if layer.inputs else images
            outputs.append(functional.relu(norm(convolution(inputs))))
        ends = torch.cat([outputs[end] for end in self.architecture.loose_ends()], 1)
        return self.classifier(ends.mean((2, 3)))  # type: ignore[no-any-return]
