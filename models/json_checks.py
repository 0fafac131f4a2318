"""Checks of the JSON data that architectures are read from."""

from collections.abc import Mapping, Sequence
from typing import Any


def check_keys(data: Any, allowed: Sequence[str] | None, needed: Sequence[str]) -> None:
    """Raise ValueError where data is no JSON object, or one with other keys than those."""
    if not isinstance(data, Mapping):
        raise ValueError(f"{data!r}: must be an object")
    unknown = [] if allowed is None else sorted(map(str, set(data) - set(allowed)))
    if unknown:
        raise ValueError(f"unknown {', '.join(unknown)}: allowed are {', '.join(allowed or ())}")
    missing = [name for name in needed if name not in data]
    if missing:
        raise ValueError(f"{', '.join(missing)} missing")


def as_tuple(name: str, data: Any) -> tuple[Any, ...]:
    """A JSON array as a tuple. Raises ValueError for anything else."""
    if not isinstance(data, list | tuple):
        raise ValueError(f"{name} {data!r}: must be a list")
    return tuple(data)


def is_whole(value: Any) -> bool:
    """Whether a value is a whole number, which True is not."""
    return isinstance(value, int) and not isinstance(value, bool)
