"""Properties of every architecture of every space for images."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

from models.conv_architecture import ConvArchitecture
from models.conv_net import ConvNet
from models.cost import network_cost
from models.space import Anchor, SearchSpace

CONV, LAYER = "models.conv_space:conv_space", "models.layer_space:layer_space"
SPACES = {
    "plain": (CONV, {"num_filters": (2, 3)}),
    "strides": (CONV, {"num_filters": (2, 3), "strides": (1, 2, 3)}),
    "blocks": (CONV, {"num_filters": (1, 2), "block_size": 3, "pool_after": (2, 4, 9)}),
    "types": (LAYER, {"num_filters": (2, 3), "pool_sizes": (2, 3, 5), "pool_strides": (1, 2, 3)}),
    "types and rates": (LAYER, {"num_filters": (2, 3), "learning_rates": (0.1, 0.01)}),
}


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@st.composite
def architectures(draw: st.DrawFn, name: str) -> ConvArchitecture:
    """Any architecture of a space, of up to four predicted layers."""
    function, options = SPACES[name]
    path = SearchSpace(function, options).paths(draw(st.integers(1, 4)), 1)[0]
    while (decision := path.decision) is not None:
        highest = 2**decision.count if isinstance(decision, Anchor) else len(decision.values)
        path.take(draw(st.integers(0, highest - 1)))
    architecture: Any = path.architecture
    assert isinstance(architecture, ConvArchitecture)
    return architecture


@pytest.mark.parametrize("name", SPACES)
def test_every_architecture_trains_a_step_and_survives_json(name: str) -> None:
    @settings(max_examples=40, deadline=None)
    @given(architectures(name), st.integers(1, 9), st.integers(1, 9))
    def check(architecture: ConvArchitecture, height: int, width: int) -> None:
        trains_a_step(architecture, height, width)
        read = ConvArchitecture.from_json(json.loads(json.dumps(architecture.to_json())))
        assert read == architecture
        assert read.canonical_hash() == architecture.canonical_hash()

    check()


def trains_a_step(architecture: ConvArchitecture, height: int, width: int) -> None:
    """Logits and gradients of all weights are finite, and so are logits after a step; the cost is the network's."""
    torch.manual_seed(0)
    network = ConvNet(architecture, 1, 3)
    images, labels = torch.rand(2, 1, height, width), torch.tensor([0, 2])
    optimizer = torch.optim.SGD(network.parameters(), lr=architecture.learning_rate or 0.01)
    logits = network(images)
    assert logits.shape == (2, 3)
    functional.cross_entropy(logits, labels).backward()
    for name, weight in network.named_parameters():
        assert weight.grad is not None and weight.grad.isfinite().all(), name
    optimizer.step()
    assert network(images).isfinite().all()
    parameters, _ = network_cost(lambda: ConvNet(architecture, 1, 3), (1, height, width))
    assert parameters == sum(weight.numel() for weight in network.parameters())
