import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.conv_space import ConvArchitecture, ConvLayer
from models.space import SearchSpace

SPACE = SearchSpace("models.conv_space:conv_space", {})
SIZES, FILTERS = (1, 3, 5, 7), (24, 36, 48, 64)


@st.composite
def token_sequences(draw: st.DrawFn) -> tuple[int, ...]:
    """Tokens of one to five layers."""
    tokens: list[int] = []
    for n in range(draw(st.integers(1, 5))):
        tokens += [draw(st.integers(0, highest)) for highest in (3, 3, 2**n - 1, 3)]
    return tuple(tokens)


def encode(architecture: ConvArchitecture) -> tuple[int, ...]:
    """The tokens that spell an architecture."""
    tokens: list[int] = []
    for layer in architecture.layers:
        tokens += [SIZES.index(layer.filter_height), SIZES.index(layer.filter_width)]
        tokens += [sum(2**source for source in layer.inputs), FILTERS.index(layer.num_filters)]
    return tuple(tokens)


@given(token_sequences())
def test_tokens_spell_the_architecture_that_encodes_to_them(tokens: tuple[int, ...]) -> None:
    architecture = SPACE.decode(len(tokens) // 4, tokens)
    assert encode(architecture) == tokens
    assert all((layer.stride_height, layer.stride_width) == (1, 1) for layer in architecture.layers)


@given(token_sequences())
def test_every_layer_is_read_or_a_loose_end_and_the_last_is_one(tokens: tuple[int, ...]) -> None:
    architecture = SPACE.decode(len(tokens) // 4, tokens)
    last = len(architecture.layers) - 1
    read = {source for layer in architecture.layers for source in layer.inputs}
    assert sorted([*read, *architecture.loose_ends()]) == list(range(last + 1))
    assert architecture.loose_ends()[-1] == last


def test_decisions_come_in_the_order_of_height_width_anchor_point_filters() -> None:
    path = SPACE.paths(2, 1)[0]
    names = []
    while path.decision is not None:
        names.append(path.decision.name)
        path.take(0)
    assert names == ["filter_height", "filter_width", "inputs", "num_filters"] * 2


def test_the_default_values_are_the_papers() -> None:
    last = SPACE.decode(2, [3, 2, 0, 1, 0, 1, 1, 3])
    assert last == ConvArchitecture((ConvLayer(7, 5, 36), ConvLayer(1, 3, 64, inputs=(0,))))


STRIDED = SearchSpace("models.conv_space:conv_space", {"strides": [1, 2, 3]})
BLOCKS = SearchSpace("models.conv_space:conv_space", {"block_size": 3, "num_filters": [6, 12, 24, 36]})
PAPERS_THIRD = SearchSpace(BLOCKS.function, {**BLOCKS.options, "pool_after": [13, 24]})


def test_strides_are_decided_between_the_size_and_the_anchor_point() -> None:
    path = STRIDED.paths(2, 1)[0]
    names = []
    while path.decision is not None:
        names.append(path.decision.name)
        path.take(0)
    assert names == ["filter_height", "filter_width", "stride_height", "stride_width", "inputs", "num_filters"] * 2


def test_strides_reach_the_layers() -> None:
    tokens = [0, 1, 1, 2, 0, 0, 3, 2, 0, 1, 1, 3]
    assert STRIDED.decode(2, tokens) == ConvArchitecture(
        (ConvLayer(1, 3, 24, stride_height=2, stride_width=3), ConvLayer(7, 5, 64, inputs=(0,), stride_width=2))
    )


def test_blocks_are_fully_connected_and_read_by_their_last_layers() -> None:
    tokens = [0, 1, 0, 0, 1, 1, 0b1, 1, 2, 2, 0b00, 2, 3, 3, 0b101, 3]  # of four blocks
    architecture = BLOCKS.decode(4, tokens)
    assert [layer.inputs for layer in architecture.layers] == [
        (), (0,), (0, 1),
        (2,), (2, 3), (2, 3, 4),
        (), (6,), (6, 7),
        (2, 8), (2, 8, 9), (2, 8, 9, 10),
    ]  # fmt: skip
    assert architecture.loose_ends() == (5, 11)
    sizes = [(layer.filter_height, layer.filter_width, layer.num_filters) for layer in architecture.layers]
    assert sizes == [(1, 3, 6)] * 3 + [(3, 3, 12)] * 3 + [(5, 5, 24)] * 3 + [(7, 7, 36)] * 3


def test_strides_of_a_block_are_those_of_each_of_its_layers() -> None:
    space = SearchSpace(BLOCKS.function, {"block_size": 2, "strides": [1, 2]})
    layers = space.decode(1, [0, 0, 1, 0, 0, 0]).layers
    assert [(layer.stride_height, layer.stride_width) for layer in layers] == [(2, 1), (2, 1)]


def test_thirteen_predicted_layers_are_39_with_pooling_after_13_and_24() -> None:
    architecture = PAPERS_THIRD.decode(13, [token for n in range(13) for token in (1, 1, 2**n - 1, 0)])
    assert len(architecture.layers) == 39
    assert architecture.pool_after == (13, 24)
    assert architecture.layers[38].inputs == (*range(2, 36, 3), 36, 37)


@pytest.mark.parametrize(("depth", "points"), [(4, ()), (5, (13,)), (7, (13,)), (8, (13, 24))])
def test_pooling_points_that_a_shallow_network_does_not_reach_are_left_out(depth: int, points: tuple[int, ...]) -> None:
    assert PAPERS_THIRD.decode(depth, [0] * 4 * depth).pool_after == points


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"block_size": 0}, "block_size 0: must be at least 1"),
        ({"pool_after": [3, 0]}, r"pool_after \(3, 0\): layers are counted from 1"),
        ({"strides": []}, "choice 'stride_height' has no values"),
    ],
)
def test_options_that_make_no_sense_are_errors(options: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        SearchSpace(BLOCKS.function, options).decode(1, [0] * 6)
