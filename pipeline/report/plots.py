"""Figures as files and as parts of a page: their colours, and how they are saved."""

import csv
import io
import re
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from pipeline.files import write_atomically

# Colours that people with any kind of colour vision tell apart (Okabe and Ito); those of the page turn in the dark.
BLUE, ORANGE, GREEN, PURPLE, GREY = "#0072b2", "#d55e00", "#009e73", "#cc79a7", "#7f7f7f"
INK, MUTED, BOX, PLAIN, PAPER = "#1f2328", "#59636e", "#dcebf5", "#eceff2", "#fffffe"
ON_PAGE = {INK: "var(--ink)", MUTED: "var(--muted)", BOX: "var(--box)", PLAIN: "var(--plain)", PAPER: "var(--paper)"}
HEAT = "cividis"
MANY_POINTS = 2_000  # more of them are pixels, in the SVG too
STYLE: dict[Any, Any] = {
    "svg.fonttype": "none", "font.family": "sans-serif", "font.size": 10, "axes.titlesize": 11,
    "axes.titleweight": "bold", "axes.titlelocation": "left", "axes.edgecolor": MUTED, "axes.labelcolor": INK,
    "text.color": INK, "axes.titlecolor": INK, "xtick.color": MUTED, "ytick.color": MUTED, "xtick.labelcolor": INK,
    "ytick.labelcolor": INK, "axes.spines.top": False, "axes.spines.right": False, "axes.facecolor": "none",
    "legend.frameon": False, "legend.fontsize": 9,
}  # fmt: skip


@dataclass(frozen=True)
class Plot:
    """A figure, what it shows in words, and the numbers that it is made of: column names, then rows."""

    name: str
    title: str
    caption: str
    figure: Figure
    numbers: Sequence[Sequence[Any]]


@dataclass(frozen=True)
class SavedPlot:
    """A figure that has been written, with the SVG that goes into the page."""

    plot: Plot
    svg: str
    files: tuple[Path, ...]


def new_figure(width: float = 8.2, height: float = 3.4) -> Figure:
    """An empty figure, in inches; to be drawn within `matplotlib.rc_context(STYLE)`."""
    return Figure(figsize=(width, height), layout="constrained")


def save(plot: Plot, folder: Path) -> SavedPlot:
    """Write NAME.svg, NAME.png and NAME.csv."""
    kinds = {"svg": io.BytesIO(), "png": io.BytesIO()}
    with matplotlib.rc_context({"svg.hashsalt": plot.name, **STYLE}):
        plot.figure.savefig(kinds["png"], format="png", dpi=130, facecolor="white")
        plot.figure.set_layout_engine("none")  # where things are is settled
        plot.figure.savefig(kinds["svg"], format="svg", metadata={"Date": None}, facecolor="none", dpi=130)
    numbers = io.StringIO()
    csv.writer(numbers, lineterminator="\n").writerows(plot.numbers)
    contents = {kind: stream.getvalue() for kind, stream in kinds.items()} | {"csv": numbers.getvalue().encode()}
    files = []
    for kind, content in contents.items():
        files.append(folder / f"{plot.name}.{kind}")
        write_atomically(files[-1], content)
    return SavedPlot(plot, inline_svg(contents["svg"].decode(), plot), tuple(files))


def inline_svg(svg: str, plot: Plot) -> str:
    """An SVG for the inside of a page: without a head of its own, its names unlike those of others, in its colours."""
    svg = svg[svg.index("<svg") :]
    for before in ('id="', 'href="#', "url(#"):
        svg = svg.replace(before, f"{before}{plot.name}-")
    for colour, variable in ON_PAGE.items():
        svg = svg.replace(colour, variable)
    title = f'<svg role="img" aria-label="{escape(plot.title)}"'
    return re.sub(r'<svg( [^>]*?)? width="([\d.]+)pt"', lambda m: f'{title}{m[1] or ""} width="{m[2]}pt"', svg, count=1)


def legend(axes: Axes, **options: Any) -> None:
    """A legend where something has a label."""
    if axes.get_legend_handles_labels()[1]:
        axes.legend(**options)
