from typing import Any

import pytest
import torch
from plain_cells import WIDE

from models.cell_architecture import CellArchitecture, Node
from models.presets import nascell
from models.recurrent import build_cell
from models.space import SearchSpace
from models.space_size import space_size

SPACE = SearchSpace("models.cell_space:cell_space", {})
ADD, MULTIPLY = 0, 1
IDENTITY, TANH, SIGMOID, RELU = range(4)
FIGURE_5 = [ADD, TANH, MULTIPLY, RELU, MULTIPLY, SIGMOID, ADD, RELU, 1, 0]


def test_the_tokens_of_figure_5_are_its_cell_and_one_step_of_it_is_the_papers() -> None:
    cell = SearchSpace(SPACE.function, {"base": 2}).decode(0, FIGURE_5)
    module = build_cell(cell, 3, 2).double()
    W1, W3 = torch.tensor([[[0.3, -0.2, 0.5], [0.1, 0.4, -0.6]], [[0.7, 0.2, -0.1], [-0.3, 0.5, 0.2]]]).double()
    W2, W4 = torch.tensor([[[0.2, -0.5], [0.6, 0.1]], [[0.9, 0.3], [0.4, -0.8]]]).double()
    with torch.no_grad():
        module.layers[0].input_weight.copy_(torch.stack([W1, W3]))  # type: ignore[operator]
        module.layers[0].hidden_weight.copy_(torch.stack([W2, W4]))  # type: ignore[operator]
    x, h, c = torch.tensor([0.5, -1.0, 2.0]).double(), torch.tensor([0.4, -0.7]).double(), torch.tensor([0.2, -0.9])

    a0 = torch.tanh(W1 @ x + W2 @ h)
    a1 = torch.relu((W3 @ x) * (W4 @ h))
    a0_new = torch.relu(a0 + c)
    a2 = torch.sigmoid(a0_new * a1)
    h_t, c_t = a2, (W3 @ x) * (W4 @ h)

    output, (hidden, state) = module(x.view(1, 1, 3), (h.view(1, 1, 2), c.double().view(1, 1, 2)))
    torch.testing.assert_close(output[0, 0], h_t)
    torch.testing.assert_close(hidden[0, 0], h_t)
    torch.testing.assert_close(state[0, 0], c_t)
    assert (a0_new > 0).any() and (c_t < 0).any(), "the step tells before from after the activations"


def test_decisions_come_in_the_order_of_figure_5() -> None:
    path = SPACE.paths(0, 1)[0]
    names = []
    while path.decision is not None:
        names.append(path.decision.name)
        path.take(0)
    inject = ["inject_combination", "inject_activation"]
    assert names == ["combination", "activation"] * 15 + inject + ["cell_index", "previous_cell_index"]


def test_the_nascell_is_a_point_of_the_space_of_base_8() -> None:
    tokens = [
        ADD, SIGMOID, ADD, RELU, ADD, SIGMOID, MULTIPLY, RELU, ADD, TANH, ADD, SIGMOID, ADD, TANH, ADD, SIGMOID,
        MULTIPLY, TANH, ADD, TANH, MULTIPLY, TANH, ADD, SIGMOID,
        MULTIPLY, IDENTITY, ADD, TANH, MULTIPLY, TANH,
        ADD, TANH, 12, 8,
    ]  # fmt: skip
    assert SPACE.decode(0, tokens) == nascell()


def test_the_sizes_of_spaces() -> None:
    assert space_size(SPACE, 0) == 8**16 * 15 * 14 == 59_109_745_109_237_760  # approximately 6×10^16
    assert space_size(SearchSpace(SPACE.function, {"base": 2}), 0) == 8**4 * 3 * 2
    assert space_size(SearchSpace(SPACE.function, WIDE), 0) == 15**16 * 15 * 14
    assert space_size(SearchSpace("models.conv_space:conv_space", {}), 3) == 64**3 * 2 * 4
    layers = SearchSpace("models.layer_space:layer_space", {})
    assert space_size(layers, 4) is None, "the decisions depend on the type of the layer"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"base": 6}, "base 6: must be a power of two of at least 2"),
        ({"base": 1}, "base 1: must be"),
        ({"base": 0}, "base 0: must be"),
        ({"combinations": ["add", "minus"]}, "combination 'minus': allowed are add, elem_mult, max"),
        ({"activations": ["gelu"]}, "activation 'gelu': allowed are identity, tanh, sigmoid, relu, sin"),
    ],
)
def test_options_that_make_no_cells_are_errors(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        SearchSpace(SPACE.function, options).paths(0, 1)


def test_max_and_sin_are_allowed_by_configuration_alone() -> None:
    tokens = [2, 4, 0, 0, 0, 0, 0, 0, 0, 0]
    cell = SearchSpace(SPACE.function, {**WIDE, "base": 2}).decode(0, tokens)
    assert isinstance(cell, CellArchitecture) and cell.nodes[0] == Node("max", "sin")
    with pytest.raises(ValueError, match="token 2 for combination"):
        SearchSpace(SPACE.function, {"base": 2}).decode(0, tokens)
