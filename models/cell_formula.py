"""One step of a recurrent cell as straight-line code: what a searched tree, an LSTM and a basic RNN have in common."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from models.cell_architecture import CellArchitecture, Node

Cell = CellArchitecture | Literal["lstm", "rnn"]


@dataclass(frozen=True)
class Operation:
    """activation(combination(left, right)) of two registers."""

    combination: str
    left: int
    right: int
    activation: str


@dataclass(frozen=True)
class Formula:
    """Registers: one a leaf, activation(combination(W x_t, U h_{t-1})); then c_{t-1}; then one an operation, in order.

    `hidden` is the register that is h_t. c_t is what register `cell` has before its activation.
    """

    leaves: tuple[Node, ...]
    operations: tuple[Operation, ...]
    hidden: int
    cell: int

    @property
    def num_registers(self) -> int:
        return len(self.leaves) + 1 + len(self.operations)

    @property
    def num_adding(self) -> int:
        """The leaves that add their products come first."""
        return sum(leaf.combination == "add" for leaf in self.leaves)

    @property
    def has_sine(self) -> bool:
        activations = [leaf.activation for leaf in self.leaves] + [part.activation for part in self.operations]
        return "sin" in activations


# Leaves i, f, o, g; registers 5 to 8: i ⊙ g, f ⊙ c, tanh of their sum, which is c_t, and o times that.
_LSTM = Formula(
    leaves=(Node("add", "sigmoid"),) * 3 + (Node("add", "tanh"),),
    operations=(
        Operation("elem_mult", 0, 3, "identity"),
        Operation("elem_mult", 1, 4, "identity"),
        Operation("add", 5, 6, "tanh"),
        Operation("elem_mult", 2, 7, "identity"),
    ),
    hidden=8,
    cell=7,
)
_RNN = Formula(leaves=(Node("add", "tanh"),), operations=(), hidden=0, cell=1)  # c stays what it is
_BASELINES = {"lstm": _LSTM, "rnn": _RNN}


def leaf_order(cell: CellArchitecture) -> list[int]:
    """The leaves in the order in which their weights are stored: equal ones next to each other."""
    return sorted(range(cell.base), key=lambda leaf: (cell.nodes[leaf].combination, cell.nodes[leaf].activation))


def formula_of(cell: Cell) -> Formula:
    """The formula of a tree, of an LSTM or of the basic RNN. Raises ValueError for any other name."""
    if not isinstance(cell, CellArchitecture):
        if cell not in _BASELINES:
            raise ValueError(f"cell {cell!r}: allowed are {', '.join(_BASELINES)} and a CellArchitecture")
        return _BASELINES[cell]
    order = leaf_order(cell)
    registers: list[int] = []  # of the output of each node
    operations: list[Operation] = []

    def operate(node: Node, left: int, right: int) -> int:
        operations.append(Operation(node.combination, left, right, node.activation))
        return cell.base + len(operations)

    computed: list[int] = []  # registers of the nodes themselves, before c_{t-1} is injected
    for index, node in enumerate(cell.nodes):
        if index < cell.base:
            computed.append(order.index(index))
        else:
            left, right = cell.children(index)
            computed.append(operate(node, registers[left], registers[right]))
        registers.append(computed[-1])
        if index == cell.previous_cell_index:
            registers[-1] = operate(cell.inject, computed[-1], cell.base)
    leaves: Sequence[Node] = [cell.nodes[leaf] for leaf in order]
    return Formula(tuple(leaves), tuple(operations), registers[-1], computed[cell.cell_index])
