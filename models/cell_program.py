"""The elementwise part of a cell's time steps, and its gradient, as instructions on buffers (section 3.4).

An instruction holds views for all time steps, made once a sequence: with small batches, making them anew at each step
took as long as the arithmetic. Values of a step are [batch, hidden]; a group of leaves [leaves, batch, hidden].
"""

from collections.abc import Callable, Sequence
from itertools import groupby, pairwise
from typing import Any, NamedTuple

import torch
from torch import Tensor

from models.cell_formula import Formula, Operation

Views = Sequence[Tensor]  # one a time step


class Instruction(NamedTuple):
    """function(result, *arguments), all at the same time step."""

    function: Callable[..., Any]
    result: Views
    arguments: tuple[Views, ...]


class Buffers(NamedTuple):
    """What a sequence keeps for its gradient.

    registers [registers, time + 1, batch, hidden] are the formula's; of the last step there is but c. before, of their
    shape, is what sines were taken of. products [2, leaves, time, batch, hidden] are W x_t and U h_{t-1} of the leaves
    that do not add them.
    """

    registers: Tensor
    before: Tensor
    products: Tensor


def run(program: Sequence[Instruction], time: int) -> None:
    """Run the instructions at one time step."""
    for function, result, arguments in program:
        function(result[time], *[argument[time] for argument in arguments])


def forward_program(formula: Formula, buffers: Buffers) -> list[Instruction]:
    """From W x_t + U h_{t-1} and c_{t-1} in their registers, and products, to all registers and the next step's c."""
    program: list[Instruction] = []
    leaves, adding = len(formula.leaves), formula.num_adding
    current, next_cell = buffers.registers[:, :-1], buffers.registers[leaves, 1:].unbind()

    def activate(activation: str, group: slice) -> None:
        values = current[group].unbind(1)
        if group.start <= formula.cell < group.stop:
            program.append(Instruction(Tensor.copy_, next_cell, (current[formula.cell].unbind(),)))
        if activation == "sin":
            program.append(Instruction(Tensor.copy_, buffers.before[group].unbind(1), (values,)))
        if activation != "identity":
            program.append(Instruction(_ACTIVATE[activation], values, ()))

    for number in range(adding, leaves):
        operands = (buffers.products[0, number - adding].unbind(), buffers.products[1, number - adding].unbind())
        combine = _COMBINE[formula.leaves[number].combination]
        program.append(Instruction(combine, current[number].unbind(), operands))
    for group in _groups([leaf.activation for leaf in formula.leaves]):
        activate(formula.leaves[group.start].activation, group)
    values = [register.unbind() for register in current]
    for number, operation in enumerate(formula.operations, start=leaves + 1):
        operands = (values[operation.left], values[operation.right])
        program.append(Instruction(_COMBINE[operation.combination], values[number], operands))
        activate(operation.activation, slice(number, number + 1))
    if formula.cell == leaves:
        program.append(Instruction(Tensor.copy_, next_cell, (values[leaves],)))
    return program


def backward_program(
    formula: Formula,
    buffers: Buffers,
    grad_hidden: Views,
    last_grad_cell: Tensor,
    grad_products: tuple[Tensor, Tensor],
) -> tuple[list[Instruction], Views]:
    """Instructions, for the last step first, and where they leave the gradient of c_{t-1}.

    They fill grad_products: of U h_{t-1} [leaves, time, batch, hidden], and of W x_t for the leaves that do not add
    them, since the others' is the same. Each output is read once at most, so gradients need not be summed.
    """
    program: list[Instruction] = []
    leaves, adding, time = len(formula.leaves), formula.num_adding, len(grad_hidden)
    values = [register.unbind() for register in buffers.registers]
    slots = _gradient_slots(buffers.registers, grad_products[1])
    grads: list[Views] = [[] for _ in values]  # of the outputs
    grads[formula.hidden] = grad_hidden
    grad_cell = [last_grad_cell] * time  # of c_t; known once the instructions are

    for number in reversed(range(len(values))):
        if number == leaves:
            continue  # c_{t-1} itself
        part = formula.leaves[number] if number < leaves else formula.operations[number - leaves - 1]
        grad, slot = grads[number], slots[number]
        if part.activation != "identity":
            kept = buffers.before if part.activation == "sin" else buffers.registers
            operands = (grad, kept[number].unbind())
            program.append(Instruction(_ACTIVATION_GRADIENT[part.activation], slot, operands))
            grad = slot
        if number == formula.cell:
            program.append(Instruction(_add, slot, (grad, grad_cell)))
            grad = slot
        if isinstance(part, Operation):
            if part.combination == "add":
                grads[part.left] = grads[part.right] = grad
                continue
            results = grads[part.left], grads[part.right] = slots[part.left], slots[part.right]
            inputs = (values[part.left], values[part.right])
        else:
            if grad is not slot:
                program.append(Instruction(Tensor.copy_, slot, (grad,)))
            if part.combination == "add":
                continue
            grad, results = slot, (grad_products[0][number - adding].unbind(), slot)
            inputs = (buffers.products[0, number - adding].unbind(), buffers.products[1, number - adding].unbind())
        program += _combination_gradients(part.combination, *results, grad, *inputs)
    grad_previous = grads[leaves] or grad_cell
    grad_cell[:-1] = grad_previous[1:]
    return program, grad_previous


