"""What a network costs, known before it is trained."""

from collections.abc import Callable

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode


def network_cost(build: Callable[[], nn.Module], input_shape: tuple[int, ...]) -> tuple[int, int]:
    """(parameters, FLOPs) of the network that `build` makes; FLOPs of one forward pass over one `input_shape`.

    Everything happens on meta tensors, so nothing is allocated. A multiply-add counts as two FLOPs.
    """
    with torch.device("meta"):
        network = build().eval()
        example = torch.empty((1, *input_shape))
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        network(example)
    return sum(parameter.numel() for parameter in network.parameters()), counter.get_total_flops()
