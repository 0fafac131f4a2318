"""How large a model must be to have a given number of parameters."""

from collections.abc import Callable


def units_nearest(parameters: int, count: Callable[[int], int]) -> int:
    """The hidden units for which `count`, which grows with them, comes nearest to a number of parameters.

    Raises ValueError where a single unit already has more.
    """
    if count(1) > parameters:
        raise ValueError(f"{parameters:,} parameters: a model of one hidden unit has {count(1):,} already")
    units = 1
    while count(2 * units) <= parameters:
        units *= 2
    step = units
    while step := step // 2:  # count(units) <= parameters throughout
        units += step * (count(units + step) <= parameters)
    return min(units, units + 1, key=lambda near: abs(count(near) - parameters))
