"""A convolutional network as Python code of its own, each layer spelt out, that needs torch alone."""

import inspect
from collections.abc import Sequence
from textwrap import fill, indent
from typing import Any

from torch import nn

from models.conv_architecture import IMAGE, ConvArchitecture
from models.conv_layers import ConvLayer, Layer, NormLayer, PoolLayer
from models.conv_net import ConvNet, concatenate, pad_evenly
from models.pool_and_norm import LocalContrastNorm, Pool

BODY = 8  # spaces before a statement of a method
LINE = 120

_IN_DOCSTRING: dict[str, Any] = {"initial_indent": " " * 4, "subsequent_indent": " " * 7}
_NETWORK = '''\
class Network(nn.Module):
    """The layers, in words:

{description}
    """

    def __init__(self) -> None:
        super().__init__()
{layers}

    def forward(self, images: Tensor) -> Tensor:
        """Logits [batch, {classes}] of images [batch, {channels}, height, width]."""
{steps}
'''


def conv_source(network: ConvNet) -> str:
    """Class `Network`, and after it what it uses of this project's classes and functions, as they are here."""
    architecture, classifier = network.architecture, network.classifier
    mixed = not all(map(_keeps_size, architecture.layers))
    layers, steps = [], []
    for index, (layer, module) in enumerate(zip(architecture.layers, network.layers, strict=True)):
        layers += _constructors(index, layer, module)
        steps += _layer_steps(index, layer, mixed)
        if index + 1 in architecture.pool_after:
            steps += _pooling_point(index, network)
    layers.append(f"self.classifier = nn.Linear({classifier.in_features}, {classifier.out_features})")
    before, features = _read("features", architecture.loose_ends(), mixed)
    steps += [*before, f"return self.classifier({features}.mean(dim=(2, 3)))"]
    text = _NETWORK.format(
        description="\n".join(fill(line, LINE, **_IN_DOCSTRING) for line in architecture.describe().split("\n")),
        layers=indent("\n".join(layers), " " * BODY),
        classes=classifier.out_features,
        channels=network.in_channels,
        steps=indent("\n".join(steps), " " * BODY),
    )
    parts = {"concatenate(": (concatenate, pad_evenly), "Pool(": (Pool,), "LocalContrastNorm(": (LocalContrastNorm,)}
    used = [part for name, needed in parts.items() if name in text for part in needed]
    return "\n\n".join([text, *map(inspect.getsource, used)])


def conv_names(architecture: ConvArchitecture) -> dict[str, str]:
    """Prefixes of the weights of a ConvNet, and what `Network` calls them."""
    names = {"classifier": "classifier"}
    for index, layer in enumerate(architecture.layers):
        if isinstance(layer, ConvLayer):
            names |= {f"layers.{index}.0": f"conv{index + 1}", f"layers.{index}.1": f"norm{index + 1}"}
        else:
            names[f"layers.{index}"] = f"norm{index + 1}"
    return names


def _keeps_size(layer: Layer) -> bool:
    """Whether a layer's outputs are as high and wide as its inputs, whatever those are."""
    if isinstance(layer, ConvLayer):
        return layer.stride_height == layer.stride_width == layer.filter_height % 2 == layer.filter_width % 2 == 1
    return not isinstance(layer, PoolLayer) or layer.stride == 1


def _constructors(index: int, layer: Layer, module: nn.Module) -> list[str]:
    number = index + 1
    if isinstance(layer, PoolLayer):
        return [f'self.pool{number} = Pool("{layer.kind}", size={layer.size}, stride={layer.stride})']
    if isinstance(layer, NormLayer):
        norm = _batch_norm(module) if isinstance(module, nn.BatchNorm2d) else "LocalContrastNorm()"
        return [f"self.norm{number} = {norm}"]
    assert isinstance(module, nn.Sequential)
    convolution = module[0]
    assert isinstance(convolution, nn.Conv2d)
    strides = layer.stride_height, layer.stride_width
    arguments = [
        f"{convolution.in_channels}, {layer.num_filters}, {_pair(layer.filter_height, layer.filter_width)}",
        *([f"stride={_pair(*strides)}"] if max(strides) > 1 else []),
        f"padding={_pair(layer.filter_height // 2, layer.filter_width // 2)}",
        *(["bias=False"] if layer.batch_norm else []),
    ]
    lines = [f"self.conv{number} = nn.Conv2d({', '.join(arguments)})"]
    return lines + ([f"self.norm{number} = {_batch_norm(module[1])}"] if layer.batch_norm else [])


def _batch_norm(norm: nn.Module) -> str:
    assert isinstance(norm, nn.BatchNorm2d)
    epsilon = "" if norm.eps == 1e-5 else f", eps={norm.eps!r}"
    return f"nn.BatchNorm2d({norm.num_features}{epsilon})"


def _pair(height: int, width: int) -> str:
    return str(height) if height == width else f"({height}, {width})"


def _layer_steps(index: int, layer: Layer, mixed: bool) -> list[str]:
    number, name = index + 1, _name(index)
    before, read = _read(name, layer.inputs or (IMAGE,), mixed)
    if isinstance(layer, PoolLayer):
        return [*before, f"{name} = self.pool{number}({read})"]
    if isinstance(layer, NormLayer):
        return [*before, f"{name} = self.norm{number}({read})"]
    inner = f"self.conv{number}({read})"
    return [*before, f"{name} = functional.relu({f'self.norm{number}({inner})' if layer.batch_norm else inner})"]


def _read(name: str, sources: Sequence[int], mixed: bool) -> tuple[list[str], str]:
    """Statements that put the concatenated sources into a variable, and the variable to read; none for one source."""
    if len(sources) == 1:
        return [], _name(sources[0])
    names = [_name(source) for source in sources]
    listed, each = f"[{', '.join(names)}]", "".join(f"        {one},\n" for one in names)
    function, after = ("concatenate", "") if mixed else ("torch.cat", ", dim=1")
    layouts = [
        f"{name} = {function}({listed}{after})",
        f"{name} = {function}(\n    {listed}{after}\n)",
        f"{name} = {function}(\n    [\n{each}    ]{after and ',' + chr(10) + '    dim=1,'}\n)",
    ]
    fitting = (text for text in layouts if max(map(len, text.split("\n"))) <= LINE - BODY)
    return [next(fitting, layouts[-1])], name


def _pooling_point(index: int, network: ConvNet) -> list[str]:
    """Halve, at a pooling point after a layer, whatever is still to be read."""
    to_read = [source for source in range(IMAGE, index + 1) if network.last_readers.get(source, IMAGE) > index]
    halved = [f"{_name(source)} = functional.max_pool2d({_name(source)}, 2, ceil_mode=True)" for source in to_read]
    return ["# Pooling point: what was computed so far is read at half the size", *halved]


def _name(source: int) -> str:
    return "images" if source == IMAGE else f"x{source + 1}"
