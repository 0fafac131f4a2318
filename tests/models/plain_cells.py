"""Recurrent cells worked out node by node from their architecture, for tests to compare with."""

from random import Random

import torch
from torch import Tensor

from models.cell_architecture import CellArchitecture, Node
from models.cell_formula import leaf_order
from models.recurrent import RecurrentLayer
from models.space import SearchSpace

WIDE = {"combinations": ("add", "elem_mult", "max"), "activations": ("identity", "tanh", "sigmoid", "relu", "sin")}


def random_cell(seed: int, **options: object) -> CellArchitecture:
    """Any cell of a space, with max and sin."""
    random = Random(seed)
    path = SearchSpace("models.cell_space:cell_space", {**WIDE, **options}).paths(0, 1)[0]
    while path.decision is not None:
        path.take(random.randrange(path.decision.num_options))
    assert isinstance(path.architecture, CellArchitecture)
    return path.architecture


def combine(node: Node, left: Tensor, right: Tensor) -> Tensor:
    if node.combination == "add":
        return left + right
    return left * right if node.combination == "elem_mult" else torch.maximum(left, right)


def activate(node: Node, value: Tensor) -> Tensor:
    return value if node.activation == "identity" else getattr(torch, node.activation)(value)


def plain_step(
    cell: CellArchitecture, from_input: list[Tensor], from_hidden: list[Tensor], previous_cell: Tensor
) -> tuple[Tensor, Tensor]:
    """(h_t, c_t) from W_i x_t and U_i h_{t-1} of each leaf, in the tree's own order."""
    outputs: list[Tensor] = []
    new_cell = previous_cell
    for index, node in enumerate(cell.nodes):
        if index < cell.base:
            before = combine(node, from_input[index], from_hidden[index])
        else:
            left, right = 2 * (index - cell.base), 2 * (index - cell.base) + 1
            before = combine(node, outputs[left], outputs[right])
        if index == cell.cell_index:
            new_cell = before
        outputs.append(activate(node, before))
        if index == cell.previous_cell_index:
            outputs[-1] = activate(cell.inject, combine(cell.inject, outputs[-1], previous_cell))
    return outputs[-1], new_cell


def plain_layer(
    cell: CellArchitecture, layer: RecurrentLayer, inputs: Tensor, hidden: Tensor, state: Tensor
) -> tuple[Tensor, Tensor]:
    """What a layer without dropout computes: outputs [time, batch, hidden] and the last c."""
    order = leaf_order(cell)
    places = [order.index(leaf) for leaf in range(cell.base)]
    outputs = []
    for step in inputs:
        from_input = [step @ layer.input_weight[place].T for place in places]
        from_hidden = [hidden @ layer.hidden_weight[place].T for place in places]
        if layer.bias is not None:
            from_hidden = [product + layer.bias[place] for product, place in zip(from_hidden, places, strict=True)]
        hidden, state = plain_step(cell, from_input, from_hidden, state)
        outputs.append(hidden)
    return torch.stack(outputs), state
