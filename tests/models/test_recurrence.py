from typing import Any

import pytest
import torch
from plain_cells import plain_layer, random_cell
from torch import Tensor

from models.cell_formula import Cell, formula_of
from models.recurrence import Recurrence
from models.recurrent import RecurrentLayer


def operands(cell: Cell, seed: int, time: int = 3, batch: int = 2, size: int = 3, units: int = 2) -> list[Any]:
    """Random float64 arguments of a recurrence that all need gradients but the mask."""
    leaves, generator = len(formula_of(cell).leaves), torch.Generator().manual_seed(seed)

    def draw(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator, dtype=torch.float64).requires_grad_()

    mask = torch.rand(leaves, batch, units, generator=generator, dtype=torch.float64) if seed % 2 else None
    return [
        draw(leaves if seed % 2 else 1, time, batch, size),
        draw(leaves, units, size),
        draw(leaves, units, units),
        draw(leaves, units) if seed % 3 else None,
        draw(batch, units),
        draw(batch, units),
        mask,
    ]


@pytest.mark.parametrize("seed", range(24))
def test_gradients_of_all_operands_are_those_of_finite_differences(seed: int) -> None:
    cell = random_cell(seed, base=(2, 4)[seed % 2])
    assert torch.autograd.gradcheck(lambda *rest: Recurrence.apply(formula_of(cell), *rest), operands(cell, seed))


@pytest.mark.parametrize("seed", [2, 3])
@pytest.mark.parametrize("cell", ["lstm", "rnn"])
def test_gradients_of_the_baselines_are_those_of_finite_differences(cell: Cell, seed: int) -> None:
    assert torch.autograd.gradcheck(lambda *rest: Recurrence.apply(formula_of(cell), *rest), operands(cell, seed))


@pytest.mark.parametrize("seed", range(40))
def test_every_cell_computes_its_equations_and_their_gradients(seed: int) -> None:
    """Base 8, several steps: outputs, c, and all gradients are those of the tree worked out node by node."""
    torch.manual_seed(seed)
    cell = random_cell(seed)
    layer = RecurrentLayer(cell, 5, 4, bias=seed % 2 == 0).double()
    places = [torch.randn(*shape).double().requires_grad_() for shape in ((6, 3, 5), (3, 4), (3, 4))]
    found, expected = layer(*places), plain_layer(cell, layer, *places)
    weights = torch.randn_like(found[0]), torch.randn_like(found[1])
    variables = [*places, *layer.parameters()]
    gradients = []
    for outputs, last in (found, expected):
        loss = (outputs * weights[0]).sum() + (last * weights[1]).sum()
        gradients.append(torch.autograd.grad(loss, variables, materialize_grads=True))
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(gradients[0], gradients[1])


def test_a_gradient_is_the_same_the_second_time() -> None:
    cell = random_cell(5)
    variables = operands(cell, 5)
    outputs, last = Recurrence.apply(formula_of(cell), *variables)
    needed = [variable for variable in variables if variable is not None and variable.requires_grad]
    once = torch.autograd.grad(outputs.sum() + last.sum(), needed, retain_graph=True)
    again = torch.autograd.grad(outputs.sum() + last.sum(), needed)
    assert all(torch.equal(*pair) for pair in zip(once, again, strict=True))


def test_long_sequences_and_one_step_are_the_same_computation() -> None:
    """A sequence cut into steps, the state handed on, gives what it gives in one piece."""
    torch.manual_seed(0)
    cell = random_cell(11)
    layer = RecurrentLayer(cell, 5, 4, bias=True).double()
    inputs, hidden, state = torch.randn(9, 3, 5).double(), torch.randn(3, 4).double(), torch.randn(3, 4).double()
    whole, last = layer(inputs, hidden, state)
    for step in range(9):
        output, state = layer(inputs[step : step + 1], hidden, state)
        hidden = output[-1]
        torch.testing.assert_close(hidden, whole[step])
    torch.testing.assert_close(state, last)
