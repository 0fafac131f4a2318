import json
from dataclasses import replace
from typing import Any

import pytest
from plain_cells import random_cell

from models.cell_architecture import CellArchitecture, Node
from models.presets import nascell

FIGURE_5 = CellArchitecture(
    (Node("add", "tanh"), Node("elem_mult", "relu"), Node("elem_mult", "sigmoid")), Node("add", "relu"), 1, 0
)


@pytest.mark.parametrize("count", [0, 1, 2, 4, 5, 6, 9, 14])
def test_a_number_of_nodes_that_makes_no_full_tree_is_an_error(count: int) -> None:
    with pytest.raises(ValueError, match=f"{count} nodes: allowed are 3, 7, 15"):
        CellArchitecture((Node("add", "tanh"),) * count, Node("add", "tanh"), 0, 0)


@pytest.mark.parametrize(
    ("name", "value", "allowed"),
    [
        *(("cell_index", value, "0 to 2") for value in (3, -1, True, 1.0, "1")),
        *(("previous_cell_index", value, "0 to 1") for value in (2, -1, False, None)),
    ],
)
def test_an_index_outside_the_tree_is_an_error(name: str, value: Any, allowed: str) -> None:
    with pytest.raises(ValueError, match=f"{name} {value!r}: allowed are {allowed}"):
        replace(FIGURE_5, **{name: value})


def test_unknown_functions_are_errors_that_list_the_known() -> None:
    with pytest.raises(ValueError, match="combination 'sub': allowed are add, elem_mult, max"):
        Node("sub", "tanh")
    with pytest.raises(ValueError, match="activation 'selu': allowed are identity, tanh, sigmoid, relu, sin"):
        Node("add", "selu")


def test_inner_nodes_read_pairs_level_by_level() -> None:
    cell = random_cell(0)
    assert cell.base == 8
    assert [cell.children(index) for index in range(8, 15)] == [
        (0, 1), (2, 3), (4, 5), (6, 7), (8, 9), (10, 11), (12, 13),
    ]  # fmt: skip


def test_a_cell_is_described_by_its_equations() -> None:
    assert FIGURE_5.describe().splitlines() == [
        "a0 = tanh(W0·x + U0·h)",
        "a0' = relu(a0 + c)",
        "a1 = relu(W1·x ⊙ U1·h)",
        "a2 = sigmoid(a0' ⊙ a1)",
        "new h = a2",
        "new c = W1·x ⊙ U1·h",
    ]
    wide = replace(FIGURE_5, nodes=(*FIGURE_5.nodes[:2], Node("max", "identity")), cell_index=2)
    assert wide.describe().splitlines()[-3:] == ["a2 = max(a0', a1)", "new h = a2", "new c = max(a0', a1)"]


@pytest.mark.parametrize("seed", range(20))
def test_json_reads_back_as_the_same_cell(seed: int) -> None:
    cell = random_cell(seed, base=2 ** (1 + seed % 4))
    read = CellArchitecture.from_json(json.loads(json.dumps(cell.to_json())))
    assert read == cell and read.canonical_hash() == cell.canonical_hash()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"nodes": "all"}, "nodes 'all': must be a list"),
        ({"nodes": [{"combination": "add"}] * 3}, "node 0: activation missing"),
        ({"inject": {"combination": "add", "activation": "gelu"}}, "inject: activation 'gelu': allowed are"),
        ({"inject": 3}, "inject: 3: must be an object"),
        ({"cell_index": 7}, "cell_index 7: allowed are 0 to 2"),
        ({"root": 1}, "unknown root: allowed are nodes, inject, cell_index, previous_cell_index"),
    ],
)
def test_json_of_no_cell_is_an_error_that_says_where(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        CellArchitecture.from_json({**FIGURE_5.to_json(), **change})


def swapped(cell: CellArchitecture, parent: int) -> CellArchitecture:
    """The same computation with the two subtrees of a node changed over."""
    place = list(range(len(cell.nodes)))
    level = list(cell.children(parent))
    while level:
        half = len(level) // 2
        for left, right in zip(level[:half], level[half:], strict=True):
            place[left], place[right] = right, left
        level = [child for node in level if node >= cell.base for child in cell.children(node)]
    nodes = [cell.nodes[place[index]] for index in range(len(place))]
    return CellArchitecture(tuple(nodes), cell.inject, place[cell.cell_index], place[cell.previous_cell_index])


@pytest.mark.parametrize("seed", range(10))
def test_swapping_the_children_of_a_node_does_not_change_the_hash(seed: int) -> None:
    cell = random_cell(seed)
    for parent in range(8, 15):
        assert swapped(cell, parent).canonical_hash() == cell.canonical_hash()


def test_every_single_change_changes_the_hash() -> None:
    cell = nascell()  # no two of its subtrees are alike
    changes = [cell, replace(cell, inject=Node("add", "sin")), replace(cell, inject=Node("max", "tanh"))]
    changes += [replace(cell, cell_index=index) for index in range(15) if index != cell.cell_index]
    changes += [replace(cell, previous_cell_index=index) for index in range(14) if index != cell.previous_cell_index]
    for index, node in enumerate(cell.nodes):
        for other in (Node(node.combination, "sin"), Node("max", node.activation)):
            changes.append(replace(cell, nodes=(*cell.nodes[:index], other, *cell.nodes[index + 1 :])))
    hashes = [change.canonical_hash() for change in changes]
    assert len(set(hashes)) == len(hashes)
