"""Spaces as users get them wrong."""

from models.space import Anchor, Choice, Decisions


def miscounting(depth: int) -> Decisions:
    yield Anchor(2)


def crashing(depth: int) -> Decisions:
    width = yield Choice("width", (0, 0))
    return 1 / width


def unwritable(depth: int) -> Decisions:
    return {(yield Choice("width", (1, 2)))}


def no_generator(depth: int) -> int:
    return depth


def two_sizes(depth: int) -> Decisions:
    first = yield Choice("width", (1, 2))
    second = yield Choice("width", (1, 2, 3))
    return [first, second]
