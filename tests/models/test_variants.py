"""Networks made of another by rewiring or widening it."""

import pytest

from models.conv_layers import ConvLayer, PoolLayer
from models.space import SearchSpace
from models.variants import densely_connected, more_filters, without_skips

CONV = {"function": "models.conv_space:conv_space", "options": {"num_filters": [24, 36], "pool_after": [2]}}
TOKENS = (0, 1, 0, 0, 1, 2, 0, 1, 2, 3, 2, 0, 3, 0, 5, 1)  # of 4 layers: height, width, inputs, filters


def variant(name: str, **options: object):  # type: ignore[no-untyped-def]
    return SearchSpace(f"models.variants:{name}", {**CONV, **options}).decode(4, TOKENS)


def test_the_network_itself() -> None:
    network = SearchSpace(CONV["function"], CONV["options"]).decode(4, TOKENS)  # type: ignore[arg-type]
    assert [layer.inputs for layer in network.layers] == [(), (), (1,), (0, 2)]


def test_dense_connections_and_none_that_skip() -> None:
    assert [layer.inputs for layer in variant("densely_connected").layers] == [(), (0,), (0, 1), (0, 1, 2)]
    assert [layer.inputs for layer in variant("without_skips").layers] == [(), (0,), (1,), (2,)]
    for name in ("densely_connected", "without_skips"):
        network = variant(name)
        assert network.pool_after == (2,) and network.loose_ends() == (3,)
        assert [layer.num_filters for layer in network.layers] == [24, 36, 24, 36]


def test_more_filters_widen_every_convolution() -> None:
    network = variant("more_filters", count=40)
    assert [layer.num_filters for layer in network.layers] == [64, 76, 64, 76]
    assert [layer.inputs for layer in network.layers] == [(), (), (1,), (0, 2)]


def test_layers_without_filters_are_left_alone() -> None:
    space = {"function": "models.layer_space:layer_space", "options": {}}
    tokens = (1, 0, 0, 0, 0, 1, 1, 1, 2)  # max pooling of 2 with stride 1, then a convolution
    wider = SearchSpace("models.variants:more_filters", {**space, "count": 4}).decode(2, tokens)
    assert wider.layers == (PoolLayer("max", 2, 1), ConvLayer(3, 3, 52, (0,), batch_norm=False))


@pytest.mark.parametrize("function", [densely_connected, without_skips, more_filters])
def test_cells_have_no_layers_to_change(function) -> None:  # type: ignore[no-untyped-def]
    space = {"function": "models.cell_space:cell_space", "options": {"base": 2}}
    with pytest.raises(ValueError, match="CellArchitecture: allowed is a convolutional network"):
        SearchSpace(f"models.variants:{function.__name__}", space).decode(1, (0,) * 10)
