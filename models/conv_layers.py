"""Layers of convolutional architectures as data, and as JSON (sections 3.3 and 4.1).

The `inputs` of a layer are earlier layers counted from 0, concatenated in depth; none means the image.
"""

from dataclasses import MISSING, dataclass, fields
from typing import Any, Literal

from models.json_checks import as_tuple, check_keys, is_whole


@dataclass(frozen=True)
class ConvLayer:
    """A convolution, batch norm (or, without it, a bias) and ReLU."""

    filter_height: int
    filter_width: int
    num_filters: int
    inputs: tuple[int, ...] = ()
    stride_height: int = 1
    stride_width: int = 1
    batch_norm: bool = True

    def __post_init__(self) -> None:
        _check_positive(self, "filter_height", "filter_width", "num_filters", "stride_height", "stride_width")
        if type(self.batch_norm) is not bool:
            raise ValueError(f"batch_norm {self.batch_norm!r}: allowed are false, true")

    def describe(self) -> str:
        """In words, without its inputs."""
        height, width = self.stride_height, self.stride_width
        stride = f", stride {height}×{width}" if height * width > 1 else ""
        norm = "" if self.batch_norm else ", no batch norm"
        return f"{self.filter_height}×{self.filter_width} convolution, {self.num_filters} filters{stride}{norm}"


@dataclass(frozen=True)
class PoolLayer:
    """Pooling over square windows; as many channels as its inputs have together."""

    kind: Literal["max", "average"]
    size: int
    stride: int
    inputs: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        _check_kind(self.kind, "max", "average")
        _check_positive(self, "size", "stride")

    def describe(self) -> str:
        """In words, without its inputs."""
        return f"{self.size}×{self.size} {self.kind} pooling, stride {self.stride}"


@dataclass(frozen=True)
class NormLayer:
    """A normalisation alone; as many channels as its inputs have together."""

    kind: Literal["local_contrast", "batch"]
    inputs: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        _check_kind(self.kind, "local_contrast", "batch")

    def describe(self) -> str:
        """In words, without its inputs."""
        return f"{self.kind.replace('_', ' ')} normalisation"


Layer = ConvLayer | PoolLayer | NormLayer
LAYER_TYPES: dict[str, type[Layer]] = {"convolution": ConvLayer, "pooling": PoolLayer, "normalisation": NormLayer}


def layer_to_json(layer: Layer) -> dict[str, Any]:
    """A layer as plain JSON data with its type."""
    name = next(name for name, layer_type in LAYER_TYPES.items() if isinstance(layer, layer_type))
    return {"type": name, **vars(layer), "inputs": list(layer.inputs)}


def layer_from_json(data: Any) -> Layer:
    """The layer that JSON data describes; a convolution where it has no type. Raises ValueError for any other data."""
    check_keys(data, allowed=None, needed=())
    name = data.get("type", "convolution")
    if name not in list(LAYER_TYPES):
        raise ValueError(f"type {name!r}: allowed are {', '.join(LAYER_TYPES)}")
    layer_type = LAYER_TYPES[name]
    needed = [field.name for field in fields(layer_type) if field.default is MISSING]
    check_keys(data, allowed=["type", *(field.name for field in fields(layer_type))], needed=needed)
    values = {key: value for key, value in data.items() if key != "type"}
    return layer_type(**{**values, "inputs": as_tuple("inputs", data.get("inputs", ()))})


def _check_positive(layer: Layer, *names: str) -> None:
    for name in names:
        value = getattr(layer, name)
        if not is_whole(value) or value < 1:
            raise ValueError(f"{name} {value!r}: must be a whole number of at least 1")


def _check_kind(kind: Any, *allowed: str) -> None:
    if kind not in allowed:
        raise ValueError(f"kind {kind!r}: allowed are {', '.join(allowed)}")
