"""The network found with one decision changed, decision by decision (section 4.1)."""

import json
import math
from collections.abc import Collection
from dataclasses import dataclass
from random import Random

from models.architecture import architecture_hash
from models.evolution import complete, neighbours
from models.space import Decision, Path, SearchSpace
from pipeline.configuration import Configuration
from pipeline.rows import Row
from tasks.seeds import derive_seed


@dataclass(frozen=True)
class Perturbation:
    """Tokens of which one decision is another: where it stands among those of the network found, and both values."""

    tokens: tuple[int, ...]
    position: int
    decision: str
    before: str  # as JSON
    after: str


def perturbations(configuration: Configuration, best: Row, known: Collection[str] = ()) -> list[Perturbation]:
    """One for each decision that has an alternative, or as many as the settings want, in order of the decisions.

    A decision becomes a neighbour drawn by chance, as in evolution: another value, or a subset that differs in one
    layer. What it brings up anew is drawn uniformly. No two are the same network, and none is the one found or of a
    hash that is known. Those of a smaller number are among those of a larger one.
    """
    settings, wanted = configuration.search, configuration.ablations.perturbations
    space = SearchSpace(configuration.space.function, configuration.space.options)
    positions = list(range(len(best["tokens"])))
    Random(derive_seed(settings.seed, "perturbations")).shuffle(positions)
    seen, changed = {best["architecture_hash"], *known}, list[Perturbation]()
    for position in positions:
        if len(changed) == wanted:
            break
        chance = Random(derive_seed(settings.seed, "perturbations", position))
        changed += _changed_at(space, best, position, chance, seen)
    return sorted(changed, key=lambda perturbation: perturbation.position)


def _changed_at(space: SearchSpace, best: Row, position: int, chance: Random, seen: set[str]) -> list[Perturbation]:
    """The first of a decision's neighbours that makes a network not seen yet; none where there is none."""
    tokens = tuple(best["tokens"])
    _, decision = _walk(space, best["depth"], tokens[:position])
    options = neighbours(decision, tokens[position])
    for token in chance.sample(options, len(options)):
        path, _ = _walk(space, best["depth"], tokens[:position])
        path.take(token)
        complete(path, tokens, math.inf, chance)
        if (name := architecture_hash(path.architecture)) not in seen:
            seen.add(name)
            before, after = (json.dumps(decision.decode(value), default=str) for value in (tokens[position], token))
            return [Perturbation(tuple(path.tokens), position, decision.name, before, after)]
    return []


def _walk(space: SearchSpace, depth: int, tokens: tuple[int, ...]) -> tuple[Path, Decision]:
    """An architecture in the making after some tokens, and the decision that it waits for."""
    path = space.paths(depth, 1)[0]
    for token in tokens:
        path.take(token)
    assert path.decision is not None, "the tokens are the first of an architecture"
    return path, path.decision
