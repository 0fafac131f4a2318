import pytest

from models.cell_formula import Cell
from models.given_cell import cell_from_json
from models.presets import nascell
from models.space import SearchSpace


@pytest.mark.parametrize(("data", "cell"), [("lstm", "lstm"), ("rnn", "rnn"), (nascell().to_json(), nascell())])
def test_a_given_cell_needs_no_decision(data: object, cell: Cell) -> None:
    assert SearchSpace("models.given_cell:given_cell", {"cell": data}).decode(1, ()) == cell
    assert cell_from_json(data) == cell


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ("gru", "cell 'gru': allowed are lstm, rnn"),
        ([1], "must be an object"),
        ({**nascell().to_json(), "cell_index": 99}, "cell_index 99"),
    ],
)
def test_what_is_no_cell_is_refused(data: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        cell_from_json(data)
