"""The convolutional search space of section 4.1."""

from collections.abc import Sequence

from models.conv_architecture import ConvArchitecture as ConvArchitecture
from models.conv_layers import ConvLayer as ConvLayer
from models.space import Anchor, Choice, Decisions


def conv_space(
    depth: int,
    *,
    filter_heights: Sequence[int] = (1, 3, 5, 7),  # section 4.1
    filter_widths: Sequence[int] = (1, 3, 5, 7),  # section 4.1
    num_filters: Sequence[int] = (24, 36, 48, 64),  # section 4.1
    strides: Sequence[int] | None = None,  # section 4.1, second experiment: 1, 2, 3; unset: 1, not predicted
    block_size: int = 1,  # section 4.1, third experiment: 3
    pool_after: Sequence[int] = (),  # section 4.1, third experiment: 13, 24
) -> Decisions:
    """Decide `depth` layers one after the other, in the order of Figure 4.

    That is filter height, filter width, stride height, stride width, anchor point, number of filters.

    A predicted layer becomes `block_size` layers with the same filters and strides, fully connected: each reads the
    inputs of the block and all earlier layers of the block. In a block without inputs the first layer reads the
    image, and the others read the earlier layers of the block. Later blocks read a block by its last layer.

    `pool_after` counts layers, not predicted ones, from 1: every connection that crosses a pooling point, from the
    image and to the classifier too, is pooled (2×2, stride 2), so that sizes agree on each side of it. Points that a
    shallower network does not reach are left out.
    """
    if block_size < 1:
        raise ValueError(f"block_size {block_size}: must be at least 1")
    if any(point < 1 for point in pool_after):
        raise ValueError(f"pool_after {tuple(pool_after)}: layers are counted from 1")
    height_choice = Choice("filter_height", tuple(filter_heights))
    width_choice = Choice("filter_width", tuple(filter_widths))
    filters_choice = Choice("num_filters", tuple(num_filters))
    layers: list[ConvLayer] = []
    for n in range(depth):
        height = yield height_choice
        width = yield width_choice
        stride_height = stride_width = 1
        if strides is not None:
            stride_height = yield Choice("stride_height", tuple(strides))
            stride_width = yield Choice("stride_width", tuple(strides))
        blocks = yield Anchor(n)
        filters = yield filters_choice
        first, inputs = n * block_size, tuple((block + 1) * block_size - 1 for block in blocks)
        for index in range(first, first + block_size):
            reads = (*inputs, *range(first, index))
            layers.append(ConvLayer(height, width, filters, reads, stride_height, stride_width))
    points = sorted(point for point in set(pool_after) if point <= len(layers))
    return ConvArchitecture(tuple(layers), tuple(points))
