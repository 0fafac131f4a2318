"""Known recurrent cells as a space, to train them as the cells that a search designs are trained (Table 2)."""

from collections.abc import Sequence

from models.space import Choice, Decisions


def baseline_space(depth: int, *, cells: Sequence[str] = ("lstm", "rnn")) -> Decisions:
    """One of `cells`, by the name that `LanguageModel` knows it by. `depth` means nothing here."""
    return (yield Choice("cell", tuple(cells)))
