"""The space of a table of networks: a decision a column."""

from collections.abc import Mapping, Sequence
from typing import Any

from models.space import Choice, Decisions


def table_space(depth: int, *, columns: Mapping[str, Sequence[Any]]) -> Decisions:
    """Choose a value of each column in turn; the architecture is a dictionary. `depth` means nothing here."""
    row = {}
    for name, values in columns.items():
        row[name] = yield Choice(name, tuple(values))
    return row
