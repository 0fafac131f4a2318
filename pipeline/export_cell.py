"""A recurrent cell, and a language model of it, as Python code of its own that needs torch alone."""

from collections.abc import Sequence
from itertools import groupby
from textwrap import indent

from models.cell_architecture import CellArchitecture
from models.cell_formula import Cell, Formula, formula_of, leaf_order
from models.language_model import LanguageModel

_COMBINE = {"add": "{} + {}", "elem_mult": "{} * {}", "max": "torch.maximum({}, {})"}
_LSTM = ("i", "f", "o", "g", "c", "written", "kept", "read", "h")
_RNN = ("h", "c")

_LAYER = '''\
class CellLayer(nn.Module):
    """One layer of the cell over a whole sequence{what}:

{description}
    """

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__()
        # W and U of {order}
        self.input_weight = nn.Parameter(torch.empty({leaves}, hidden_size, input_size))
        self.hidden_weight = nn.Parameter(torch.empty({leaves}, hidden_size, hidden_size))
{bias}        for weight in self.parameters():
            nn.init.uniform_(weight, -(hidden_size**-0.5), hidden_size**-0.5)

    def forward(self, inputs: Tensor, h: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
        """Outputs [time, batch, hidden] and the last c, of inputs [time, batch, input]; h and c are [batch, hidden]."""
        wx = torch.bmm(inputs.flatten(0, 1).expand({leaves}, -1, -1), self.input_weight.mT)
        wx = wx.unflatten(1, inputs.shape[:2])  # [{leaves}, time, batch, hidden]
        outputs = []
        for t in range(len(inputs)):
            uh = torch.bmm(h.expand({leaves}, -1, -1), self.hidden_weight.mT){add_bias}  # [{leaves}, batch, hidden]
            h, c = self.step(wx[:, t], uh, c)
            outputs.append(h)
        return torch.stack(outputs), c

    def step(self, wx: Tensor, uh: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
        """The new h and c [batch, hidden] from W x, U h [{leaves}, batch, hidden] and the c before."""
{steps}
'''

_CELL = '''\
class Cell(nn.Module):
    """Layers of the cell, in the manner of nn.LSTM: each reads the outputs of the one before."""

    def __init__(self, input_size: int, hidden_size: int, num_layers: int = 1, batch_first: bool = False) -> None:
        super().__init__()
        sizes = [input_size] + [hidden_size] * (num_layers - 1)
        self.layers = nn.ModuleList([CellLayer(size, hidden_size) for size in sizes])
        self.hidden_size, self.batch_first = hidden_size, batch_first

    def forward(self, inputs: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        """Outputs [time, batch, hidden] of inputs [time, batch, input], and the state after the last step.

        With batch_first, batch comes before time in both. The state is h and c, each [layers, batch, hidden], and zero
        where none is given.
        """
        if self.batch_first:
            inputs = inputs.transpose(0, 1)
        if state is None:
            zeros = inputs.new_zeros(len(self.layers), inputs.shape[1], self.hidden_size)
            state = (zeros, zeros)
        hs, cs = [], []
        for layer, h, c in zip(self.layers, *state, strict=True):
            inputs, last = layer(inputs, h, c)
            hs.append(inputs[-1])
            cs.append(last)
        return inputs.transpose(0, 1) if self.batch_first else inputs, (torch.stack(hs), torch.stack(cs))
'''

_LANGUAGE_MODEL = '''\
class LanguageModel(nn.Module):
    """Embedding, {layers} layers of the cell with {units} units each, and logits of {words} words."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding({words}, {embedded})
        self.recurrent = Cell({embedded}, {units}, num_layers={layers})
        self.softmax = nn.Linear({units}, {words})
{tie}
    def forward(self, tokens: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        """Logits [time, batch, {words}] of the words that follow `tokens` [time, batch], and the state after them.

        The state, h and c each [{layers}, batch, {units}], is zero where none is given.
        """
        outputs, state = self.recurrent(self.embedding(tokens), state)
        return self.softmax(outputs), state
'''


