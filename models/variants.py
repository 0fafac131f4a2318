"""Spaces made of another space: the same decisions, but the architecture that comes of them is changed (section 4.1).

Options: `function` and `options` of the other space, as in SearchSpace.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from models.conv_architecture import ConvArchitecture
from models.conv_layers import ConvLayer
from models.space import Decisions, SearchSpace


def densely_connected(depth: int, *, function: str, options: Mapping[str, Any]) -> Decisions:
    """Each layer reads all layers before it. Raises ValueError for what is no convolutional network, as all here do."""
    network = _convolutional((yield from _decide(depth, function, options)))
    layers = (replace(layer, inputs=tuple(range(index))) for index, layer in enumerate(network.layers))
    return replace(network, layers=tuple(layers))


def without_skips(depth: int, *, function: str, options: Mapping[str, Any]) -> Decisions:
    """Each layer reads the one before it alone."""
    network = _convolutional((yield from _decide(depth, function, options)))
    layers = (replace(layer, inputs=(index - 1,) if index else ()) for index, layer in enumerate(network.layers))
    return replace(network, layers=tuple(layers))


def more_filters(depth: int, *, function: str, options: Mapping[str, Any], count: int = 40) -> Decisions:
    """Each convolution has `count` filters more; 40 in Table 1."""
    network = _convolutional((yield from _decide(depth, function, options)))
    layers = (
        replace(layer, num_filters=layer.num_filters + count) if isinstance(layer, ConvLayer) else layer
        for layer in network.layers
    )
    return replace(network, layers=tuple(layers))


def _decide(depth: int, function: str, options: Mapping[str, Any]) -> Decisions:
    """All decisions of the other space."""
    return (yield from SearchSpace(function, options).decisions(depth))


def _convolutional(architecture: Any) -> ConvArchitecture:
    if not isinstance(architecture, ConvArchitecture):
        raise ValueError(f"{type(architecture).__name__}: allowed is a convolutional network")
    return architecture
