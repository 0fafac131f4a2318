"""Training passes as CUDA graphs: a GPU computes a small network faster than its kernels can be launched one by one."""

import gc
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from tasks.device import autocast, free_memory

log = logging.getLogger(__name__)


@contextmanager
def recorded(network: nn.Module, precision: torch.dtype, micro_batches: int, *sample: Any) -> Iterator[None]:
    """Within, training passes of the network on a GPU are replayed from one that is recorded first.

    `sample` is what they take: tensors, or tuples of them. Inputs of other shapes, evaluation and a network on a CPU go
    on as without. So do batches in parts, whose gradients are summed, since a replayed pass leaves its gradient where
    the one before left its own; and networks whose passes cannot be recorded, for lack of memory or what they compute.
    """
    device = next(network.parameters()).device
    if device.type != "cuda" or micro_batches > 1 or not _record(network, device, precision, sample):
        yield
        return
    try:
        yield
    finally:
        del network.forward
        gc.collect()  # graphs are parts of cycles, and hold memory


def _record(network: nn.Module, device: torch.device, precision: torch.dtype, sample: tuple[Any, ...]) -> bool:
    """Have the network replay what it is recorded to do; False where that fails."""
    network.train()
    buffers = [(buffer, buffer.clone()) for buffer in network.buffers()]
    here = torch.cuda.stream(torch.cuda.current_stream(device))  # to come back to, also where recording fails
    gc.collect()
    gc.disable()  # an older graph that is freed meanwhile would break the recording
    try:
        with here, autocast(device, precision, cached=False), warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Attempting to run cuBLAS")  # a thread's first product
            torch.cuda.make_graphed_callables(network, sample)
    except RuntimeError as error:  # torch.OutOfMemoryError is one; kept, it would keep what was recorded
        log.warning("no CUDA graph can be recorded, so that kernels are launched one by one: %s", str(error))
    finally:
        gc.enable()
        torch.cuda.synchronize(device)
        for buffer, before in buffers:  # running means, which the passes have moved
            buffer.copy_(before)
    if "forward" not in vars(network):
        torch._C._cuda_clearCublasWorkspaces()  # of the stream that the recording ran on
        free_memory()
        return False
    torch.autograd.graph.set_warn_on_accumulate_grad_stream_mismatch(False)  # recorded on a stream of its own: meant
    replay, shapes = network.forward, _shapes(sample)

    def forward(*inputs: Any) -> Any:
        return replay(*inputs) if _shapes(inputs) == shapes else type(network).forward(network, *inputs)

    network.forward = forward
    return True


def _shapes(values: Any) -> Any:
    """The shape of a tensor, those of the parts of a tuple."""
    if isinstance(values, Tensor):
        return values.shape
    return tuple(map(_shapes, values)) if isinstance(values, tuple) else None
