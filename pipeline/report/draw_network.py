"""Draw a convolutional architecture in the manner of Figure 7: layers in a column, skip connections as arcs."""

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch

from models.conv_architecture import ConvArchitecture
from models.conv_layers import Layer
from pipeline.report.plots import BLUE, BOX, MUTED, ORANGE, PLAIN, new_figure

BOX_WIDTH, BOX_HEIGHT = 3.4, 0.6


def network_figure(architecture: ConvArchitecture) -> Figure:
    """A picture of the network, the image at the bottom, the classifier on top, pooling points as lines."""
    rate = architecture.learning_rate
    labels = ["image", *map(_label, architecture.layers)]
    labels.append("classifier" if rate is None else f"classifier, rate {rate:g}")
    figure = new_figure(4.4, 0.46 * len(labels) + 0.3)
    axes = figure.subplots()
    for level, label in enumerate(labels):
        _box(axes, level, label, plain=0 < level < len(labels) - 1)
    for point in architecture.pool_after:
        _pooling_point(axes, point)
    for source, reader in architecture.connections():
        _arrow(axes, source + 1, reader + 1)  # the image is level 0
    axes.set(xlim=(-4.2, 4.2), ylim=(-0.6, len(labels) - 0.4))
    axes.axis("off")
    return figure


def _label(layer: Layer) -> str:
    return layer.describe().replace(" convolution", "").replace(" normalisation", " norm")


def _pooling_point(axes: Axes, level: int) -> None:
    """Across the picture, above a level."""
    axes.axhline(level + 0.5, color=ORANGE, lw=1.2, ls="--")
    axes.text(-4.15, level + 0.5, "2×2 max", ha="left", va="bottom", fontsize=9.5, color=ORANGE)


def _box(axes: Axes, level: int, label: str, *, plain: bool) -> None:
    corner = (-BOX_WIDTH / 2, level - BOX_HEIGHT / 2)
    colour = BOX if plain else PLAIN
    axes.add_patch(FancyBboxPatch(corner, BOX_WIDTH, BOX_HEIGHT, boxstyle="round,pad=0.02", fc=colour, ec=BLUE, lw=0.8))
    axes.text(0, level, label, ha="center", va="center", fontsize=10)


def _arrow(axes: Axes, source: int, target: int) -> None:
    """Straight to the next level, else an arc on the right for an even span and on the left for an odd one."""
    span = target - source
    if span == 1:
        start, end, bend = (0.0, source + BOX_HEIGHT / 2), (0.0, target - BOX_HEIGHT / 2), 0.0
    else:
        side = 1 if span % 2 == 0 else -1
        start, end = (side * BOX_WIDTH / 2, float(source)), (side * BOX_WIDTH / 2, float(target))
        bend = side * min(0.9, 1.6 / span)
    line = f"arc3,rad={bend}"
    axes.add_patch(
        FancyArrowPatch(start, end, connectionstyle=line, arrowstyle="-|>", mutation_scale=9, color=MUTED, lw=0.9)
    )
