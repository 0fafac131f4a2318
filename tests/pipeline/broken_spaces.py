"""Spaces as users get them wrong."""

from dataclasses import dataclass

from models.space import Anchor, Choice, Decisions
from tasks.records import Trial


def miscounting(depth: int) -> Decisions:
    yield Anchor(2)


def crashing(depth: int) -> Decisions:
    width = yield Choice("width", (0, 0))
    return 1 / width


def unwritable(depth: int) -> Decisions:
    return {(yield Choice("width", (1, 2)))}


class Unwritable:
    """It tells its hash, and not what it is."""

    def canonical_hash(self) -> str:
        return "0"


def hashed(depth: int) -> Decisions:
    yield Choice("width", (1, 2))
    return Unwritable()


@dataclass(frozen=True, slots=True)
class Slotted:
    width: int


def slotted(depth: int) -> Decisions:
    """Nothing is wrong with it."""
    return Slotted((yield Choice("width", (1, 2, 3))))


def negative(architecture: Slotted, trial: Trial) -> float:
    return -architecture.width / 10


def no_generator(depth: int) -> int:
    return depth


def two_sizes(depth: int) -> Decisions:
    first = yield Choice("width", (1, 2))
    second = yield Choice("width", (1, 2, 3))
    return [first, second]
