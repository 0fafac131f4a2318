"""Search spaces small enough to list all their architectures."""

from models.space import Anchor, Choice, Decisions, SearchSpace


def stack(depth: int) -> Decisions:
    """Up to `depth` operations: sequences of different length."""
    operations: list[str] = []
    while len(operations) < depth and (yield Choice("more", (False, True))):
        operations.append((yield Choice("operation", ("add", "max", "tanh"))))
    return tuple(operations)


def layered(depth: int) -> Decisions:
    """`depth` layers with inputs, some of which have a size: anchor points come at different steps."""
    layers = []
    for n in range(depth):
        kind = yield Choice("kind", ("pool", "conv"))
        size = (yield Choice("size", (1, 3, 5))) if kind == "conv" else None
        inputs = yield Anchor(n)
        layers.append((kind, size, inputs))
    return tuple(layers)


def anchors_alone(depth: int) -> Decisions:
    inputs = []
    for n in range(depth):
        inputs.append((yield Anchor(n)))
    return tuple(inputs)


def disagreeing(depth: int) -> Decisions:
    """The same choice once with two values and once with three."""
    yield Choice("size", (1, 3))
    yield Choice("size", (1, 3, 5))


def skipping_an_anchor(depth: int) -> Decisions:
    yield Anchor(0)
    yield Anchor(2)


STACK = SearchSpace("toy_spaces:stack", {})
LAYERED = SearchSpace("toy_spaces:layered", {})
ANCHORS = SearchSpace("toy_spaces:anchors_alone", {})
CONV = SearchSpace(
    "models.conv_space:conv_space", {"filter_heights": (1, 3), "filter_widths": (3, 5), "num_filters": (2, 4)}
)
TYPED = SearchSpace(
    "models.layer_space:layer_space",
    {
        "filter_heights": (1, 3),
        "filter_widths": (1, 3),
        "num_filters": (2, 4),
        "pool_strides": (1, 2),
        "learning_rates": (0.1, 0.01),
    },
)


def all_tokens(space: SearchSpace, depth: int) -> list[tuple[int, ...]]:
    """Every token sequence of a space."""
    complete: list[tuple[int, ...]] = []
    prefixes: list[tuple[int, ...]] = [()]
    while prefixes:
        prefix = prefixes.pop()
        path = space.paths(depth, 1)[0]
        for token in prefix:
            path.take(token)
        if path.decision is None:
            complete.append(prefix)
        else:
            options = 2**path.decision.count if isinstance(path.decision, Anchor) else len(path.decision.values)
            prefixes += [(*prefix, token) for token in range(options)]
    return complete
