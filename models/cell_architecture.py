"""Recurrent cells as data: a tree of nodes and the two places where it meets the cell state (section 3.4, Figure 5)."""

import hashlib
import json
from dataclasses import asdict, dataclass, fields
from typing import Any, Self

from models.json_checks import as_tuple, check_keys, is_whole

COMBINATIONS = ("add", "elem_mult", "max")  # max and sin: control experiment 1, in the paper's Figure 8
ACTIVATIONS = ("identity", "tanh", "sigmoid", "relu", "sin")


@dataclass(frozen=True)
class Node:
    """What merges two inputs into one output: activation(combination(left, right)). The inputs may be swapped."""

    combination: str
    activation: str

    def __post_init__(self) -> None:
        check_name("combination", self.combination, COMBINATIONS)
        check_name("activation", self.activation, ACTIVATIONS)


@dataclass(frozen=True)
class CellArchitecture:
    """A binary tree over N leaves, N the base number, a power of two.

    Nodes are counted level by level: leaves 0 to N-1 read x_t and h_{t-1}, each through weights of its own; nodes N,
    N+1, … read nodes (0, 1), (2, 3), …; the last, 2N-2, is the root, whose output is h_t. c_t is what node
    `cell_index` has before its activation. c_{t-1} joins the output of node `previous_cell_index` by `inject`.
    """

    nodes: tuple[Node, ...]
    inject: Node
    cell_index: int
    previous_cell_index: int

    def __post_init__(self) -> None:
        count = len(self.nodes)
        if count < 3 or count & (count + 1):
            raise ValueError(f"{count} nodes: allowed are 3, 7, 15, …, twice a power of two less one")
        for name, allowed in (("cell_index", count), ("previous_cell_index", count - 1)):
            index = getattr(self, name)
            if not is_whole(index) or not 0 <= index < allowed:
                raise ValueError(f"{name} {index!r}: allowed are 0 to {allowed - 1}")

    @property
    def base(self) -> int:
        """The number of leaves."""
        return (len(self.nodes) + 1) // 2

    def children(self, index: int) -> tuple[int, int]:
        """The two nodes that an inner node reads."""
        assert self.base <= index < len(self.nodes), "a leaf reads x and h"
        return 2 * (index - self.base), 2 * (index - self.base) + 1

    def to_json(self) -> dict[str, Any]:
        """Plain JSON data, which `from_json` reads."""
        return {**asdict(self), "nodes": [asdict(node) for node in self.nodes]}

    @classmethod
    def from_json(cls, data: Any) -> Self:
        """The cell that JSON data describes. Raises ValueError that names the bad node and value."""
        names = [field.name for field in fields(cls)]
        check_keys(data, allowed=names, needed=names)
        nodes = [_node_from_json(f"node {index}", node) for index, node in enumerate(as_tuple("nodes", data["nodes"]))]
        inject = _node_from_json("inject", data["inject"])
        return cls(tuple(nodes), inject, data["cell_index"], data["previous_cell_index"])

    def canonical_hash(self) -> str:
        """16 hex digits for what the cell computes, up to the order of its weights: a node's inputs may be swapped."""
        digests: list[str] = []
        for index, node in enumerate(self.nodes):
            inputs = sorted(digests[child] for child in self.children(index)) if index >= self.base else []
            inject = asdict(self.inject) if index == self.previous_cell_index else None
            label = json.dumps([asdict(node), inject, index == self.cell_index, inputs], sort_keys=True)
            digests.append(hashlib.sha256(label.encode()).hexdigest()[:16])
        return digests[-1]

    def describe(self) -> str:
        """The cell as equations, a line a node; ⊙ is the elementwise product, x is x_t, h and c are of the step before.

        Where c_{t-1} joins a node's output a3, the result is a3'.
        """
        names: list[str] = []
        lines = []
        for index, node in enumerate(self.nodes):
            lines.append(f"a{index} = {_apply(node.activation, self._combined(index, names))}")
            names.append(f"a{index}")
            if index == self.previous_cell_index:
                names[index] += "'"
                lines.append(f"{names[index]} = {_apply(self.inject.activation, _join(self.inject, f'a{index}', 'c'))}")
        lines.append(f"new h = {names[-1]}")
        lines.append(f"new c = {self._combined(self.cell_index, names)}")
        return "\n".join(lines)

    def _combined(self, index: int, names: list[str]) -> str:
        if index < self.base:
            return _join(self.nodes[index], f"W{index}·x", f"U{index}·h")
        left, right = self.children(index)
        return _join(self.nodes[index], names[left], names[right])


def check_name(what: str, name: Any, allowed: tuple[str, ...]) -> None:
    """Raise ValueError for a name that is not allowed."""
    if name not in allowed:
        raise ValueError(f"{what} {name!r}: allowed are {', '.join(allowed)}")


def _node_from_json(what: str, data: Any) -> Node:
    try:
        check_keys(data, allowed=["combination", "activation"], needed=["combination", "activation"])
        return Node(**data)
    except ValueError as error:
        raise ValueError(f"{what}: {error}") from error


def _join(node: Node, left: str, right: str) -> str:
    if node.combination == "max":
        return f"max({left}, {right})"
    return f"{left} {'+' if node.combination == 'add' else '⊙'} {right}"


def _apply(activation: str, text: str) -> str:
    return text if activation == "identity" else f"{activation}({text})"