def cell_source(cell: Cell, bias: bool) -> str:
    """Classes `CellLayer` and `Cell`."""
    formula, names = formula_of(cell), _register_names(cell)
    leaves = len(formula.leaves)
    return "\n\n".join(
        (
            _LAYER.format(
                what=", with a bias on U h" if bias else "",
                description=indent(_describe(cell), " " * 4),
                leaves=leaves,
                order=", ".join(names[:leaves]),
                bias=" " * 8 + f"self.bias = nn.Parameter(torch.empty({leaves}, hidden_size))\n" if bias else "",
                add_bias=" + self.bias.unsqueeze(1)" if bias else "",
                steps=indent("\n".join([*_leaf_steps(formula, names), *_node_steps(formula, names)]), " " * 8),
            ),
            _CELL,
        )
    )


def language_model_source(model: LanguageModel, tied: bool) -> str:
    """Class `LanguageModel`; it uses class `Cell`."""
    words, embedded = model.embedding.weight.shape
    return _LANGUAGE_MODEL.format(
        words=words,
        embedded=embedded,
        units=model.recurrent.hidden_size,
        layers=len(model.recurrent.layers),
        tie=" " * 8 + "self.softmax.weight = self.embedding.weight\n" if tied else "",
    )


def _describe(cell: Cell) -> str:
    if isinstance(cell, CellArchitecture):
        return cell.describe().replace(f"a{cell.previous_cell_index}'", f"b{cell.previous_cell_index}")
    return "A long short-term memory" if cell == "lstm" else "A basic recurrent network"


def _register_names(cell: Cell) -> Sequence[str]:
    """A variable for each register of the cell's formula: a3 is the output of node 3, b3 that joined by c."""
    if not isinstance(cell, CellArchitecture):
        return _LSTM if cell == "lstm" else _RNN
    names = [f"a{leaf}" for leaf in leaf_order(cell)] + ["c"]
    for index in range(len(cell.nodes)):
        names += [f"a{index}"] if index >= cell.base else []
        names += [f"b{index}"] if index == cell.previous_cell_index else []
    return names


def _leaf_steps(formula: Formula, names: Sequence[str]) -> list[str]:
    """Statements up to the output of each leaf. Equal leaves are one operation, as they are in `Recurrent`."""
    parts = []
    for combination, start, stop in _runs([leaf.combination for leaf in formula.leaves]):
        whole = stop - start == len(formula.leaves)
        operands = ("wx", "uh") if whole else (f"wx[{start}:{stop}]", f"uh[{start}:{stop}]")
        parts.append(_COMBINE[combination].format(*operands))
    lines = [f"leaves = {parts[0]}" if len(parts) == 1 else f"leaves = torch.cat([{', '.join(parts)}])"]
    for activation, start, stop in _runs([leaf.activation for leaf in formula.leaves]):
        values = f"leaves[{start}]" if stop - start == 1 else f"leaves[{start}:{stop}]"
        lines.append(
            f"{', '.join(names[start:stop])} = {_activate(activation, values)}{'.unbind()' * (stop - start > 1)}"
        )
    return lines


def _node_steps(formula: Formula, names: Sequence[str]) -> list[str]:
    """Statements from the outputs of the leaves to h and c."""
    leaves, lines = len(formula.leaves), []
    new_cell = f"leaves[{formula.cell}]" if formula.cell < leaves else names[formula.cell]
    for number, operation in enumerate(formula.operations, start=leaves + 1):
        value = _COMBINE[operation.combination].format(names[operation.left], names[operation.right])
        if number == formula.cell and operation.activation != "identity":
            lines.append(f"new_c = {value}")
            value = new_cell = "new_c"
        lines.append(f"{names[number]} = {_activate(operation.activation, value)}")
    return [*lines, f"return {names[formula.hidden]}, {new_cell}"]


def _activate(activation: str, values: str) -> str:
    return values if activation == "identity" else f"torch.{activation}({values})"


def _runs(values: Sequence[str]) -> list[tuple[str, int, int]]:
    """(value, start, stop) of each run of equal values."""
    runs, start = [], 0
    for value, group in groupby(values):
        stop = start + len(list(group))
        runs.append((value, start, stop))
        start = stop
    return runs
