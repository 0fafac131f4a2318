"""Recurrent cells and language models as folders of their own."""

import json
from functools import partial
from pathlib import Path

import pytest
import torch
from conftest import type_in
from exported import assert_well_written, drawn, module_of, outputs_elsewhere, run_onnx
from safetensors.torch import load_file

from models.cell_architecture import CellArchitecture
from models.cell_formula import Cell
from models.language_model import LanguageModel
from models.presets import nascell
from models.recurrent import build_cell
from pipeline.export import Origin, cell_content, export_network, write_export

WORDS = [f"word{number}" for number in range(20)]


def export(cell: Cell, folder: Path, units: int = 16, tied: bool = False) -> LanguageModel:
    torch.manual_seed(1)
    model = LanguageModel(cell, len(WORDS), units, tied=tied, init_range=0.5).eval()
    export_network(cell, model, folder, Origin("A model"), words=WORDS, graphs=False)
    return model


# Ours adds a product to a sum in place where the code adds two: which sums are rounded alike is up to the processor.
assert_same = partial(torch.testing.assert_close, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("cell", [*(drawn("cells", seed) for seed in range(12)), nascell(), "lstm", "rnn"])
@pytest.mark.parametrize("tied", [False, True])
@torch.no_grad()
def test_the_code_of_every_cell_computes_the_same(cell: Cell, tied: bool, tmp_path: Path) -> None:
    ours = export(cell, tmp_path, tied=tied)
    theirs = module_of(tmp_path).load()
    for model in (ours, theirs):
        model.double()  # random cells amplify what processors round differently
    tokens, more = torch.randint(len(WORDS), (2, 7, 3))
    logits, state = ours(tokens)
    their_logits, their_state = theirs(tokens)
    assert_same((their_logits, *their_state), (logits, *state))
    assert_same(theirs(more, their_state)[0], ours(more, state)[0])


@pytest.mark.parametrize("cell", [drawn("cells", 3), "lstm", "rnn"])
def test_any_number_of_units_and_gradients_agree_closely(cell: Cell, tmp_path: Path) -> None:
    ours = export(cell, tmp_path, units=7)
    theirs = module_of(tmp_path).load()
    tokens = torch.randint(len(WORDS), (6, 3))
    for model in (ours, theirs):
        model(tokens)[0].square().sum().backward()
    expected = dict(ours.named_parameters())
    for name, weight in theirs.named_parameters():
        assert weight.grad is not None
        torch.testing.assert_close(weight.grad, expected[name].grad, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("cell", [drawn("cells", 3), "lstm", "rnn"])
def test_the_code_is_written_as_our_own_is(cell: Cell, tmp_path: Path) -> None:
    export(cell, tmp_path, tied=cell == "lstm")
    assert_well_written(tmp_path)


@torch.no_grad()
def test_a_language_model_loads_where_this_project_is_unknown(tmp_path: Path) -> None:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    model = export(nascell(), tmp_path)
    tokens = torch.randint(len(WORDS), (5, 2))
    expected = model(tokens)
    torch.set_num_threads(threads)
    logits, state = outputs_elsewhere(tmp_path, tokens)
    assert_same((logits, *state), (expected[0], *expected[1]))
    assert json.loads((tmp_path / "vocabulary.json").read_text()) == WORDS
    assert CellArchitecture.from_json(json.loads((tmp_path / "architecture.json").read_text())) == nascell()


@torch.no_grad()
def test_an_embedding_of_another_size_than_the_layers(tmp_path: Path) -> None:
    torch.manual_seed(1)
    cell = drawn("cells", 4)
    ours = LanguageModel(cell, len(WORDS), 6, embedding_size=9, init_range=0.5).eval()
    export_network(cell, ours, tmp_path, Origin("A model"), words=WORDS, graphs=False)
    assert_well_written(tmp_path)
    tokens = torch.randint(len(WORDS), (7, 3))
    logits, state = ours.double()(tokens)
    their_logits, their_state = module_of(tmp_path).load().double()(tokens)
    assert_same((their_logits, *their_state), (logits, *state))


def test_nascell_is_exported_as_its_equations(tmp_path: Path) -> None:
    type_in("export", "--preset", "nascell", "--to", tmp_path / "nascell")
    assert_well_written(tmp_path / "nascell")
    text = (tmp_path / "nascell/model.py").read_text()
    for line in (
        "a0, a2, a5, a7 = torch.sigmoid(leaves[1:5]).unbind()",
        "a3 = torch.relu(leaves[7])",
        "a8 = torch.tanh(a0 * a1)",
        "b8 = torch.tanh(a8 + c)",
        "a12 = b8 * a9",
        "a14 = torch.tanh(a12 * a13)",
        "return a14, a12",
    ):
        assert f"        {line}\n" in text
    assert not (tmp_path / "nascell/weights.safetensors").exists()
    assert "`--hidden-size` gives it both" in (tmp_path / "nascell/README.md").read_text()


@torch.no_grad()
def test_nascell_of_given_sizes_has_weights_and_graphs_of_a_step(tmp_path: Path) -> None:
    type_in("export", "--preset", "nascell", "--hidden-size", "6", "--input-size", "4", "--to", tmp_path / "nascell")
    assert_well_written(tmp_path / "nascell")
    theirs = module_of(tmp_path / "nascell").load()
    ours = build_cell(nascell(), 4, 6, bias=False)
    ours.load_state_dict(load_file(tmp_path / "nascell/weights.safetensors"))
    inputs, state = torch.randn(5, 3, 4), (torch.randn(1, 3, 6), torch.randn(1, 3, 6))
    (outputs, last), (expected, expected_last) = theirs(inputs, state), ours(inputs, state)
    assert_same((outputs, *last), (expected, *expected_last))
    step = ours(inputs[:1], state)
    graph = torch.export.load(tmp_path / "nascell/model.pt2").module()
    torch.testing.assert_close(graph(inputs[:1], state), step)
    outcome = run_onnx(tmp_path / "nascell", inputs=inputs[:1], h=state[0], c=state[1])
    torch.testing.assert_close(tuple(outcome), (step[0], *step[1]), rtol=1e-4, atol=1e-5)
    assert "has learned nothing yet" in (tmp_path / "nascell/README.md").read_text()


def test_sizes_are_those_of_nascell(tmp_path: Path) -> None:
    to = ["--to", tmp_path / "new"]
    for arguments, message in (
        (["--preset", "figure7", "--hidden-size", "4"], "are for nascell, and not for figure7"),
        (["--preset", "nascell", "--layers", "2"], "--input-size and --layers need --hidden-size"),
        ([tmp_path, "--hidden-size", "4"], "are for preset nascell"),
    ):
        assert message in type_in("export", *arguments, *to, expected=2)


@torch.no_grad()
def test_a_bare_cell_is_used_as_nn_lstm(tmp_path: Path) -> None:
    cell = drawn("cells", 5)
    write_export(tmp_path, cell, cell_content(cell, bias=True), Origin("A cell"))
    theirs = module_of(tmp_path).Cell(16, 32, num_layers=2, batch_first=True).double()
    ours = build_cell(cell, 16, 32, 2, bias=True, batch_first=True).double()
    ours.load_state_dict(theirs.state_dict())
    draw = partial(torch.randn, dtype=torch.double)
    inputs, state = draw(3, 6, 16), (draw(2, 3, 32), draw(2, 3, 32))
    for given in (None, state):
        (outputs, last), (expected, expected_last) = theirs(inputs, given), ours(inputs, given)
        assert_same((outputs, *last), (expected, *expected_last))
    reference = torch.nn.LSTM(16, 32, num_layers=2, batch_first=True).double()(inputs)
    assert reference[0].shape == outputs.shape and reference[1][0].shape == last[0].shape
