"""A layer of a recurrent cell over a whole sequence (section 3.4)."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from models.cell_formula import Formula

_COMBINE: dict[str, Callable[..., Any]] = {"add": torch.add, "elem_mult": torch.mul, "max": torch.maximum}
_ACTIVATE: dict[str, Callable[..., Any]] = {
    "identity": lambda x: x,
    "tanh": torch.tanh,
    "sigmoid": torch.sigmoid,
    "relu": torch.relu,
    "sin": torch.sin,
}


def recur(
    formula: Formula, inputs: Tensor, hidden_weight: Tensor, bias: Tensor | None, hidden: Tensor, cell: Tensor
) -> tuple[Tensor, Tensor]:
    outputs = []
    for step in inputs:
        products = torch.nn.functional.linear(hidden, hidden_weight, bias)
        hidden, cell = _step(formula, step, products, cell)
        outputs.append(hidden)
    return torch.stack(outputs), cell


def _step(formula: Formula, step: Tensor, products: Tensor, cell: Tensor) -> tuple[Tensor, Tensor]:
    pre, values = [], []
    count = len(formula.leaves)
    for leaf, a, b in zip(formula.leaves, step.chunk(count, -1), products.chunk(count, -1), strict=True):
        pre.append(_COMBINE[leaf.combination](a, b))
        values.append(_ACTIVATE[leaf.activation](pre[-1]))
    pre.append(cell)
    values.append(cell)
    for operation in formula.operations:
        pre.append(_COMBINE[operation.combination](values[operation.left], values[operation.right]))
        values.append(_ACTIVATE[operation.activation](pre[-1]))
    return values[formula.hidden], pre[formula.cell]
