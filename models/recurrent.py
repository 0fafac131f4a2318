"""Recurrent layers of any cell, in the manner of torch.nn.LSTM (sections 3.4 and 4.2)."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from models.cell_architecture import CellArchitecture
from models.cell_formula import Cell, formula_of
from models.recurrence import recur

State = tuple[Tensor, Tensor]  # h and c, each [layers, batch, hidden]


def build_cell(
    cell: Cell,
    input_size: int,
    hidden_size: int,
    num_layers: int = 1,
    *,
    bias: bool | None = None,
    batch_first: bool = False,
    input_dropout: float = 0.0,
    recurrent_dropout: float = 0.0,
) -> "Recurrent":
    """Layers of a searched cell, of an LSTM or of a basic RNN; see `Recurrent`."""
    return Recurrent(
        cell,
        input_size,
        hidden_size,
        num_layers,
        bias=bias,
        batch_first=batch_first,
        input_dropout=input_dropout,
        recurrent_dropout=recurrent_dropout,
    )


class RecurrentLayer(nn.Module):
    """One layer: weights [leaves·hidden, input] and [leaves·hidden, hidden], and a bias [leaves·hidden] on U h."""

    def __init__(self, cell: Cell, input_size: int, hidden_size: int, bias: bool) -> None:
        super().__init__()
        self.formula = formula_of(cell)
        rows = len(self.formula.leaves) * hidden_size
        self.input_weight = nn.Parameter(torch.empty(rows, input_size))
        self.hidden_weight = nn.Parameter(torch.empty(rows, hidden_size))
        self.bias = nn.Parameter(torch.empty(rows)) if bias else None
        for weight in self.parameters():
            nn.init.uniform_(weight, -(hidden_size**-0.5), hidden_size**-0.5)

    def forward(self, inputs: Tensor, hidden: Tensor, cell: Tensor) -> tuple[Tensor, Tensor]:
        products = functional.linear(inputs, self.input_weight)  # [time, batch, leaves·hidden]
        return recur(self.formula, products, self.hidden_weight, self.bias, hidden, cell)


class Recurrent(nn.Module):
    """Layers of one cell. `bias` is added to U h; unset, an LSTM has one, other cells have none."""

    def __init__(
        self,
        cell: Cell,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        *,
        bias: bool | None = None,
        batch_first: bool = False,
        input_dropout: float = 0.0,
        recurrent_dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.hidden_size, self.batch_first = hidden_size, batch_first
        self.input_dropout, self.recurrent_dropout = input_dropout, recurrent_dropout
        sizes = [input_size] + [hidden_size] * (num_layers - 1)
        with_bias = has_bias(cell) if bias is None else bias
        self.layers = nn.ModuleList(RecurrentLayer(cell, size, hidden_size, with_bias) for size in sizes)

    def forward(self, inputs: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        """[time, batch, input] → outputs [time, batch, hidden] and the state after the last step."""
        if self.batch_first:
            inputs = inputs.transpose(0, 1)
        if state is None:
            zeros = inputs.new_zeros(len(self.layers), inputs.shape[1], self.hidden_size)
            state = (zeros, zeros)
        hiddens, cells = [], []
        for layer, hidden, cell in zip(self.layers, *state, strict=True):
            inputs = functional.dropout(inputs, self.input_dropout, self.training)
            inputs, cell = layer(inputs, hidden, cell)
            hiddens.append(inputs[-1])
            cells.append(cell)
        outputs = inputs.transpose(0, 1) if self.batch_first else inputs
        return outputs, (torch.stack(hiddens), torch.stack(cells))


def has_bias(cell: Cell) -> bool:
    """Whether a cell's own equations have a bias: trees have none."""
    return not isinstance(cell, CellArchitecture) and cell == "lstm"
