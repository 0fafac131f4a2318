import pytest

from models.conv_architecture import ConvArchitecture
from models.conv_layers import ConvLayer, NormLayer, PoolLayer
from models.layer_space import LAYER_TYPES
from models.space import SearchSpace

SPACE = SearchSpace("models.layer_space:layer_space", {})
WITH_RATE = SearchSpace(SPACE.function, {"learning_rates": [0.1, 0.03, 0.01]})
SIZE, POOL = ["filter_height", "filter_width"], ["pool_size", "pool_stride"]


@pytest.mark.parametrize(
    ("layer_type", "following"),
    [
        ("convolution", [*SIZE, "inputs", "num_filters"]),
        ("max_pooling", [*POOL, "inputs"]),
        ("average_pooling", [*POOL, "inputs"]),
        ("local_contrast_normalisation", ["inputs"]),
        ("batch_normalisation", ["inputs"]),
    ],
)
def test_the_type_of_a_layer_says_which_decisions_follow(layer_type: str, following: list[str]) -> None:
    path = SPACE.paths(2, 1)[0]
    names = []
    while path.decision is not None:
        names.append(path.decision.name)
        path.take(LAYER_TYPES.index(layer_type) if names[-1] == "layer_type" else 0)
    assert names == ["layer_type", *following] * 2


def test_tokens_of_every_type_become_its_layer() -> None:
    tokens = [0, 1, 3, 0, 2, 1, 1, 0, 0b1, 2, 0, 1, 0b11, 3, 0b100, 4, 0b1010]
    assert SPACE.decode(5, tokens) == ConvArchitecture(
        (
            ConvLayer(3, 7, 48, batch_norm=False),
            PoolLayer("max", 3, 1, inputs=(0,)),
            PoolLayer("average", 2, 2, inputs=(0, 1)),
            NormLayer("local_contrast", inputs=(2,)),
            NormLayer("batch", inputs=(1, 3)),
        )
    )


def test_the_learning_rate_is_decided_first_where_there_are_several() -> None:
    path = WITH_RATE.paths(1, 1)[0]
    assert path.decision is not None and path.decision.name == "learning_rate"
    assert WITH_RATE.decode(1, [1, 4, 0]) == ConvArchitecture((NormLayer("batch"),), learning_rate=0.03)
    assert SPACE.decode(1, [4, 0]).learning_rate is None


def test_types_can_be_left_out() -> None:
    space = SearchSpace(SPACE.function, {"layer_types": ["max_pooling", "convolution"], "pool_sizes": [5]})
    assert space.decode(1, [0, 0, 0, 0]).layers == (PoolLayer("max", 5, 1),)


def test_a_type_that_there_is_not_is_an_error() -> None:
    with pytest.raises(ValueError, match="layer_types dense: allowed are convolution, max_pooling, average_pooling"):
        SearchSpace(SPACE.function, {"layer_types": ["convolution", "dense"]}).paths(1, 1)