def _gradient_slots(registers: Tensor, grad_from_hidden: Tensor) -> list[Views]:
    """Where the gradient of each register is written: those of leaves are kept, the others needed for a step.

    A gradient of c is read one step later, while others are being written: hence two of each, by turns.
    """
    leaves, time = grad_from_hidden.shape[:2]
    pairs = registers.new_empty(len(registers) - leaves, 2, *registers.shape[2:])
    return [leaf.unbind() for leaf in grad_from_hidden] + [[pair[t % 2] for t in range(time)] for pair in pairs]


def _groups(labels: Sequence[str]) -> list[slice]:
    """Runs of equal labels."""
    ends = [0]
    for _, run_of_equals in groupby(labels):
        ends.append(ends[-1] + len(list(run_of_equals)))
    return [slice(start, stop) for start, stop in pairwise(ends)]


def _combination_gradients(
    combination: str, grad_left: Views, grad_right: Views, grad: Views, left: Views, right: Views
) -> list[Instruction]:
    """Gradients of both inputs of a product or a maximum; grad_right may be grad itself."""
    if combination == "elem_mult":
        return [Instruction(_multiply, grad_left, (grad, right)), Instruction(_multiply, grad_right, (grad, left))]
    return [
        Instruction(_share_of_maximum, grad_left, (grad, left, right)),
        Instruction(_subtract, grad_right, (grad, grad_left)),
    ]


def _add(result: Tensor, left: Tensor, right: Tensor) -> None:
    torch.add(left, right, out=result)


def _subtract(result: Tensor, left: Tensor, right: Tensor) -> None:
    torch.sub(left, right, out=result)


def _multiply(result: Tensor, left: Tensor, right: Tensor) -> None:
    torch.mul(left, right, out=result)


def _maximum(result: Tensor, left: Tensor, right: Tensor) -> None:
    torch.maximum(left, right, out=result)


def _share_of_maximum(result: Tensor, grad: Tensor, left: Tensor, right: Tensor) -> None:
    """The gradient where left is the larger; equal inputs share it."""
    half = left.new_full((), 0.5)  # not copied from the CPU: no CUDA graph may do that
    torch.mul(grad, torch.heaviside(left - right, half), out=result)


def _tanh_gradient(result: Tensor, grad: Tensor, value: Tensor) -> None:
    torch.ops.aten.tanh_backward.grad_input(grad, value, grad_input=result)


def _sigmoid_gradient(result: Tensor, grad: Tensor, value: Tensor) -> None:
    torch.ops.aten.sigmoid_backward.grad_input(grad, value, grad_input=result)


def _relu_gradient(result: Tensor, grad: Tensor, value: Tensor) -> None:
    torch.ops.aten.threshold_backward.grad_input(grad, value, 0, grad_input=result)


def _sine_gradient(result: Tensor, grad: Tensor, before: Tensor) -> None:
    torch.mul(grad, before.cos(), out=result)


_COMBINE = {"add": _add, "elem_mult": _multiply, "max": _maximum}
_ACTIVATE = {"tanh": Tensor.tanh_, "sigmoid": Tensor.sigmoid_, "relu": Tensor.relu_, "sin": Tensor.sin_}
_ACTIVATION_GRADIENT = {
    "tanh": _tanh_gradient,
    "sigmoid": _sigmoid_gradient,
    "relu": _relu_gradient,
    "sin": _sine_gradient,
}
