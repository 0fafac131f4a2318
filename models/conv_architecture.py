"""Convolutional architectures as data: layers, wiring, pooling points and a learning rate (sections 3.3 and 4.1)."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any, Self

from models.conv_layers import Layer, layer_from_json, layer_to_json
from models.graph_hash import graph_hash
from models.json_checks import as_tuple, check_keys, is_whole

IMAGE = -1  # the image in connections: layers are counted from 0


@dataclass(frozen=True)
class ConvArchitecture:
    """Layers in order. Layers that no layer reads are concatenated before the classifier.

    `pool_after` has the pooling points, in layers counted from 1: whatever is read across one, the image too, is
    max-pooled 2×2 with stride 2. `learning_rate` is the child's, where the architecture decides it.
    """

    layers: tuple[Layer, ...]
    pool_after: tuple[int, ...] = ()
    learning_rate: float | None = None

    def __post_init__(self) -> None:
        if not self.layers:
            raise ValueError("an architecture has at least one layer")
        for index, layer in enumerate(self.layers):
            if not all(is_whole(source) and 0 <= source < index for source in layer.inputs):
                allowed = f"0 to {index - 1}" if index else "none"
                raise ValueError(f"layer {index} reads layers {layer.inputs}: allowed are {allowed}")
            if len(set(layer.inputs)) < len(layer.inputs):
                raise ValueError(f"layer {index} reads layers {layer.inputs}: allowed is each once")
        points, last = self.pool_after, len(self.layers)
        if not all(is_whole(point) and 1 <= point <= last for point in points) or list(points) != sorted(set(points)):
            raise ValueError(f"pool_after {points}: allowed are rising numbers of layers, 1 to {last}")
        rate: Any = self.learning_rate
        if rate is not None and not ((isinstance(rate, float) or is_whole(rate)) and 0 < rate < math.inf):
            raise ValueError(f"learning_rate {rate!r}: must be a positive number")

    def loose_ends(self) -> tuple[int, ...]:
        """The layers that are no layer's input (section 3.3)."""
        used = {source for layer in self.layers for source in layer.inputs}
        return tuple(index for index in range(len(self.layers)) if index not in used)

    def connections(self) -> list[tuple[int, int]]:
        """(source, reader) of every connection; the image is IMAGE, the classifier comes after the last layer."""
        between = [(source, index) for index, layer in enumerate(self.layers) for source in layer.inputs or (IMAGE,)]
        return between + [(end, len(self.layers)) for end in self.loose_ends()]

    def to_json(self) -> dict[str, Any]:
        """Plain JSON data, which `from_json` reads."""
        layers = [layer_to_json(layer) for layer in self.layers]
        return {"layers": layers, "pool_after": list(self.pool_after), "learning_rate": self.learning_rate}

    @classmethod
    def from_json(cls, data: Any) -> Self:
        """The architecture that JSON data describes. Raises ValueError that names the bad layer and value."""
        check_keys(data, allowed=[field.name for field in fields(cls)], needed=["layers"])
        layers = []
        for index, layer in enumerate(as_tuple("layers", data["layers"])):
            try:
                layers.append(layer_from_json(layer))
            except ValueError as error:
                raise ValueError(f"layer {index}: {error}") from error
        return cls(tuple(layers), as_tuple("pool_after", data.get("pool_after", ())), data.get("learning_rate"))

    def canonical_hash(self) -> str:
        """16 hex digits for what the network computes, up to the order of its weights.

        The numbers of the layers do not matter, nor where exactly a pooling point is, but how many of them each
        connection crosses.
        """
        labels = ["image", *({**layer_to_json(layer), "inputs": None} for layer in self.layers), "classifier"]
        edges = []
        for source, reader in self.connections():
            crossed = sum(source < point <= reader for point in self.pool_after)
            edges.append((source + 1, reader + 1, crossed))  # the image is node 0
        return graph_hash([*labels, {"learning_rate": self.learning_rate and float(self.learning_rate)}], edges)

    def describe(self) -> str:
        """The network in words, a line a layer, counting layers from 1."""
        lines = []
        for number, layer in enumerate(self.layers, start=1):
            lines.append(f"{number}. {layer.describe()}, on {_in_words(layer.inputs) if layer.inputs else 'the image'}")
            if number in self.pool_after:
                lines.append("   From here on, what was computed so far is read through 2×2 max pooling, stride 2")
        ends = self.loose_ends()
        what = _in_words(ends) + (", concatenated" if len(ends) > 1 else "")
        lines.append(f"Classifier: global average pooling over {what}, and one linear layer")
        if self.learning_rate is not None:
            lines.append(f"Learning rate: {self.learning_rate:g}")
        return "\n".join(lines)


def _in_words(indices: Sequence[int]) -> str:
    """`layers 1, 2 and 5` for (0, 1, 4)."""
    numbers = [str(index + 1) for index in indices]
    if len(numbers) == 1:
        return f"layer {numbers[0]}"
    return f"layers {', '.join(numbers[:-1])} and {numbers[-1]}"
