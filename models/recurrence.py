"""A layer of a recurrent cell over a whole sequence, with back-propagation through time by hand (section 3.4).

All W x_t are one product, each U h_{t-1} is one, and the gradients of W and of U are one each; in between are the
elementwise steps of `cell_step`. Products are batched over leaves: as fast as one wide product where the batch is small,
each leaf's values lie together, and each leaf may have a dropout mask of its own.
"""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from models.cell_formula import Formula
from models.cell_step import backward_step, forward_step


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
        registers = hidden.new_empty(time + 1, leaves + 1 + len(formula.operations), batch, units)
        before = torch.empty_like(registers) if formula.has_sine else registers
        transposed = hidden_weight.mT
        registers[0, leaves] = cell
        hiddens = [hidden, *registers[:time, formula.hidden]]
        for t in range(time):
            torch.bmm(_spread(hiddens[t], mask, leaves, from_hidden.dtype), transposed, out=from_hidden[t])
            if bias is not None:
                from_hidden[t].add_(bias.unsqueeze(1))
            next_cell = registers[t + 1, leaves]
            forward_step(formula, from_input[:, t], from_hidden[t], registers[t], before[t], next_cell)
        ctx.formula, ctx.with_bias = formula, bias is not None
        ctx.save_for_backward(
            inputs, input_weight, hidden_weight, hidden, mask, from_input, from_hidden, registers, before
        )
        return registers[:time, formula.hidden].clone(), registers[time, leaves].clone()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_outputs: Tensor, grad_cell: Tensor) -> tuple[Tensor | None, ...]:
        inputs, input_weight, hidden_weight, hidden, mask, from_input, from_hidden, registers, before = (
            ctx.saved_tensors
        )
        leaves, time, batch, units = from_input.shape
        grad_from_input, grad_from_hidden = torch.empty_like(from_input), torch.empty_like(from_input)
        grad_hidden = torch.zeros_like(hidden)
        for t in reversed(range(time)):
            step = (from_input[:, t], from_hidden[t], registers[t], before[t])
            grads = (grad_hidden + grad_outputs[t], grad_cell, grad_from_input[:, t], grad_from_hidden[:, t])
            grad_cell = backward_step(ctx.formula, *step, *grads)
            spread = torch.bmm(grad_from_hidden[:, t], hidden_weight)  # [leaves, batch, hidden]
            grad_hidden = (spread if mask is None else spread * mask).sum(0, dtype=hidden.dtype)
        previous = torch.cat([hidden.unsqueeze(0), registers[: time - 1, ctx.formula.hidden]])
        spread = _spread(previous, None if mask is None else mask.unsqueeze(1), leaves, from_input.dtype)
        flat_grad = grad_from_hidden.flatten(1, 2)  # [leaves, time·batch, hidden]
        grad_hidden_weight = torch.bmm(flat_grad.mT, spread.flatten(1, 2))
        grad_bias = flat_grad.sum(1) if ctx.with_bias else None
        flat_grad = grad_from_input.flatten(1, 2)
        grad_input_weight = torch.bmm(flat_grad.mT, inputs.flatten(1, 2).expand(leaves, -1, -1))
        grad_inputs = torch.bmm(flat_grad, input_weight).view(leaves, *inputs.shape[1:]).sum_to_size(inputs.shape)
        return None, grad_inputs, grad_input_weight, grad_hidden_weight, grad_bias, grad_hidden, grad_cell, None


def _spread(hidden: Tensor, mask: Tensor | None, leaves: int, dtype: torch.dtype) -> Tensor:
    """h for each leaf, masked: [leaves, …]."""
    masked = hidden.expand(leaves, *hidden.shape) if mask is None else hidden * mask
    return masked.to(dtype)
