"""Recurrent layers of any cell, in the manner of torch.nn.LSTM (sections 3.4 and 4.2)."""

import torch
from torch import Tensor, nn

from models.cell_architecture import CellArchitecture
from models.cell_formula import Cell, formula_of
from models.recurrence import Recurrence

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
    """One layer: weights [leaves, hidden, input] and [leaves, hidden, hidden], and a bias [leaves, hidden] on U h."""

    def __init__(self, cell: Cell, input_size: int, hidden_size: int, bias: bool) -> None:
        super().__init__()
        self.formula = formula_of(cell)
        leaves = len(self.formula.leaves)
        self.input_weight = nn.Parameter(torch.empty(leaves, hidden_size, input_size))
        self.hidden_weight = nn.Parameter(torch.empty(leaves, hidden_size, hidden_size))
        self.bias = nn.Parameter(torch.empty(leaves, hidden_size)) if bias else None
        for weight in self.parameters():
            nn.init.uniform_(weight, -(hidden_size**-0.5), hidden_size**-0.5)

    def forward(self, inputs: Tensor, hidden: Tensor, cell: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor]:
        """Outputs [time, batch, hidden] and the last c [batch, hidden].

        inputs are [leaves, time, batch, input], or [1, …] where they are the same for all leaves.
        """
        dtype, kind = self.hidden_weight.dtype, inputs.device.type
        if torch.is_autocast_enabled(kind):
            dtype = torch.get_autocast_dtype(kind)
        weights = (inputs.to(dtype), self.input_weight.to(dtype), self.hidden_weight.to(dtype), self.bias)
        with torch.autocast(kind, enabled=False):
            outputs, last = Recurrence.apply(self.formula, *weights, hidden, cell, mask)  # type: ignore[no-untyped-call]
        return outputs, last


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
            leaves, batch, size = len(layer.formula.leaves), *inputs.shape[1:]
            spread = inputs.unsqueeze(0)  # [1, time, batch, input]
            if self.training and self.input_dropout:
                spread = spread * dropout_mask((leaves, 1, batch, size), self.input_dropout, inputs)
            mask = None
            if self.training and self.recurrent_dropout:
                mask = dropout_mask((leaves, batch, self.hidden_size), self.recurrent_dropout, hidden)
            inputs, cell = layer(spread, hidden, cell, mask)
            hiddens.append(inputs[-1])
            cells.append(cell)
        outputs = inputs.transpose(0, 1) if self.batch_first else inputs
        return outputs, (torch.stack(hiddens), torch.stack(cells))


def dropout_mask(shape: tuple[int, ...], share: float, like: Tensor) -> Tensor:
    """1 / (1 - share) where kept and 0 where dropped, so that the mean stays what it is."""
    return like.new_empty(shape).bernoulli_(1 - share).div_(1 - share)


def has_bias(cell: Cell) -> bool:
    """Whether a cell's own equations have a bias: trees have none."""
    return not isinstance(cell, CellArchitecture) and cell == "lstm"
