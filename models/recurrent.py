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
    """Layers of a searched cell, of an LSTM ("lstm") or of the basic RNN ("rnn").

    `bias` is added to U h; unset, an LSTM has one, as in Zaremba et al. (2014), and other cells have none, as in
    section 3.4. The dropouts are shares of each layer's inputs and of h_{t-1} (Gal 2015): each leaf has a mask of its
    own, which stays the same over a sequence; what is kept is divided by the share kept. Masks come from torch's
    global generator, in training only. Raises ValueError for sizes below 1 and shares outside 0 to 1.
    """
    for name, size in (("input_size", input_size), ("hidden_size", hidden_size), ("num_layers", num_layers)):
        if size < 1:
            raise ValueError(f"{name} {size}: must be at least 1")
    check_share("input_dropout", input_dropout)
    check_share("recurrent_dropout", recurrent_dropout)
    with_bias = has_bias(cell) if bias is None else bias
    sizes = [input_size] + [hidden_size] * (num_layers - 1)
    layers = [RecurrentLayer(cell, size, hidden_size, with_bias, input_dropout, recurrent_dropout) for size in sizes]
    return Recurrent(layers, batch_first)


class RecurrentLayer(nn.Module):
    """One layer: weights [leaves, hidden, input] and [leaves, hidden, hidden], and a bias [leaves, hidden] on U h.

    The leaves of a tree are in the order that `leaf_order` tells; those of an LSTM are i, f, o, g.
    """

    def __init__(
        self,
        cell: Cell,
        input_size: int,
        hidden_size: int,
        bias: bool,
        input_dropout: float = 0.0,
        recurrent_dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.formula = formula_of(cell)
        self.input_dropout, self.recurrent_dropout = input_dropout, recurrent_dropout
        leaves = len(self.formula.leaves)
        self.input_weight = nn.Parameter(torch.empty(leaves, hidden_size, input_size))
        self.hidden_weight = nn.Parameter(torch.empty(leaves, hidden_size, hidden_size))
        self.bias = nn.Parameter(torch.empty(leaves, hidden_size)) if bias else None
        for weight in self.parameters():
            nn.init.uniform_(weight, -(hidden_size**-0.5), hidden_size**-0.5)

    def forward(self, inputs: Tensor, hidden: Tensor, cell: Tensor) -> tuple[Tensor, Tensor]:
        """Outputs [time, batch, hidden] and the last c of inputs [time, batch, input], first h and c [batch, hidden].

        Under autocast the products are in its type, all else in that of h and c.
        """
        (leaves, units, size), batch = self.input_weight.shape, inputs.shape[1]
        spread = inputs.unsqueeze(0)  # [1, time, batch, input]
        if self.training and self.input_dropout:
            spread = spread * dropout_mask((leaves, 1, batch, size), self.input_dropout, inputs)
        mask = None
        if self.training and self.recurrent_dropout:
            mask = dropout_mask((leaves, batch, units), self.recurrent_dropout, hidden)
        kind, dtype = inputs.device.type, self.hidden_weight.dtype
        if torch.amp.is_autocast_available(kind) and torch.is_autocast_enabled(kind):
            dtype = torch.get_autocast_dtype(kind)
        operands = (spread.to(dtype), self.input_weight.to(dtype), self.hidden_weight.to(dtype), self.bias)
        outputs, last = Recurrence.apply(self.formula, *operands, hidden, cell, mask)
        return outputs, last


class Recurrent(nn.Module):
    """Layers of one cell, each reading the outputs of the one before; `build_cell` makes it."""

    def __init__(self, layers: list[RecurrentLayer], batch_first: bool = False) -> None:
        super().__init__()
        self.layers = nn.ModuleList(layers)
        self.hidden_size, self.input_size = layers[0].input_weight.shape[1:]
        self.batch_first = batch_first

    def forward(self, inputs: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        """Outputs [time, batch, hidden] of inputs [time, batch, input], and the state after the last step.

        With batch_first, batch comes before time in both. The state is h and c, each [layers, batch, hidden], and zero
        where none is given. Raises ValueError for inputs or a state of another shape.
        """
        if inputs.dim() != 3 or inputs.shape[-1] != self.input_size or 0 in inputs.shape:
            order = "batch, time" if self.batch_first else "time, batch"
            raise ValueError(f"inputs {list(inputs.shape)}: must be [{order}, {self.input_size}], and not empty")
        if self.batch_first:
            inputs = inputs.transpose(0, 1)
        if state is None:
            state = self.empty_state(inputs.shape[1])
        for name, values in zip("hc", state, strict=True):
            shape = [len(self.layers), inputs.shape[1], self.hidden_size]
            if list(values.shape) != shape:
                raise ValueError(f"{name} {list(values.shape)}: must be [layers, batch, hidden], here {shape}")
        hiddens, cells = [], []
        for layer, hidden, cell in zip(self.layers, *state, strict=True):
            inputs, last = layer(inputs, hidden, cell)
            hiddens.append(inputs[-1])
            cells.append(last)
        outputs = inputs.transpose(0, 1) if self.batch_first else inputs
        return outputs, (torch.stack(hiddens), torch.stack(cells))

    def empty_state(self, batch: int) -> State:
        """The state before the first step of so many sequences: zeros."""
        hidden, cell = next(self.parameters()).new_zeros(2, len(self.layers), batch, self.hidden_size)
        return hidden, cell


def has_bias(cell: Cell) -> bool:
    """Whether a cell has a bias unless told otherwise."""
    return not isinstance(cell, CellArchitecture) and cell == "lstm"


def check_share(name: str, share: float) -> None:
    """Raise ValueError for a share that cannot be dropped."""
    if not 0 <= share < 1:
        raise ValueError(f"{name} {share!r}: must be at least 0 and less than 1")


def dropout_mask(shape: tuple[int, ...], share: float, like: Tensor) -> Tensor:
    """1 / (1 - share) where kept and 0 where dropped, so that the mean stays what it is."""
    return like.new_empty(shape).bernoulli_(1 - share).div_(1 - share)
