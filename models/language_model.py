"""A recurrent language model (section 4.2; Zaremba et al. 2014, Gal 2015, Inan et al. 2016)."""

from dataclasses import dataclass, fields

from torch import Tensor, nn
from torch.nn import functional

from models.cell_formula import Cell, formula_of
from models.recurrent import State, build_cell, check_share, dropout_mask, has_bias


@dataclass(frozen=True)
class Dropouts:
    """Shares of what is dropped, 0 to less than 1; each mask stays the same over a sequence (Gal 2015).

    `embedding` drops word types, `inputs` each layer's inputs, `recurrent` h_{t-1}, `output` what the softmax reads.
    """

    embedding: float = 0.0
    inputs: float = 0.0
    recurrent: float = 0.0
    output: float = 0.0

    def __post_init__(self) -> None:
        for field in fields(self):
            check_share(f"{field.name} dropout", getattr(self, field.name))


class LanguageModel(nn.Module):
    """Embedding of as many units as a layer has, recurrent layers, softmax with a bias.

    `tied` shares the embedding with the softmax. Weights are drawn uniformly from ±init_range. Dropout masks come from
    torch's global generator.
    """

    def __init__(
        self,
        cell: Cell,
        vocabulary_size: int,
        hidden_units: int,
        *,
        num_layers: int = 2,
        tied: bool = False,
        dropouts: Dropouts = Dropouts(),
        init_range: float = 0.05,
    ) -> None:
        super().__init__()
        self.dropouts = dropouts
        self.embedding = nn.Embedding(vocabulary_size, hidden_units)
        self.recurrent = build_cell(
            cell,
            hidden_units,
            hidden_units,
            num_layers,
            input_dropout=dropouts.inputs,
            recurrent_dropout=dropouts.recurrent,
        )
        self.softmax = nn.Linear(hidden_units, vocabulary_size)
        if tied:
            self.softmax.weight = self.embedding.weight
        for weight in self.parameters():
            nn.init.uniform_(weight, -init_range, init_range)

    def forward(self, tokens: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        """Logits [time, batch, vocabulary] of the symbols that follow `tokens` [time, batch], and the state after them.

        The state, h and c each [layers, batch, hidden], is zero where none is given.
        """
        embedded = functional.embedding(tokens, self.embedding.weight)  # [time, batch, hidden]
        dropouts = self.dropouts
        if self.training and dropouts.embedding:
            kept = dropout_mask((len(self.embedding.weight), 1), dropouts.embedding, embedded)
            embedded = embedded * kept[tokens]
        outputs, state = self.recurrent(embedded, state)
        if self.training and dropouts.output:
            outputs = outputs * dropout_mask(tuple(outputs.shape[1:]), dropouts.output, outputs)
        return self.softmax(outputs), state


def count_parameters(
    cell: Cell, vocabulary_size: int, hidden_units: int, num_layers: int = 2, tied: bool = False
) -> int:
    """Weights of a LanguageModel of that size, without building it."""
    leaves = len(formula_of(cell).leaves)
    layer = leaves * hidden_units * (2 * hidden_units + has_bias(cell))
    embeddings = vocabulary_size * hidden_units * (1 if tied else 2)
    return embeddings + num_layers * layer + vocabulary_size


def hidden_units_for(parameters: int, cell: Cell, vocabulary_size: int, num_layers: int = 2, tied: bool = False) -> int:
    """The hidden units whose LanguageModel comes nearest to a number of parameters (section 4.2).

    Raises ValueError where a single unit already has more.
    """

    def count(units: int) -> int:
        return count_parameters(cell, vocabulary_size, units, num_layers, tied)

    if count(1) > parameters:
        raise ValueError(f"{parameters:,} parameters: a model of one hidden unit has {count(1):,} already")
    units = 1
    while count(2 * units) <= parameters:
        units *= 2
    step = units
    while step := step // 2:  # count(units) <= parameters throughout
        units += step * (count(units + step) <= parameters)
    return min(units, units + 1, key=lambda near: abs(count(near) - parameters))
