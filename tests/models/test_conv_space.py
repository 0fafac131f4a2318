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


@pytest.mark.parametrize("inputs", [(1,), (2,), (0, 5), (-1,)])
def test_a_layer_that_reads_itself_or_a_later_one_is_an_error(inputs: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"layer 1 reads layers .*: allowed are 0 to 0"):
        ConvArchitecture((ConvLayer(3, 3, 4), ConvLayer(3, 3, 4, inputs=inputs), ConvLayer(3, 3, 4)))


def test_an_architecture_is_described_in_words() -> None:
    branched = ConvArchitecture(
        (
            ConvLayer(3, 5, 24),
            ConvLayer(1, 1, 36, inputs=(0,)),
            ConvLayer(7, 3, 48, stride_height=2),
            ConvLayer(5, 5, 64, inputs=(0, 1, 2)),
            ConvLayer(5, 7, 64, inputs=(0, 1)),
        )
    )
    assert branched.describe().splitlines() == [
        "1. 3×5 convolution, 24 filters, on the image",
        "2. 1×1 convolution, 36 filters, on layer 1",
        "3. 7×3 convolution, 48 filters, stride 2×1, on the image",
        "4. 5×5 convolution, 64 filters, on layers 1, 2 and 3",
        "5. 5×7 convolution, 64 filters, on layers 1 and 2",
        "Classifier: global average pooling over layers 4 and 5, concatenated, and one linear layer",
    ]


def test_a_single_loose_end_is_described_without_concatenation() -> None:
    chain = ConvArchitecture((ConvLayer(3, 3, 24), ConvLayer(3, 3, 24, inputs=(0,))))
    assert chain.describe().endswith("Classifier: global average pooling over layer 2, and one linear layer")


def test_an_architecture_is_plain_json_data() -> None:
    layer = {"filter_height": 1, "filter_width": 3, "num_filters": 4, "inputs": ()}
    assert ConvArchitecture((ConvLayer(1, 3, 4),)).to_json() == {
        "layers": ({**layer, "stride_height": 1, "stride_width": 1},)
    }
