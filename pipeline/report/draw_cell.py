"""Draw a recurrent cell in the manner of Figure 8: its tree with the operations, and where the cell state joins it."""

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from models.cell_architecture import CellArchitecture, Node
from pipeline.report.plots import BLUE, BOX, GREEN, INK, MUTED, ORANGE, PLAIN, new_figure

HALF = 0.22  # of a node's height
SIGNS = {"add": "+", "elem_mult": "×", "max": "max"}


def cell_figure(cell: CellArchitecture) -> Figure:
    """A picture of the cell, x and h at the bottom, the new h on top; c enters in orange and leaves in green."""
    places = node_places(cell)
    width, height = 1.02 * cell.base + 0.6, 1.25 * (max(y for _, y in places) + 1) + 0.9
    figure = new_figure(max(4.2, width), height)
    axes = figure.subplots()
    for index, (x, y) in enumerate(places):
        inputs = [places[child] for child in cell.children(index)] if index >= cell.base else []
        for left, below in inputs:
            _line(axes, (left, below + HALF), (x, y - HALF))
        if not inputs:
            _read(axes, x)
        _node(axes, (x, y), cell.nodes[index], edge=GREEN if index == cell.cell_index else BLUE)
    _inject(axes, places[cell.previous_cell_index], places[_parent(cell, cell.previous_cell_index)], cell.inject)
    (x, y), side = places[cell.cell_index], -1 if cell.cell_index % 2 == 0 else 1  # away from the line to its parent
    axes.text(x + 0.1 * side, y + 0.32, "new c", ha="left" if side > 0 else "right", va="center", color=GREEN)
    x, y = places[-1]
    _line(axes, (x, y + HALF), (x, y + 0.62))
    axes.text(x, y + 0.66, "new h", ha="center", va="bottom", fontsize=10)
    axes.set(xlim=(-0.75, cell.base - 0.25), ylim=(-0.95, y + 0.95))
    axes.axis("off")
    return figure


def node_places(cell: CellArchitecture) -> list[tuple[float, float]]:
    """(x, level) of each node: leaves side by side, each other one above the middle of the two that it reads."""
    places: list[tuple[float, float]] = []
    for index in range(len(cell.nodes)):
        if index < cell.base:
            places.append((float(index), 0.0))
        else:
            (left, level), (right, _) = (places[child] for child in cell.children(index))
            places.append(((left + right) / 2, level + 1))
    return places


def _parent(cell: CellArchitecture, index: int) -> int:
    """The node that reads another one, which is not the root."""
    return cell.base + index // 2


def _node(axes: Axes, place: tuple[float, float], node: Node, edge: str) -> None:
    box = {"boxstyle": "round,pad=0.35", "fc": BOX, "ec": edge, "lw": 2 if edge == GREEN else 0.9}
    text = f"{SIGNS[node.combination]}\n{node.activation}"
    axes.text(*place, text, ha="center", va="center", fontsize=8.5, linespacing=1.1, color=INK, bbox=box)


def _read(axes: Axes, x: float) -> None:
    for side, name in ((-0.2, "x"), (0.2, "h")):
        _line(axes, (x + side, -0.6), (x + side / 2, -HALF))
        axes.text(x + side, -0.64, name, ha="center", va="top", fontsize=9)


def _inject(axes: Axes, place: tuple[float, float], parent: tuple[float, float], inject: Node) -> None:
    """c joins the output of a node, on its way to the parent."""
    x, y = (here + 0.4 * (there - here) for here, there in zip(place, parent, strict=True))
    box = {"boxstyle": "round,pad=0.25", "fc": PLAIN, "ec": ORANGE, "lw": 1.4}
    text = f"c {SIGNS[inject.combination]}, {inject.activation}"
    axes.text(x, y, text, ha="center", va="center", fontsize=8, color=INK, bbox=box, zorder=4)


def _line(axes: Axes, start: tuple[float, float], end: tuple[float, float]) -> None:
    axes.plot(*zip(start, end, strict=True), color=MUTED, lw=1, zorder=0)
