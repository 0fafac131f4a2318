"""A layer of a recurrent cell over a whole sequence, with back-propagation through time by hand (section 3.4).

All W x_t are one product, each U h_{t-1} is one, and the gradients of W and of U are one each; in between are the
elementwise instructions of `cell_program`. Products are batched over leaves: as fast as one wide product, each leaf's
values lie together, and each leaf may have a dropout mask of its own.
"""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from models.cell_formula import Formula
from models.cell_program import Buffers, backward_program, forward_program, run


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
        leaves, time, batch, units = len(formula.leaves), inputs.shape[1], *hidden.shape
        flat = inputs.flatten(1, 2).expand(leaves, -1, -1)  # [leaves, time·batch, input]
        from_input = torch.bmm(flat, input_weight.mT).view(leaves, time, batch, units)
        from_hidden = from_input.new_empty(time, leaves, batch, units)
        registers = hidden.new_empty(time + 1, formula.num_registers, batch, units)
        before = torch.empty_like(registers) if formula.has_sine else registers
        buffers = Buffers(from_input, from_hidden, registers, before)
        program = forward_program(formula, buffers)
        registers[0, leaves] = cell
        transposed, products = hidden_weight.mT, from_hidden.unbind()
        outputs = registers[:time, formula.hidden]
        for t, previous in enumerate([hidden, *outputs[:-1]]):
            torch.bmm(_spread(previous, mask, leaves, from_hidden.dtype), transposed, out=products[t])
            if bias is not None:
                products[t].add_(bias.unsqueeze(1))
            run(program, t)
        ctx.formula, ctx.with_bias = formula, bias is not None
        ctx.save_for_backward(inputs, input_weight, hidden_weight, hidden, mask, *buffers)
        return outputs.clone(), registers[time, leaves].clone()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_outputs: Tensor, grad_cell: Tensor) -> tuple[Tensor | None, ...]:
        inputs, input_weight, hidden_weight, hidden, mask, *kept = ctx.saved_tensors
        formula, buffers = ctx.formula, Buffers(*kept)
        leaves, time = buffers.from_input.shape[:2]
        grad_from_input, grad_from_hidden = torch.empty_like(kept[0]), torch.empty_like(kept[0])
        # Of h_{-1}, h_0, …: each step adds to the one before.
        grad_hidden = torch.cat([torch.zeros_like(grad_outputs[:1]), grad_outputs]).unbind()
        grads = (grad_from_input, grad_from_hidden)
        program, grad_previous_cell = backward_program(formula, buffers, grad_hidden[1:], grad_cell, grads)
        at_step = grad_from_hidden.unbind(1)
        for t in reversed(range(time)):
            run(program, t)
            spread = torch.bmm(at_step[t], hidden_weight)  # [leaves, batch, hidden]
            grad_hidden[t].add_((spread if mask is None else spread * mask).sum(0, dtype=hidden.dtype))
        for number, leaf in enumerate(formula.leaves):
            if leaf.combination == "add":
                grad_from_input[number] = grad_from_hidden[number]
        previous = torch.cat([hidden.unsqueeze(0), buffers.registers[: time - 1, formula.hidden]])
        spread = _spread(previous, None if mask is None else mask.unsqueeze(1), leaves, grad_from_hidden.dtype)
        flat_grad = grad_from_hidden.flatten(1, 2)  # [leaves, time·batch, hidden]
        grad_hidden_weight = torch.bmm(flat_grad.mT, spread.flatten(1, 2))
        grad_bias = flat_grad.sum(1, dtype=hidden.dtype) if ctx.with_bias else None
        flat_grad = grad_from_input.flatten(1, 2)
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
