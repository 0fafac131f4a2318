"""Regularised evolution (Real et al., 2019): a second control beside random search.

The population is the youngest individuals. A child is a copy of the best of a random few, with one decision changed.
"""

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
            _complete(path, (), None, random)
        else:
            contenders = random.sample(population, min(tournament_size, len(population)))
            parent = max(contenders, key=lambda individual: individual.reward)
            _complete(path, parent.tokens, random.randrange(len(parent.tokens)), random)


def _complete(path: Path, parent: Sequence[int], mutated: int | None, random: Random) -> None:
    """Take the parent's tokens but for one; draw where the parent has none, or one that is not allowed any more."""
    while (decision := path.decision) is not None:
        position = len(path.tokens)
        if position == mutated:
            path.take(_another(decision, parent[position], random))
        elif position < len(parent) and parent[position] < _num_options(decision):
            path.take(parent[position])
        else:
            path.take(random.randrange(_num_options(decision)))


def _another(decision: Decision, token: int, random: Random) -> int:
    """A neighbour of a token: another value, or a subset that differs in one layer. The token where there is none."""
    if isinstance(decision, Anchor):
        return token ^ 1 << random.randrange(decision.count) if decision.count else token
    others = [other for other in range(len(decision.values)) if other != token]
    return random.choice(others) if others else token


def _num_options(decision: Decision) -> int:
    return 2**decision.count if isinstance(decision, Anchor) else len(decision.values)
