"""Regularised evolution (Real et al., 2019): a second control beside random search.

The population is the youngest individuals. A child is a copy of the best of a random few, with one decision changed.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

from models.space import Anchor, Decision, Path


@dataclass(frozen=True)
class Individual:
    """An architecture by its tokens, and its reward."""

    tokens: tuple[int, ...]
    reward: float


def sample_by_evolution(
    paths: Sequence[Path], population: Sequence[Individual], population_size: int, tournament_size: int, seed: int
) -> None:
    """Complete each path by mutation, or by uniform draws as long as the population is not complete."""
    random = Random(seed)
    for path in paths:
        if len(population) < population_size:
            complete(path, (), math.inf, random)
        else:
            contenders = random.sample(population, min(tournament_size, len(population)))
            parent = max(contenders, key=lambda individual: individual.reward).tokens
            complete(path, parent, random.randrange(len(parent)), random)


def complete(path: Path, parent: Sequence[int], mutated: float, random: Random) -> None:
    """Take the parent's tokens but for one: that at `mutated`, or the next one that has an alternative.

    Tokens are drawn where the parent has none, or one that is not allowed any more.
    """
    while (decision := path.decision) is not None:
        position = len(path.tokens)
        if position >= len(parent) or parent[position] >= decision.num_options:
            path.take(random.randrange(decision.num_options))
        elif position >= mutated and decision.num_options > 1:
            path.take(random.choice(neighbours(decision, parent[position])))
            mutated = math.inf
        else:
            path.take(parent[position])


def neighbours(decision: Decision, token: int) -> list[int]:
    """The tokens next to one: every other value, or the subsets that differ in one layer."""
    if isinstance(decision, Anchor):
        return [token ^ 1 << layer for layer in range(decision.count)]
    return [other for other in range(decision.num_options) if other != token]
