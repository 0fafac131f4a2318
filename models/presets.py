"""Architectures that the paper shows."""

from models.conv_architecture import ConvArchitecture
from models.conv_layers import ConvLayer

# Filter height, filter width, number of filters, and inputs counted from 1; none is the image.
_FIGURE_7: tuple[tuple[int, int, int, tuple[int, ...]], ...] = (
    (3, 3, 36, ()),
    (3, 3, 48, (1,)),
    (3, 3, 36, (1, 2)),
    (5, 5, 36, (1, 2, 3)),
    (3, 7, 48, (3, 4)),
    (7, 7, 48, (2, 3, 4, 5)),
    (7, 7, 48, (2, 3, 4, 5, 6)),
    (7, 3, 36, (1, 6, 7)),
    (7, 1, 36, (1, 5, 6, 8)),
    (7, 7, 36, (1, 3, 4, 5, 6, 7, 8, 9)),
    (5, 7, 36, (1, 2, 5, 6, 7, 8, 9, 10)),
    (7, 7, 48, (1, 2, 3, 4, 6, 11)),
    (7, 5, 48, (1, 3, 6, 7, 8, 9, 10, 11, 12)),
    (7, 5, 48, (3, 7, 12, 13)),
    (7, 5, 48, (2, 7, 11, 12, 13, 14)),
)


def figure7() -> ConvArchitecture:
    """The 15-layer network of Appendix A, Figure 7: the best without strides and pooling, 4.2M parameters (Table 1)."""
    return ConvArchitecture(
        tuple(
            ConvLayer(height, width, filters, tuple(number - 1 for number in inputs))
            for height, width, filters, inputs in _FIGURE_7
        )
    )
