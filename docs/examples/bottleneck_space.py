"""A search space of your own: a generator function that yields decisions and returns an architecture.

Try it here, in docs/examples, with a task of your own:

    python -m pipeline run --space bottleneck_space:bottleneck --task perceptron_task:train --samples 16
"""

from dataclasses import dataclass

from models.space import Choice, Decisions

WIDTH = Choice("width", (8, 16, 32, 64))
ACTIVATION = Choice("activation", ("relu", "tanh", "gelu"))
ANOTHER = Choice("another layer", (False, True))


@dataclass(frozen=True)
class Perceptron:
    """What the controller designs: any value of yours; a frozen dataclass is shown well in the tables."""

    widths: tuple[int, ...]
    activation: str


def bottleneck(depth: int) -> Decisions:
    """At most `depth` layers, none wider than the one before; how many is decided on the way."""
    activation = yield ACTIVATION
    widths = [(yield WIDTH)]
    while len(widths) < depth and (yield ANOTHER):
        narrower = [width for width in WIDTH.values if width <= widths[-1]]
        widths.append((yield Choice(f"width up to {widths[-1]}", tuple(narrower))))
    return Perceptron(tuple(widths), activation)
