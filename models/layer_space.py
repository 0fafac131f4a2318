"""The wider space of section 3.3: the type of each layer, and the learning rate, are decisions too."""

from collections.abc import Sequence

from models.conv_architecture import ConvArchitecture
from models.conv_layers import ConvLayer, Layer, NormLayer, PoolLayer
from models.space import Anchor, Choice, Decisions

LAYER_TYPES = (
    "convolution", "max_pooling", "average_pooling", "local_contrast_normalisation", "batch_normalisation",
)  # fmt: skip


def layer_space(
    depth: int,
    *,
    layer_types: Sequence[str] = LAYER_TYPES,
    filter_heights: Sequence[int] = (1, 3, 5, 7),
    filter_widths: Sequence[int] = (1, 3, 5, 7),
    num_filters: Sequence[int] = (24, 36, 48, 64),
    pool_sizes: Sequence[int] = (2, 3),
    pool_strides: Sequence[int] = (1, 2),
    learning_rates: Sequence[float] = (),
) -> Decisions:
    """Decide the learning rate, where there are several, and then `depth` layers one after the other.

    A layer's type comes first and says what follows: of a convolution filter height, filter width, anchor point and
    number of filters, as in Figure 4; of a pooling size, stride and anchor point; of a normalisation the anchor
    point. Convolutions have a bias and no batch norm of their own, since it is a layer here.
    """
    unknown = [name for name in layer_types if name not in LAYER_TYPES]
    if unknown:
        raise ValueError(f"layer_types {', '.join(unknown)}: allowed are {', '.join(LAYER_TYPES)}")
    learning_rate = (yield Choice("learning_rate", tuple(learning_rates))) if learning_rates else None
    layers: list[Layer] = []
    for n in range(depth):
        layer_type = yield Choice("layer_type", tuple(layer_types))
        match layer_type:
            case "convolution":
                height = yield Choice("filter_height", tuple(filter_heights))
                width = yield Choice("filter_width", tuple(filter_widths))
                inputs = yield Anchor(n)
                filters = yield Choice("num_filters", tuple(num_filters))
                layers.append(ConvLayer(height, width, filters, inputs, batch_norm=False))
            case "max_pooling" | "average_pooling":
                size = yield Choice("pool_size", tuple(pool_sizes))
                stride = yield Choice("pool_stride", tuple(pool_strides))
                inputs = yield Anchor(n)
                layers.append(PoolLayer("max" if layer_type == "max_pooling" else "average", size, stride, inputs))
            case _:
                inputs = yield Anchor(n)
                layers.append(NormLayer("batch" if layer_type == "batch_normalisation" else "local_contrast", inputs))
    return ConvArchitecture(tuple(layers), learning_rate=learning_rate)
