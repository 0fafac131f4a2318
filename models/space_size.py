"""How many architectures a search space holds."""

import math
from random import Random

from models.space import SearchSpace


def space_size(space: SearchSpace, depth: int, walks: int = 20) -> int | None:
    """The number of token sequences at a depth, or None where later decisions depend on earlier ones.

    Nothing is enumerated: random walks through the space must all meet the same numbers of options, whose product is
    the size. A dependence so rare that no walk meets it goes unnoticed.
    """
    random = Random(0)
    options_met = set()
    for path in space.paths(depth, walks):
        options = []
        while path.decision is not None:
            options.append(path.decision.num_options)
            path.take(random.randrange(options[-1]))
        options_met.add(tuple(options))
    return math.prod(options_met.pop()) if len(options_met) == 1 else None
