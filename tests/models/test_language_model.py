import pytest
import torch
from plain_cells import random_cell
from torch.nn import functional

from models.cell_formula import Cell
from models.language_model import Dropouts, LanguageModel, count_parameters, hidden_units_for
from models.presets import nascell

MEDIUM = 19_775_200  # Zaremba et al. 2014: LSTM of 2 layers of 650 units, vocabulary of 10,000


def test_hidden_units_match_the_medium_lstm() -> None:
    assert count_parameters("lstm", 10_000, 650) == MEDIUM
    assert hidden_units_for(MEDIUM, "lstm", 10_000) == 650
    assert hidden_units_for(MEDIUM, nascell(), 10_000) == 533
    assert hidden_units_for(MEDIUM, nascell(), 10_000, tied=True) == 645


@pytest.mark.parametrize(("tied", "embeddings"), [(False, 20_000), (True, 10_000)])
def test_cells_of_base_8_have_the_parameters_of_the_formula(tied: bool, embeddings: int) -> None:
    for units in (1, 533, 645, 735):
        assert count_parameters(nascell(), 10_000, units, tied=tied) == embeddings * units + 32 * units**2 + 10_000


@pytest.mark.parametrize("cell", [random_cell(0), random_cell(1, base=2), "lstm", "rnn"])
@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("layers", [1, 3])
def test_the_count_is_that_of_the_module(cell: Cell, tied: bool, layers: int) -> None:
    model = LanguageModel(cell, 31, 7, num_layers=layers, tied=tied)
    counted = sum(weight.numel() for weight in model.parameters())
    assert count_parameters(cell, 31, 7, layers, tied) == counted
    assert hidden_units_for(counted, cell, 31, layers, tied) == 7


@pytest.mark.parametrize("cell", [random_cell(0), "lstm"])
@pytest.mark.parametrize("layers", [1, 2])
def test_an_embedding_may_have_a_size_of_its_own(cell: Cell, layers: int) -> None:
    model = LanguageModel(cell, 31, 7, num_layers=layers, embedding_size=12)
    assert model.embedding.weight.shape == (31, 12)
    assert model(torch.randint(31, (3, 2)))[0].shape == (3, 2, 31)
    counted = sum(weight.numel() for weight in model.parameters())
    assert count_parameters(cell, 31, 7, layers, embedding_size=12) == counted
    assert hidden_units_for(counted, cell, 31, layers, embedding_size=12) == 7
    with pytest.raises(ValueError, match="embedding_size 12: a tied one has the layers' 7 units"):
        LanguageModel(cell, 31, 7, tied=True, embedding_size=12)


def test_the_character_models_of_table_3_have_the_units_of_the_paper() -> None:
    """800 hidden units (section 4.2); 50 characters, embeddings of 128."""
    assert hidden_units_for(16_280_000, nascell(), 50, embedding_size=128) == pytest.approx(800, abs=2)


def test_hidden_units_are_the_nearest_and_too_few_parameters_are_an_error() -> None:
    six, seven = (count_parameters("lstm", 50, units) for units in (6, 7))
    assert hidden_units_for((six + seven) // 2 - 1, "lstm", 50) == 6
    assert hidden_units_for((six + seven) // 2 + 2, "lstm", 50) == 7
    smallest = count_parameters("lstm", 50, 1)
    assert hidden_units_for(smallest, "lstm", 50) == 1
    with pytest.raises(ValueError, match=f"{smallest - 1} parameters: a model of one hidden unit has {smallest}"):
        hidden_units_for(smallest - 1, "lstm", 50)


def test_weights_are_drawn_from_the_range_asked_for() -> None:
    torch.manual_seed(0)
    for name, weight in LanguageModel("lstm", 100, 20, init_range=0.3).named_parameters():
        assert 0.25 < float(weight.detach().abs().max()) <= 0.3, name


def test_logits_and_the_state_carry_on() -> None:
    torch.manual_seed(0)
    model, tokens = LanguageModel(nascell(), 30, 8), torch.randint(30, (7, 4))
    logits, state = model(tokens)
    assert logits.shape == (7, 4, 30) and state[0].shape == state[1].shape == (2, 4, 8)
    first, middle = model(tokens[:3])
    second, _ = model(tokens[3:], middle)
    torch.testing.assert_close(torch.cat([first, second]), logits)


def test_tied_embeddings_are_one_weight() -> None:
    model = LanguageModel("lstm", 30, 8, tied=True)
    assert model.softmax.weight is model.embedding.weight and model.softmax.bias is not None
    model(torch.randint(30, (3, 2)))[0].sum().backward()
    assert model.embedding.weight.grad is not None and model.embedding.weight.grad.all()


def test_embedding_dropout_drops_word_types_for_the_whole_sequence() -> None:
    torch.manual_seed(0)
    model = LanguageModel("rnn", 200, 8, dropouts=Dropouts(embedding=0.4))
    seen = []
    model.recurrent.register_forward_pre_hook(lambda _, arguments: seen.append(arguments[0].detach()))
    tokens = torch.stack([torch.arange(200), torch.randperm(200)], 1)  # every type twice: [time, batch]
    model(tokens)
    ratio = seen[0] / model.embedding.weight.detach()[tokens]
    factors = torch.zeros(200, 8).index_copy(0, tokens[:, 0], ratio[:, 0])
    torch.testing.assert_close(factors[tokens[:, 1]], ratio[:, 1])  # wherever a type stands
    kept = factors[:, 0] > 0
    torch.testing.assert_close(factors, (kept / 0.6).unsqueeze(1).expand(-1, 8).float())
    assert 0.4 < float(kept.float().mean()) < 0.8


def test_output_dropout_is_one_mask_for_the_sequence() -> None:
    torch.manual_seed(0)
    model = LanguageModel("rnn", 20, 50, dropouts=Dropouts(output=0.5))
    seen = []
    model.softmax.register_forward_pre_hook(lambda _, arguments: seen.append(arguments[0].detach() == 0))
    model(torch.randint(20, (6, 3)))
    assert torch.equal(seen[0], seen[0][:1].expand(6, -1, -1)) and 0.3 < seen[0].float().mean() < 0.7


@pytest.mark.parametrize("field", ["embedding", "inputs", "recurrent", "output"])
def test_each_dropout_is_decided_by_the_seed_and_absent_in_evaluation(field: str) -> None:
    torch.manual_seed(0)
    model, tokens = LanguageModel(random_cell(4), 30, 16, dropouts=Dropouts(**{field: 0.5})), torch.randint(30, (6, 3))
    runs = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        runs.append(model(tokens)[0])
    assert torch.equal(runs[0], runs[1]) and not torch.equal(runs[0], runs[2])
    model.eval()
    assert torch.equal(model(tokens)[0], model(tokens)[0])
    with pytest.raises(ValueError, match=f"{field} dropout 1.0: must be at least 0 and less than 1"):
        Dropouts(**{field: 1.0})


def test_a_model_learns_a_sequence_that_needs_memory() -> None:
    """The symbol of the step before the last is to be told: a model without memory has a loss of log 4."""
    torch.manual_seed(0)
    model = LanguageModel(nascell(), 4, 16, num_layers=1, init_range=0.3)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
    for _ in range(120):
        tokens = torch.randint(4, (12, 16))
        logits, _ = model(tokens)
        loss = functional.cross_entropy(logits[2:].flatten(0, 1), tokens[:-2].flatten())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert float(loss.detach()) < 0.7
