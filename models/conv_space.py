"""The convolutional search space of section 4.1 and the architectures it writes."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from models.space import Anchor, Choice, Decisions


@dataclass(frozen=True)
class ConvLayer:
    """A convolution, batch norm and ReLU. `inputs` are earlier layers counted from 0; none means the image."""

    filter_height: int
    filter_width: int
    num_filters: int
    inputs: tuple[int, ...] = ()
    stride_height: int = 1
    stride_width: int = 1


@dataclass(frozen=True)
class ConvArchitecture:
    """Layers in order. Layers that no layer reads are concatenated before the classifier."""

    layers: tuple[ConvLayer, ...]

    def __post_init__(self) -> None:
        for index, layer in enumerate(self.layers):
            if any(not 0 <= source < index for source in layer.inputs):
                raise ValueError(f"layer {index} reads layers {layer.inputs}: allowed are 0 to {index - 1}")

    def loose_ends(self) -> tuple[int, ...]:
        """The layers that are no layer's input (section 3.3)."""
        used = {source for layer in self.layers for source in layer.inputs}
        return tuple(index for index in range(len(self.layers)) if index not in used)

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    def describe(self) -> str:
        """The network in words, a line a layer, counting layers from 1."""
        lines = [f"{index}. {_describe_layer(layer)}" for index, layer in enumerate(self.layers, start=1)]
        ends = [str(index + 1) for index in self.loose_ends()]
        what = f"layer {ends[0]}" if len(ends) == 1 else f"layers {_join(ends)}, concatenated"
        return "\n".join([*lines, f"Classifier: global average pooling over {what}, and one linear layer"])


def conv_space(
    depth: int,
    *,
    filter_heights: Sequence[int] = (1, 3, 5, 7),  # section 4.1
    filter_widths: Sequence[int] = (1, 3, 5, 7),  # section 4.1
    num_filters: Sequence[int] = (24, 36, 48, 64),  # section 4.1
) -> Decisions:
    """Decide `depth` layers one after the other, in the order of Figure 4: height, width, anchor point, filters."""
    height_choice = Choice("filter_height", tuple(filter_heights))
    width_choice = Choice("filter_width", tuple(filter_widths))
    filters_choice = Choice("num_filters", tuple(num_filters))
    layers = []
    for n in range(depth):
        height = yield height_choice
        width = yield width_choice
        inputs = yield Anchor(n)
        filters = yield filters_choice
        layers.append(ConvLayer(height, width, filters, inputs=inputs))
    return ConvArchitecture(tuple(layers))


def _describe_layer(layer: ConvLayer) -> str:
    stride = (
        f", stride {layer.stride_height}×{layer.stride_width}" if layer.stride_height * layer.stride_width > 1 else ""
    )
    sources = [str(source + 1) for source in layer.inputs]
    reads = f"layer{'s' if len(sources) > 1 else ''} {_join(sources)}" if sources else "the image"
    return f"{layer.filter_height}×{layer.filter_width} convolution, {layer.num_filters} filters{stride}, on {reads}"


def _join(words: Sequence[str]) -> str:
    return " and ".join([", ".join(words[:-1]), words[-1]]) if len(words) > 1 else words[0]
