import math

import pytest
import torch
from plain_cells import random_cell
from torch import Tensor, nn

from models.cell_architecture import CellArchitecture, Node
from models.cell_formula import Cell, leaf_order
from models.cost import network_cost
from models.presets import nascell
from models.recurrent import Recurrent, build_cell

# In the space of base 8: leaves g, i, f, one with weights 0, o and three more with weights 0.
LSTM = CellArchitecture(
    tuple(
        Node(*text.split())
        for text in (
            "add tanh", "add sigmoid", "add identity", "add identity",
            "add identity", "add identity", "add identity", "add identity",
            "elem_mult identity", "add sigmoid", "add identity", "add identity",
            "add tanh", "add sigmoid", "elem_mult identity",
        )
    ),
    inject=Node("elem_mult", "identity"), cell_index=12, previous_cell_index=9,
)  # fmt: skip
RNN = CellArchitecture(
    (Node("add", "identity"), Node("add", "identity"), Node("add", "tanh")), Node("add", "identity"), 0, 1
)


def set_leaves(module: Recurrent, cell: CellArchitecture, leaves: dict[int, tuple[Tensor, Tensor, Tensor]]) -> None:
    """Give the leaves W, U and the bias; 0 to those not named."""
    layer = module.layers[0]
    with torch.no_grad():
        for place, leaf in enumerate(leaf_order(cell)):
            for weight, value in zip(layer.parameters(), leaves.get(leaf, (0, 0, 0)), strict=True):
                weight[place] = value


def assert_same(module: Recurrent, theirs: nn.LSTMCell | nn.RNNCell, with_cell: bool) -> None:
    """Five steps of both give equal outputs and gradients of the inputs."""
    inputs, state = torch.randn(5, 3, 6).double().requires_grad_(), torch.randn(2, 3, 4).double()
    if not with_cell:
        state[1] = 0
    outputs, (_, last) = module(inputs, (state[:1], state[1:]))
    hidden, cell, expected = state[0], state[1], []
    for step in inputs:
        if isinstance(theirs, nn.LSTMCell):
            hidden, cell = theirs(step, (hidden, cell))
        else:
            hidden = theirs(step, hidden)
        expected.append(hidden)
    torch.testing.assert_close(outputs, torch.stack(expected))
    if with_cell:
        torch.testing.assert_close(last[0], cell)
    weights = torch.randn_like(outputs)
    ours, others = (
        torch.autograd.grad((weights * result).sum(), inputs)[0] for result in (outputs, torch.stack(expected))
    )
    torch.testing.assert_close(ours, others)


def gates(cell: nn.LSTMCell) -> tuple[tuple[Tensor, Tensor, Tensor], ...]:
    """W, U and bias of torch's gates i, f, g, o."""
    bias = cell.bias_ih + cell.bias_hh
    return tuple(zip(cell.weight_ih.chunk(4), cell.weight_hh.chunk(4), bias.chunk(4), strict=True))


def test_an_lstm_is_a_cell_of_the_space_of_base_8() -> None:
    torch.manual_seed(0)
    theirs, module = nn.LSTMCell(6, 4).double(), build_cell(LSTM, 6, 4, bias=True).double()
    i, f, g, o = gates(theirs)
    set_leaves(module, LSTM, {0: g, 1: i, 2: f, 4: o})
    assert_same(module, theirs, with_cell=True)


def test_a_basic_rnn_is_a_cell_of_base_2() -> None:
    torch.manual_seed(0)
    theirs, module = nn.RNNCell(6, 4).double(), build_cell(RNN, 6, 4, bias=True).double()
    set_leaves(module, RNN, {0: (theirs.weight_ih, theirs.weight_hh, theirs.bias_ih + theirs.bias_hh)})
    with torch.no_grad():
        inputs, state = torch.randn(1, 3, 6).double(), torch.zeros(1, 3, 4).double()
        torch.testing.assert_close(module(inputs, (state, state))[0][0], theirs(inputs[0], state[0]))


def test_the_baseline_lstm_is_torchs() -> None:
    torch.manual_seed(0)
    theirs, module = nn.LSTMCell(6, 4).double(), build_cell("lstm", 6, 4).double()
    i, f, g, o = gates(theirs)
    for weight, values in zip(module.parameters(), zip(i, f, o, g, strict=True), strict=True):
        weight.data = torch.stack(values)
    assert_same(module, theirs, with_cell=True)


def test_the_baseline_rnn_is_torchs() -> None:
    torch.manual_seed(0)
    theirs, module = nn.RNNCell(6, 4, bias=False).double(), build_cell("rnn", 6, 4).double()
    for weight, value in zip(module.parameters(), (theirs.weight_ih, theirs.weight_hh), strict=True):
        weight.data = value.unsqueeze(0).clone()
    assert_same(module, theirs, with_cell=False)


