"""One time step of a cell and its gradient, written out so that no graph of it need be kept (section 3.4).

Tensors are [batch, hidden] each; those of all leaves are [leaves, batch, hidden].
"""

from collections.abc import Sequence
from itertools import groupby

import torch
from torch import Tensor

from models.cell_formula import Formula

_COMBINE = {"add": torch.add, "elem_mult": torch.mul, "max": torch.maximum}
_ACTIVATE = {"tanh": torch.tanh_, "sigmoid": torch.sigmoid_, "relu": torch.relu_, "sin": torch.sin_}


def forward_step(
    formula: Formula, from_input: Tensor, from_hidden: Tensor, registers: Tensor, before: Tensor, next_cell: Tensor
) -> None:
    """Fill `registers` [registers, batch, hidden], where c_{t-1} is already, and `next_cell`.

    from_input and from_hidden are W x_t and U h_{t-1} of all leaves. `before` [registers, batch, hidden] keeps what a
    sine was taken of, which its gradient needs.
    """
    start, leaves = 0, len(formula.leaves)
    for combination, equal in groupby(leaf.combination for leaf in formula.leaves):
        group = slice(start, start := start + len(list(equal)))
        _COMBINE[combination](from_input[group], from_hidden[group], out=registers[group])
    start = 0
    for activation, equal in groupby(leaf.activation for leaf in formula.leaves):
        group = slice(start, start := start + len(list(equal)))
        if group.start <= formula.cell < group.stop:
            next_cell.copy_(registers[formula.cell])
        _activate(activation, registers[group], before[group])
    values = registers.unbind()
    for number, operation in enumerate(formula.operations, start=leaves + 1):
        _COMBINE[operation.combination](values[operation.left], values[operation.right], out=values[number])
        if number == formula.cell:
            next_cell.copy_(values[number])
        _activate(operation.activation, values[number], before[number : number + 1])
    if formula.cell == leaves:
        next_cell.copy_(values[leaves])


def backward_step(
    formula: Formula,
    from_input: Tensor,
    from_hidden: Tensor,
    registers: Tensor,
    before: Tensor,
    grad_hidden: Tensor,
    grad_cell: Tensor,
    grad_from_input: Tensor,
    grad_from_hidden: Tensor,
) -> Tensor:
    """The gradient of c_{t-1} from those of h_t and c_t; fills grad_from_input and grad_from_hidden.

    An output is read by one operation at most, so gradients need not be summed.
    """
    leaves = len(formula.leaves)
    values = registers.unbind()
    grads: list[Tensor | None] = [None] * len(values)
    grads[formula.hidden] = grad_hidden

    def before_activation(number: int, activation: str) -> Tensor:
        grad = grads[number]
        assert grad is not None, "each node is read"
        grad = _activation_gradient(activation, grad, values[number], before, number)
        return grad + grad_cell if number == formula.cell else grad

    for number in range(len(values) - 1, leaves, -1):
        operation = formula.operations[number - leaves - 1]
        grad = before_activation(number, operation.activation)
        left, right = operation.left, operation.right
        grads[left], grads[right] = _combination_gradients(operation.combination, grad, values[left], values[right])
    for number, leaf in enumerate(formula.leaves):
        grad = before_activation(number, leaf.activation)
        left_grad, right_grad = _combination_gradients(leaf.combination, grad, from_input[number], from_hidden[number])
        grad_from_input[number].copy_(left_grad)
        grad_from_hidden[number].copy_(right_grad)
    grad = grads[leaves]
    return grad_cell if grad is None else grad


def _activate(activation: str, values: Tensor, before: Tensor) -> None:
    if activation == "sin":
        before.copy_(values)
    if activation != "identity":
        _ACTIVATE[activation](values)


def _activation_gradient(activation: str, grad: Tensor, value: Tensor, before: Tensor, number: int) -> Tensor:
    if activation == "tanh":
        return torch.ops.aten.tanh_backward(grad, value)
    if activation == "sigmoid":
        return torch.ops.aten.sigmoid_backward(grad, value)
    if activation == "relu":
        return torch.ops.aten.threshold_backward(grad, value, 0)
    if activation == "sin":
        return grad * before[number].cos()
    return grad


def _combination_gradients(combination: str, grad: Tensor, left: Tensor, right: Tensor) -> Sequence[Tensor]:
    """Gradients of both inputs; equal inputs of a maximum share it."""
    if combination == "add":
        return grad, grad
    if combination == "elem_mult":
        return grad * right, grad * left
    share = grad * torch.heaviside(left - right, left.new_tensor(0.5))
    return share, grad - share
