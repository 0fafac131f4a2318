import torch
from torch import nn

from models.conv_net import ConvNet
from models.conv_space import ConvArchitecture, ConvLayer
from models.cost import network_cost


def test_the_cost_of_one_convolution() -> None:
    def build() -> nn.Module:
        return nn.Conv2d(3, 4, (3, 5), padding=(1, 2), bias=False)

    weights = 4 * 3 * 3 * 5
    assert network_cost(build, (3, 8, 6)) == (weights, 2 * weights * 8 * 6)


def test_the_cost_of_a_network_is_that_of_its_convolutions_and_its_classifier() -> None:
    architecture = ConvArchitecture((ConvLayer(3, 3, 4), ConvLayer(1, 5, 6, inputs=(0,), stride_width=2)))
    first, second = 3 * 3 * 3 * 4, 1 * 5 * 4 * 6
    parameters, flops = network_cost(lambda: ConvNet(architecture, 3, 10), (3, 8, 8))
    assert parameters == first + second + 2 * (4 + 6) + 6 * 10 + 10
    assert flops == 2 * (first * 8 * 8 + second * 8 * 4 + 6 * 10)


def test_counting_allocates_nothing_and_draws_nothing() -> None:
    state = torch.get_rng_state()
    parameters, _ = network_cost(lambda: nn.Linear(2**24, 2**24, bias=False), (2**24,))  # 1 PiB
    assert parameters == 2**48
    assert torch.equal(torch.get_rng_state(), state)
