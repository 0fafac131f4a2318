"""A recurrent language model (section 4.2; Zaremba et al. 2014, Gal 2015, Inan et al. 2016)."""

from dataclasses import dataclass, fields

from torch import Tensor, nn
from torch.nn import functional

from models.cell_formula import Cell, formula_of
from models.recurrent import State, build_cell, check_share, dropout_mask, has_bias
from models.sizes import units_nearest


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
    """Embedding, recurrent layers, softmax with a bias.

    `embedding_size` is that of a layer where none is given. `tied` shares the embedding with the softmax, and raises
    ValueError where its size is another than a layer's. Weights are drawn uniformly from ±init_range.
    Dropout masks come from torch's global generator.
    """

    def __init__(
        self,
        cell: Cell,
        vocabulary_size: int,
        hidden_units: int,
        *,
        num_layers: int = 2,
        tied: bool = False,
        embedding_size: int | None = None,
        dropouts: Dropouts = Dropouts(),
        init_range: float = 0.05,
    ) -> None:
        super().__init__()
        embedded = embedding_size or hidden_units
        if tied and embedded != hidden_units:
            raise ValueError(f"embedding_size {embedded}: a tied one has the layers' {hidden_units} units")
        self.dropouts = dropouts
        self.embedding = nn.Embedding(vocabulary_size, embedded)
        self.recurrent = build_cell(
            cell,
            embedded,
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
        embedded = functional.embedding(tokens, self.embedding.weight)  # [time, batch, embedding]
        dropouts = self.dropouts
        if self.training and dropouts.embedding:
            kept = dropout_mask((len(self.embedding.weight), 1), dropouts.embedding, embedded)
            embedded = embedded * kept[tokens]
        outputs, state = self.recurrent(embedded, state)
        if self.training and dropouts.output:
            outputs = outputs * dropout_mask(tuple(outputs.shape[1:]), dropouts.output, outputs)
        return self.softmax(outputs), state


def count_parameters(
    cell: Cell,
    vocabulary_size: int,
    hidden_units: int,
    num_layers: int = 2,
    tied: bool = False,
    embedding_size: int | None = None,
) -> int:
    """Weights of a LanguageModel of that size, without building it."""
    leaves, embedded = len(formula_of(cell).leaves), embedding_size or hidden_units
    layer = leaves * hidden_units * (2 * hidden_units + has_bias(cell))
    narrower = leaves * hidden_units * (hidden_units - embedded)  # the first layer
    embeddings = vocabulary_size * (hidden_units + (0 if tied else embedded))
    return embeddings + num_layers * layer - narrower + vocabulary_size


def hidden_units_for(
    parameters: int,
    cell: Cell,
    vocabulary_size: int,
    num_layers: int = 2,
    tied: bool = False,
    embedding_size: int | None = None,
) -> int:
    """The hidden units whose LanguageModel comes nearest to a number of parameters (section 4.2).

    Raises ValueError where a single unit already has more.
    """
    return units_nearest(
        parameters,
        lambda units: count_parameters(cell, vocabulary_size, units, num_layers, tied, embedding_size),
    )
