"""The space of recurrent cells of sections 3.4 and 4.2."""

from collections.abc import Sequence

from models.cell_architecture import ACTIVATIONS, COMBINATIONS, CellArchitecture, Node, check_name
from models.space import Choice, Decisions


def cell_space(
    depth: int,
    *,
    base: int = 8,  # section 4.2
    combinations: Sequence[str] = ("add", "elem_mult"),  # section 4.2; max in control experiment 1
    activations: Sequence[str] = ("identity", "tanh", "sigmoid", "relu"),  # section 4.2; sin in control experiment 1
) -> Decisions:
    """Decide a tree over `base` leaves in the order of Figure 5. `depth` means nothing here.

    That is combination and activation of each node, those of the cell inject, then the nodes that give c_t and take
    c_{t-1}: 4·base + 2 tokens. Base 8 has 8^16 × 15 × 14, the paper's "approximately 6×10^16", cells.
    """
    if base < 2 or base & (base - 1):
        raise ValueError(f"base {base}: must be a power of two of at least 2, so that every two nodes have a parent")
    for name in combinations:
        check_name("combination", name, COMBINATIONS)
    for name in activations:
        check_name("activation", name, ACTIVATIONS)
    count = 2 * base - 1
    nodes = []
    for _ in range(count):
        combination = yield Choice("combination", tuple(combinations))
        activation = yield Choice("activation", tuple(activations))
        nodes.append(Node(combination, activation))
    combination = yield Choice("inject_combination", tuple(combinations))
    activation = yield Choice("inject_activation", tuple(activations))
    cell_index = yield Choice("cell_index", tuple(range(count)))
    previous_cell_index = yield Choice("previous_cell_index", tuple(range(count - 1)))
    return CellArchitecture(tuple(nodes), Node(combination, activation), cell_index, previous_cell_index)
