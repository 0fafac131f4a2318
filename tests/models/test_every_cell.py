"""Properties of every recurrent cell of the space of base 8, with max and sin."""

import json

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from plain_cells import WIDE

from models.cell_architecture import CellArchitecture
from models.recurrent import build_cell
from models.space import SearchSpace

SPACE = SearchSpace("models.cell_space:cell_space", WIDE)


@st.composite
def cells(draw: st.DrawFn) -> CellArchitecture:
    path = SPACE.paths(0, 1)[0]
    while path.decision is not None:
        path.take(draw(st.integers(0, path.decision.num_options - 1)))
    assert isinstance(path.architecture, CellArchitecture)
    return path.architecture


@settings(max_examples=80, deadline=None)
@given(cells(), st.integers(1, 4), st.integers(1, 3), st.booleans())
def test_every_cell_trains_a_step_and_survives_json(cell: CellArchitecture, time: int, batch: int, drop: bool) -> None:
    torch.manual_seed(0)
    share = 0.3 if drop else 0.0
    module = build_cell(cell, 3, 5, 2, input_dropout=share, recurrent_dropout=share)
    outputs, state = module(torch.randn(time, batch, 3))
    assert outputs.shape == (time, batch, 5) and outputs.isfinite().all()
    assert all(part.shape == (2, batch, 5) and part.isfinite().all() for part in state)
    (outputs.sum() + state[1].sum()).backward()
    for name, weight in module.named_parameters():
        assert weight.grad is not None and weight.grad.isfinite().all(), name
    assert CellArchitecture.from_json(json.loads(json.dumps(cell.to_json()))) == cell
    assert len(cell.describe().splitlines()) == 18


@pytest.mark.parametrize("batch", [1, 20])
def test_no_graph_of_the_steps_is_kept_where_no_gradient_is_asked_for(batch: int) -> None:
    module = build_cell("lstm", 3, 5)
    with torch.no_grad():
        outputs, state = module(torch.randn(4, batch, 3))
    assert not outputs.requires_grad and not state[0].requires_grad