def nascell_by_hand(module: Recurrent, x: Tensor, h: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
    """One step, from the published equations alone."""
    place, layer = leaf_order(nascell()), module.layers[0]
    p = [x @ layer.input_weight[place.index(leaf)].T for leaf in range(8)]  # type: ignore[index]
    q = [h @ layer.hidden_weight[place.index(leaf)].T for leaf in range(8)]  # type: ignore[index]
    if layer.bias is not None:
        q = [product + layer.bias[place.index(leaf)] for leaf, product in enumerate(q)]  # type: ignore[index]
    sigmoid, tanh, relu = torch.sigmoid, torch.tanh, torch.relu
    left = tanh(tanh(sigmoid(p[0] + q[0]) * relu(p[1] + q[1])) + c)
    new_c = left * tanh(sigmoid(p[2] + q[2]) + relu(p[3] * q[3]))
    right = tanh(tanh(tanh(p[4] + q[4]) * sigmoid(p[5] + q[5])) + sigmoid(tanh(p[6] + q[6]) + sigmoid(p[7] + q[7])))
    return tanh(new_c * right), new_c


@pytest.mark.parametrize("bias", [False, True])
def test_the_nascell_computes_the_published_equations(bias: bool) -> None:
    torch.manual_seed(0)
    module = build_cell(nascell(), 5, 4, bias=bias).double()
    inputs = torch.randn(6, 3, 5).double().requires_grad_()
    state = torch.randn(3, 4).double().requires_grad_()
    outputs, (_, last) = module(inputs, (state.unsqueeze(0), state.unsqueeze(0)))
    hidden, cell, expected = state, state, []
    for step in inputs:
        hidden, cell = nascell_by_hand(module, step, hidden, cell)
        expected.append(hidden)
    torch.testing.assert_close(outputs, torch.stack(expected))
    torch.testing.assert_close(last[0], cell)
    variables = [inputs, state, *module.parameters()]
    ours = torch.autograd.grad(outputs.square().sum() + last.sum(), variables)
    theirs = torch.autograd.grad(torch.stack(expected).square().sum() + cell.sum(), variables)
    torch.testing.assert_close(ours, theirs)


def test_shapes_are_those_of_torchs_lstm_and_the_state_carries_on() -> None:
    torch.manual_seed(0)
    module, inputs = build_cell(random_cell(1), 5, 4, 3), torch.randn(6, 2, 5)
    outputs, (hidden, cell) = module(inputs)
    assert (outputs.shape, hidden.shape, cell.shape) == ((6, 2, 4), (3, 2, 4), (3, 2, 4))
    assert torch.equal(hidden[-1], outputs[-1])
    first, state = module(inputs[:4])
    second, _ = module(inputs[4:], state)
    torch.testing.assert_close(torch.cat([first, second]), outputs)
    turned = build_cell(random_cell(1), 5, 4, 3, batch_first=True)
    turned.load_state_dict(module.state_dict())
    assert torch.equal(turned(inputs.transpose(0, 1))[0].transpose(0, 1), outputs)


@pytest.mark.parametrize("cell", [nascell(), "lstm", "rnn"])
def test_dropout_masks_stay_the_same_over_a_sequence_and_differ_between_leaves(cell: Cell) -> None:
    """Equal inputs at every step, so each step's W x_t reveals its mask; the seed decides it; evaluation has none."""
    module = build_cell(cell, 40, 30, input_dropout=0.5, recurrent_dropout=0.5)
    inputs = torch.randn(1, 2, 40).expand(5, -1, -1)
    torch.manual_seed(1)
    one, _ = module(inputs)
    torch.manual_seed(1)
    same, _ = module(inputs)
    other, _ = module(inputs)
    assert torch.equal(one, same) and not torch.equal(one, other)
    module.eval()
    plain = build_cell(cell, 40, 30)
    plain.load_state_dict(module.state_dict())
    assert torch.equal(module(inputs)[0], plain(inputs)[0])


def test_dropped_inputs_have_no_gradient_at_any_step_and_kept_ones_are_scaled() -> None:
    torch.manual_seed(0)
    module = build_cell("rnn", 200, 8, input_dropout=0.25)
    with torch.no_grad():
        module.layers[0].hidden_weight.zero_()  # type: ignore[operator]
    inputs = torch.zeros(4, 1, 200, requires_grad=True)  # tanh'(0) is 1
    (gradient,) = torch.autograd.grad(module(inputs)[0].sum(), inputs)
    ratio = gradient / module.layers[0].input_weight.sum((0, 1))  # type: ignore[operator]
    assert torch.allclose(ratio, ratio[:1].expand(4, -1, -1), atol=1e-5), "one mask for the sequence"
    kept = ratio[0, 0] > 0.5
    assert torch.allclose(ratio[0, 0], kept / 0.75, atol=1e-4), "dropped, or divided by the share kept"
    assert 0.6 < kept.float().mean() < 0.9


def test_dropout_of_hidden_units_masks_each_leaf_by_itself() -> None:
    torch.manual_seed(0)
    module = build_cell("lstm", 4, 300, recurrent_dropout=0.5)
    hidden = torch.zeros(1, 1, 300, requires_grad=True)
    layer = module.layers[0]
    with torch.no_grad():
        layer.input_weight.zero_()  # type: ignore[operator]
        layer.bias.zero_()  # type: ignore[operator, union-attr]
        layer.hidden_weight.copy_(torch.eye(300).expand(4, -1, -1))  # type: ignore[operator]
    _, (_, cell) = module(torch.zeros(1, 1, 4), (hidden, torch.ones(1, 1, 300)))
    (gradient,) = torch.autograd.grad(cell.sum(), hidden)
    # c = sigmoid(i) ⊙ tanh(g) + sigmoid(f) at 0: 1/2 of g's mask and 1/4 of f's, masks being 0 or 2.
    values, counts = gradient.round(decimals=4).unique(return_counts=True)
    assert values.tolist() == [0.0, 0.5, 1.0, 1.5] and counts.min() > 40, "masks of f and g are independent"


@pytest.mark.parametrize("arguments", [(0, 4, 1), (4, 0, 1), (4, 4, 0)])
def test_sizes_below_one_are_errors(arguments: tuple[int, int, int]) -> None:
    with pytest.raises(ValueError, match=r"(input_size|hidden_size|num_layers) 0: must be at least 1"):
        build_cell("lstm", *arguments)


@pytest.mark.parametrize("share", [-0.1, 1.0, math.nan])
def test_shares_that_cannot_be_dropped_are_errors(share: float) -> None:
    with pytest.raises(ValueError, match=r"input_dropout .*: must be at least 0 and less than 1"):
        build_cell("lstm", 4, 4, input_dropout=share)
    with pytest.raises(ValueError, match=r"recurrent_dropout .*: must be"):
        build_cell("lstm", 4, 4, recurrent_dropout=share)


def test_unknown_cells_and_inputs_of_other_shapes_are_errors() -> None:
    with pytest.raises(ValueError, match="cell 'gru': allowed are lstm, rnn and a CellArchitecture"):
        build_cell("gru", 4, 4)  # type: ignore[arg-type]
    for shape in ((5, 4), (5, 2, 3), (0, 2, 4)):
        with pytest.raises(ValueError, match=r"inputs \[.*\]: must be \[time, batch, 4\]"):
            build_cell("lstm", 4, 4)(torch.zeros(shape))
    right = torch.zeros(2, 3, 4)
    for shape in ((2, 1, 4), (1, 3, 4), (2, 3, 5), (2, 2, 4)):
        for state, name in (((torch.zeros(shape), right), "h"), ((right, torch.zeros(shape)), "c")):
            with pytest.raises(
                ValueError, match=rf"{name} \[.*\]: must be \[layers, batch, hidden\], here \[2, 3, 4\]"
            ):
                build_cell("lstm", 5, 4, 2)(torch.zeros(6, 3, 5), state)


@pytest.mark.parametrize("cell", [random_cell(2), random_cell(7), nascell(), "lstm"])
def test_autocast_is_near_full_precision(cell: Cell) -> None:
    torch.manual_seed(0)
    module, inputs = build_cell(cell, 8, 8, 2, recurrent_dropout=0.2), torch.randn(5, 3, 8)
    gradients = []
    for enabled in (False, True):
        torch.manual_seed(1)
        with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
            outputs, _ = module(inputs)
        assert outputs.dtype == torch.float32
        gradients.append(torch.autograd.grad(outputs.square().mean(), list(module.parameters())))
        assert all(gradient.dtype == torch.float32 for gradient in gradients[-1])
    for exact, near in zip(*gradients, strict=True):
        torch.testing.assert_close(near, exact, rtol=0.2, atol=0.02 * float(exact.abs().max()) + 1e-4)
    assert any(not torch.equal(exact, near) for exact, near in zip(*gradients, strict=True))


def test_the_cost_of_a_cell_is_that_of_its_products() -> None:
    parameters, flops = network_cost(lambda: build_cell(nascell(), 10, 6, 2), (7, 10))
    assert parameters == 8 * 6 * (10 + 6) + 8 * 6 * (6 + 6)
    assert flops == 2 * 7 * parameters  # [1, 7, 10] is one step of a batch of 7


@pytest.mark.gpu
@pytest.mark.parametrize("cell", [random_cell(2), nascell(), "lstm"])
def test_a_gpu_computes_the_same(cell: Cell) -> None:
    torch.manual_seed(0)
    module, inputs = build_cell(cell, 8, 8, 2).double(), torch.randn(5, 3, 8).double()
    here, there = module(inputs), module.cuda()(inputs.cuda())
    torch.testing.assert_close(there[0].cpu(), here[0])
    torch.testing.assert_close(there[1][1].cpu(), here[1][1])
