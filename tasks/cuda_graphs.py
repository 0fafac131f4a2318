"""Training passes as CUDA graphs: a GPU computes a small network faster than its kernels can be launched one by one."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from tasks.device import autocast


@contextmanager
def recorded(network: nn.Module, precision: torch.dtype, micro_batches: int, *sample: Any) -> Iterator[None]:
    """Within, training passes of the network on a GPU are replayed from one that is recorded first.

    `sample` is what they take: tensors, or tuples of them. The numbers are the same. Inputs of other shapes, evaluation
    and a network on a CPU go on as without. So do batches in parts, whose gradients are summed: a replayed pass leaves
    its gradient where the one before left its own. Raises what the network raises, such as torch.OutOfMemoryError.
    """
    device = next(network.parameters()).device
    if device.type != "cuda" or micro_batches > 1:
        yield
        return
    network.train()
    buffers = [(buffer, buffer.clone()) for buffer in network.buffers()]
    with autocast(device, precision, cached=False):
        torch.cuda.make_graphed_callables(network, sample, capture_error_mode="thread_local")
    for buffer, before in buffers:  # running means, which recording has moved
        buffer.copy_(before)
    replay, shapes = network.forward, _shapes(sample)

    def forward(*inputs: Any) -> Any:
        return replay(*inputs) if _shapes(inputs) == shapes else type(network).forward(network, *inputs)

    network.forward = forward
    try:
        yield
    finally:
        del network.forward  # and with it the graphs and their memory


def _shapes(values: Any) -> Any:
    """The shape of a tensor, those of the parts of a tuple."""
    if isinstance(values, Tensor):
        return values.shape
    return tuple(map(_shapes, values)) if isinstance(values, tuple) else None
