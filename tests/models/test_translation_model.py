import pytest
import torch
from plain_cells import random_cell
from torch import Tensor

from models.attention import Attention
from models.cell_formula import Cell
from models.presets import nascell
from models.translation_model import TranslationModel, TranslationSizes, count_parameters, hidden_units_for

CELLS: list[Cell] = [random_cell(0), nascell(), "lstm", "rnn"]


def sizes(encoder_layers: int = 1, decoder_layers: int = 1) -> TranslationSizes:
    return TranslationSizes(11, 13, 6, encoder_layers, decoder_layers)


def batch(lengths: list[int], seed: int = 0) -> tuple[Tensor, Tensor]:
    """Random source sentences [time, batch] and their lengths."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(11, (max(lengths), len(lengths)), generator=generator), torch.tensor(lengths)


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize(("encoder_layers", "decoder_layers"), [(1, 1), (2, 3), (4, 2)])
def test_logits_have_a_word_of_the_target_for_each_step(cell: Cell, encoder_layers: int, decoder_layers: int) -> None:
    model = TranslationModel(cell, 5, sizes(encoder_layers, decoder_layers))
    source, lengths = batch([4, 2, 3])
    assert model(source, lengths, torch.randint(13, (6, 3))).shape == (6, 3, 13)


@pytest.mark.parametrize("cell", CELLS)
def test_padding_does_not_change_a_translation(cell: Cell) -> None:
    torch.manual_seed(0)
    model = TranslationModel(cell, 5, sizes(3, 3), init_range=0.5)
    (source, lengths), words = batch([7, 1, 4]), torch.randint(13, (5, 3))
    together = model(source, lengths, words)
    for column, length in enumerate(lengths.tolist()):
        alone = model(source[:length, [column]], lengths[[column]], words[:, [column]])
        torch.testing.assert_close(together[:, [column]], alone)
    source[4:, 2] = 0
    torch.testing.assert_close(model(source, lengths, words), together)
    source[3, 2] = (source[3, 2] + 1) % 11  # the last word of the third sentence is no padding
    assert (model(source, lengths, words)[:, 2] - together[:, 2]).abs().amax(-1).min() > 1e-5


def test_a_word_has_no_influence_on_what_comes_before_it() -> None:
    torch.manual_seed(0)
    model = TranslationModel(nascell(), 5, sizes(2, 3), init_range=0.5)
    (source, lengths), words = batch([4, 3]), torch.randint(13, (6, 2))
    before = model(source, lengths, words)
    words[3] = (words[3] + 1) % 13
    after = model(source, lengths, words)
    assert torch.equal(after[:3], before[:3]) and (after[3:] - before[3:]).abs().amax((1, 2)).min() > 1e-6


def test_the_first_layer_reads_in_both_directions() -> None:
    torch.manual_seed(0)
    model = TranslationModel("lstm", 5, sizes(), init_range=0.5)
    source, lengths = batch([6])
    first = model.encoder(source, lengths)
    source[5] = (source[5] + 1) % 11
    changed = (model.encoder(source, lengths) - first).abs()
    assert changed[:5, 0, :5].max() == 0 and changed[5, 0, :5].min() > 0  # forwards: the past alone
    assert changed[:, 0, 5:].amax(1).min() > 0  # backwards: all that follows


def test_decoding_step_by_step_is_decoding_at_once() -> None:
    torch.manual_seed(0)
    model = TranslationModel(nascell(), 5, sizes(2, 4), init_range=0.5)
    (source, lengths), words = batch([4, 2]), torch.randint(13, (5, 2))
    memory, state = model.encode(source, lengths), model.first_state(2)
    steps = []
    for step in words:
        logits, state = model.decoder(step.unsqueeze(0), memory, state)
        steps.append(logits)
    torch.testing.assert_close(torch.cat(steps), model(source, lengths, words))


def test_inputs_are_added_to_outputs_from_the_third_layer_on() -> None:
    """With cells that say nothing, because their weights are zero, the second layer's outputs come through."""
    torch.manual_seed(0)
    model = TranslationModel("lstm", 5, sizes(4, 4), init_range=0.5)
    source, lengths = batch([4, 2])
    short = TranslationModel("lstm", 5, sizes(2, 2))
    matching = {name: weight for name, weight in model.state_dict().items() if name in short.state_dict()}
    short.load_state_dict(matching)
    words = torch.randint(13, (5, 2))
    assert not torch.allclose(model(source, lengths, words), short(source, lengths, words))
    with torch.no_grad():
        for layer in (*model.encoder.layers[1:], *model.decoder.layers[2:]):
            for weight in layer.parameters():
                weight.zero_()
    torch.testing.assert_close(model(source, lengths, words), short(source, lengths, words))


def test_attention_is_a_mean_of_what_is_no_padding() -> None:
    torch.manual_seed(0)
    attention, memory = Attention(3, 4, 5), torch.randn(6, 2, 4)
    padding = torch.zeros(6, 2, dtype=torch.bool)
    padding[2:, 1] = True
    query, keys = torch.randn(2, 3), attention.keys(memory)
    scores = attention.score(torch.tanh(attention.query(query) + attention.key(memory))).squeeze(-1)
    first = (scores[:, 0].softmax(0).unsqueeze(-1) * memory[:, 0]).sum(0)
    second = (scores[:2, 1].softmax(0).unsqueeze(-1) * memory[:2, 1]).sum(0)
    torch.testing.assert_close(attention(query, keys, memory, padding), torch.stack([first, second]))


def test_every_weight_learns() -> None:
    torch.manual_seed(0)
    model = TranslationModel(nascell(), 5, sizes(3, 3), init_range=0.5)
    source, lengths = batch([5, 3])
    model(source, lengths, torch.randint(13, (6, 2))).square().sum().backward()
    for name, weight in model.named_parameters():
        assert weight.grad is not None and weight.grad.any(), name


@pytest.mark.parametrize("cell", CELLS)
def test_a_cell_gets_as_many_parameters_as_an_lstm(cell: Cell) -> None:
    wanted = count_parameters("lstm", 64, sizes(3, 3))
    units = hidden_units_for(wanted, cell, sizes(3, 3))
    assert count_parameters(cell, units, sizes(3, 3)) == pytest.approx(wanted, rel=0.03)
    model = TranslationModel(cell, units, sizes(3, 3))
    assert count_parameters(cell, units, sizes(3, 3)) == sum(weight.numel() for weight in model.parameters())
    with pytest.raises(ValueError, match="10 parameters: a model of one hidden unit has"):
        hidden_units_for(10, cell, sizes())


def test_dropout_is_decided_by_the_seed_and_absent_in_evaluation() -> None:
    model, (source, lengths), words = TranslationModel("lstm", 8, sizes(3, 3), dropout=0.5), batch([5, 3]), None
    words = torch.randint(13, (6, 2))
    runs = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        runs.append(model(source, lengths, words))
    assert torch.equal(runs[0], runs[1]) and not torch.equal(runs[0], runs[2])
    model.eval()
    assert torch.equal(model(source, lengths, words), model(source, lengths, words))
    with pytest.raises(ValueError, match=r"dropout 1\.0: must be at least 0 and less than 1"):
        TranslationModel("lstm", 8, sizes(), dropout=1.0)
