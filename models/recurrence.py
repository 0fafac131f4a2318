"""A layer of a recurrent cell over a whole sequence, with back-propagation through time by hand (section 3.4).

All W x_t are one product, each U h_{t-1} is one, added to W x_t in place where a leaf adds them, and the gradients of W
and of U are one each; in between are the elementwise instructions of `cell_program`. Products are batched over leaves:
as fast as one wide product, each leaf's values lie together, and each leaf may have a dropout mask of its own.
"""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from models.cell_formula import Formula
from models.cell_program import Buffers, Instruction, backward_program, forward_program, run


class Recurrence(torch.autograd.Function):
    """(outputs [time, batch, hidden], last c [batch, hidden]) of inputs [leaves or 1, time, batch, input].

    input_weight is [leaves, hidden, input], hidden_weight [leaves, hidden, hidden], bias [leaves, hidden], first h and
    c [batch, hidden], mask [leaves, batch, hidden], by which h_{t-1} is multiplied. Bias and mask may be None.
    """

    @staticmethod
    def forward(
        ctx: Any,
        formula: Formula,
        inputs: Tensor,
        input_weight: Tensor,
        hidden_weight: Tensor,
        bias: Tensor | None,
        hidden: Tensor,
        cell: Tensor,
        mask: Tensor | None,
    ) -> tuple[Tensor, Tensor]:
        leaves, adding, time, (batch, units) = len(formula.leaves), formula.num_adding, inputs.shape[1], hidden.shape
        registers = hidden.new_empty(formula.num_registers, time + 1, batch, units)
        before = torch.empty_like(registers) if formula.has_sine else registers
        products = inputs.new_empty(2, leaves - adding, time, batch, units)
        program = forward_program(formula, Buffers(registers, before, products))
        sums = registers[:adding, :time]
        if inputs.dtype != hidden.dtype:
            sums = inputs.new_empty(sums.shape)
            program.insert(0, Instruction(Tensor.copy_, registers[:adding, :time].unbind(1), (sums.unbind(1),)))
        flat = inputs.flatten(1, 2).expand(leaves, -1, -1)  # [leaves, time·batch, input]
        torch.bmm(flat[:adding], input_weight[:adding].mT, out=sums.view(adding, time * batch, units))
        torch.bmm(flat[adding:], input_weight[adding:].mT, out=products[0].flatten(1, 2))
        if bias is not None:
            sums.add_(bias[:adding, None, None])
        registers[leaves, 0] = cell
        transposed, outputs, sum_at = hidden_weight.mT, registers[formula.hidden, :time], sums.unbind(1)
        for t, previous in enumerate([hidden, *outputs[:-1]]):
            spread = _spread(previous, mask, leaves, inputs.dtype)
            torch.baddbmm(sum_at[t], spread[:adding], transposed[:adding], out=sum_at[t])
            if adding < leaves:
                torch.bmm(spread[adding:], transposed[adding:], out=products[1, :, t])
                if bias is not None:
                    products[1, :, t].add_(bias[adding:, None])
            run(program, t)
        ctx.formula, ctx.with_bias = formula, bias is not None
        ctx.save_for_backward(inputs, input_weight, hidden_weight, hidden, mask, registers, before, products)
        return outputs.clone(), registers[leaves, time].clone()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_outputs: Tensor, grad_cell: Tensor) -> tuple[Tensor | None, ...]:
        inputs, input_weight, hidden_weight, hidden, mask, *kept = ctx.saved_tensors
        formula, buffers = ctx.formula, Buffers(*kept)
        (leaves, units, _), (time, batch, _) = hidden_weight.shape, grad_outputs.shape
        grad_from_hidden = inputs.new_empty(leaves, time, batch, units)  # and from input, where they are added
        grad_from_input = torch.empty_like(buffers.products[0])  # where they are not
        # Of h_{-1}, h_0, …: each step adds to the one before.
        grad_hidden = torch.cat([torch.zeros_like(grad_outputs[:1]), grad_outputs]).unbind()
        grads = (grad_from_input, grad_from_hidden)
        program, grad_previous_cell = backward_program(formula, buffers, grad_hidden[1:], grad_cell, grads)
        at_step = grad_from_hidden.unbind(1)
        for t in reversed(range(time)):
            run(program, t)
            spread = torch.bmm(at_step[t], hidden_weight)  # [leaves, batch, hidden]
            grad_hidden[t].add_((spread if mask is None else spread * mask).sum(0, dtype=hidden.dtype))
        previous = torch.cat([hidden.unsqueeze(0), buffers.registers[formula.hidden, : time - 1]])
        spread = _spread(previous, None if mask is None else mask.unsqueeze(1), leaves, grad_from_hidden.dtype)
        flat_grad = grad_from_hidden.flatten(1, 2)  # [leaves, time·batch, hidden]
        grad_hidden_weight = torch.bmm(flat_grad.mT, spread.flatten(1, 2))
        grad_bias = flat_grad.sum(1, dtype=hidden.dtype) if ctx.with_bias else None
        grad_from_hidden[formula.num_adding :] = grad_from_input
        grad_input_weight = torch.bmm(flat_grad.mT, inputs.flatten(1, 2).expand(leaves, -1, -1))
        grad_inputs = None
        if ctx.needs_input_grad[1]:
            grad_inputs = torch.bmm(flat_grad, input_weight).view(leaves, *inputs.shape[1:]).sum_to_size(inputs.shape)
        grad_first = (grad_hidden[0], grad_previous_cell[0])
        return None, grad_inputs, grad_input_weight, grad_hidden_weight, grad_bias, *grad_first, None


def _spread(hidden: Tensor, mask: Tensor | None, leaves: int, dtype: torch.dtype) -> Tensor:
    """h for each leaf, masked: [leaves, …]."""
    masked = hidden.expand(leaves, *hidden.shape) if mask is None else hidden * mask
    return masked.to(dtype)
