"""A space of one recurrent cell, to train a cell at hand as those of a search are trained."""

from typing import Any

from models.cell_architecture import CellArchitecture
from models.cell_formula import Cell, formula_of
from models.space import Decisions


def given_cell(depth: int, *, cell: Any) -> Decisions:
    """Decides nothing: `cell` is "lstm", "rnn" or a tree as JSON data. `depth` means nothing here."""
    yield from ()
    return cell_from_json(cell)


def cell_from_json(data: Any) -> Cell:
    """The cell that JSON data or a name describes. Raises ValueError, with what is allowed."""
    cell: Cell = data if isinstance(data, str) else CellArchitecture.from_json(data)  # type: ignore[assignment]
    formula_of(cell)
    return cell
