"""Architectures that the paper shows."""

from models.cell_architecture import CellArchitecture, Node
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


_NASCELL = (
    "add sigmoid", "add relu", "add sigmoid", "elem_mult relu", "add tanh", "add sigmoid", "add tanh", "add sigmoid",
    "elem_mult tanh", "add tanh", "elem_mult tanh", "add sigmoid",
    "elem_mult identity", "add tanh",
    "elem_mult tanh",
)  # fmt: skip


def nascell() -> CellArchitecture:
    """The cell of Appendix A, Figure 8 without max and sin, known as NASCell.

    With p_i = W_i·x_t, q_i = U_i·h_{t-1} for each leaf i (a bias, where there is one, belongs to q_i):

        a0 = sigmoid(p0 + q0)    a1 = relu(p1 + q1)       a2 = sigmoid(p2 + q2)    a3 = relu(p3 ⊙ q3)
        a4 = tanh(p4 + q4)       a5 = sigmoid(p5 + q5)    a6 = tanh(p6 + q6)       a7 = sigmoid(p7 + q7)
        a8 = tanh(a0 ⊙ a1)       a9 = tanh(a2 + a3)       a10 = tanh(a4 ⊙ a5)      a11 = sigmoid(a6 + a7)
        a8' = tanh(a8 + c_{t-1})
        c_t = a12 = a8' ⊙ a9     a13 = tanh(a10 + a11)    h_t = a14 = tanh(a12 ⊙ a13)
    """
    nodes = tuple(Node(*labels.split()) for labels in _NASCELL)
    return CellArchitecture(nodes, Node("add", "tanh"), cell_index=12, previous_cell_index=8)
