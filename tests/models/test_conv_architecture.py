import json
from typing import Any

import pytest

from models.conv_architecture import ConvArchitecture
from models.conv_layers import ConvLayer, NormLayer, PoolLayer

MIXED = ConvArchitecture(
    (
        ConvLayer(3, 5, 24),
        PoolLayer("max", 3, 2, inputs=(0,)),
        ConvLayer(7, 3, 48, inputs=(0, 1), stride_height=2, batch_norm=False),
        NormLayer("local_contrast", inputs=(0, 1, 2)),
        PoolLayer("average", 2, 1),
        NormLayer("batch", inputs=(3,)),
    ),
    pool_after=(2, 4),
    learning_rate=0.05,
)


@pytest.mark.parametrize("inputs", [(1,), (2,), (0, 5), (-1,), ("0",), (True,)])
def test_a_layer_that_reads_itself_or_a_later_one_is_an_error(inputs: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"layer 1 reads layers .*: allowed are 0 to 0"):
        ConvArchitecture((ConvLayer(3, 3, 4), ConvLayer(3, 3, 4, inputs=inputs), ConvLayer(3, 3, 4)))


def test_a_layer_that_reads_another_twice_is_an_error() -> None:
    with pytest.raises(ValueError, match=r"layer 1 reads layers \(0, 0\): allowed is each once"):
        ConvArchitecture((ConvLayer(3, 3, 4), NormLayer("batch", inputs=(0, 0))))


def test_an_architecture_without_layers_is_an_error() -> None:
    with pytest.raises(ValueError, match="at least one layer"):
        ConvArchitecture(())


@pytest.mark.parametrize("points", [(0,), (3,), (2, 1), (1, 1), (1.0,)])
def test_pooling_points_that_are_none_are_errors(points: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"pool_after \(.*\): allowed are rising numbers of layers, 1 to 2"):
        ConvArchitecture((ConvLayer(3, 3, 4), ConvLayer(3, 3, 4)), pool_after=points)


@pytest.mark.parametrize("rate", [0.0, -0.1, float("nan"), float("inf"), True, "0.1"])
def test_a_learning_rate_that_is_none_is_an_error(rate: Any) -> None:
    with pytest.raises(ValueError, match=r"learning_rate .*: must be a positive number"):
        ConvArchitecture((ConvLayer(3, 3, 4),), learning_rate=rate)


def test_connections_are_of_the_image_the_layers_and_the_classifier() -> None:
    assert MIXED.loose_ends() == (4, 5)
    assert MIXED.connections() == [
        (-1, 0), (0, 1), (0, 2), (1, 2), (0, 3), (1, 3), (2, 3), (-1, 4), (3, 5), (4, 6), (5, 6),
    ]  # fmt: skip


def test_a_convolutional_architecture_is_described_in_words() -> None:
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


def test_other_layers_pooling_points_and_the_learning_rate_are_described_too() -> None:
    point = "   From here on, what was computed so far is read through 2×2 max pooling, stride 2"
    assert MIXED.describe().splitlines() == [
        "1. 3×5 convolution, 24 filters, on the image",
        "2. 3×3 max pooling, stride 2, on layer 1",
        point,
        "3. 7×3 convolution, 48 filters, stride 2×1, no batch norm, on layers 1 and 2",
        "4. local contrast normalisation, on layers 1, 2 and 3",
        point,
        "5. 2×2 average pooling, stride 1, on the image",
        "6. batch normalisation, on layer 4",
        "Classifier: global average pooling over layers 5 and 6, concatenated, and one linear layer",
        "Learning rate: 0.05",
    ]


def test_an_architecture_is_plain_json_data() -> None:
    convolution = {"type": "convolution", "filter_height": 1, "filter_width": 3, "num_filters": 4, "inputs": []}
    assert ConvArchitecture((ConvLayer(1, 3, 4), PoolLayer("max", 2, 2, (0,)), NormLayer("batch"))).to_json() == {
        "layers": [
            {**convolution, "stride_height": 1, "stride_width": 1, "batch_norm": True},
            {"type": "pooling", "kind": "max", "size": 2, "stride": 2, "inputs": [0]},
            {"type": "normalisation", "kind": "batch", "inputs": []},
        ],
        "pool_after": [],
        "learning_rate": None,
    }


def test_json_is_read_back_as_it_was_written() -> None:
    assert ConvArchitecture.from_json(json.loads(json.dumps(MIXED.to_json()))) == MIXED


def test_what_has_a_default_may_be_left_out_of_json() -> None:
    data = {"layers": [{"filter_height": 1, "filter_width": 3, "num_filters": 4}]}
    assert ConvArchitecture.from_json(data) == ConvArchitecture((ConvLayer(1, 3, 4),))


CONVOLUTION = {"filter_height": 1, "filter_width": 3, "num_filters": 4}


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        ("3×3", "layer 1: '3×3': must be an object"),
        ({"type": "dense"}, "layer 1: type 'dense': allowed are convolution, pooling, normalisation"),
        ({"type": ["pooling"]}, r"layer 1: type \['pooling'\]: allowed are"),
        ({**CONVOLUTION, "dilation": 2}, "layer 1: unknown dilation: allowed are type, filter_height"),
        ({"num_filters": 4}, "layer 1: filter_height, filter_width missing"),
        ({**CONVOLUTION, "filter_height": 0}, "layer 1: filter_height 0: must be a whole number of at least 1"),
        ({**CONVOLUTION, "filter_width": 2.5}, "layer 1: filter_width 2.5: must be a whole number"),
        ({**CONVOLUTION, "num_filters": "4"}, "layer 1: num_filters '4': must be a whole number"),
        ({**CONVOLUTION, "stride_width": True}, "layer 1: stride_width True: must be a whole number"),
        ({**CONVOLUTION, "batch_norm": 1}, "layer 1: batch_norm 1: allowed are false, true"),
        ({**CONVOLUTION, "inputs": 0}, "layer 1: inputs 0: must be a list"),
        ({**CONVOLUTION, "inputs": [3]}, r"layer 1 reads layers \(3,\): allowed are 0 to 0"),
        ({**CONVOLUTION, "inputs": [[0]]}, r"layer 1 reads layers \(\[0\],\): allowed are 0 to 0"),
        ({"type": "pooling", "kind": "min", "size": 2, "stride": 2}, "layer 1: kind 'min': allowed are max, average"),
        ({"type": "pooling", "kind": "max", "size": 2, "stride": 0}, "layer 1: stride 0: must be a whole number"),
        ({"type": "normalisation", "kind": "max"}, "layer 1: kind 'max': allowed are local_contrast, batch"),
    ],
)
def test_bad_layers_in_json_are_errors_that_name_layer_and_value(layer: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ConvArchitecture.from_json({"layers": [CONVOLUTION, layer]})


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ([], r"\[\]: must be an object"),
        ({}, "layers missing"),
        ({"layers": {}}, "layers {}: must be a list"),
        ({"layers": []}, "at least one layer"),
        ({"layers": [CONVOLUTION], "depth": 1}, "unknown depth: allowed are layers, pool_after, learning_rate"),
        ({"layers": [CONVOLUTION], "pool_after": 1}, "pool_after 1: must be a list"),
        ({"layers": [CONVOLUTION], "pool_after": [2]}, r"pool_after \(2,\): allowed are"),
        ({"layers": [CONVOLUTION], "learning_rate": "high"}, "learning_rate 'high': must be a positive number"),
    ],
)
def test_other_bad_json_is_an_error_that_names_the_value(data: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ConvArchitecture.from_json(data)
