"""Modules that a run names but this project does not have: who may import them, and when."""

import inspect
import sys
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from models.space import load_function
from pipeline.configuration import Configuration
from tasks.settings import SpaceSettings

PACKAGES = ("pipeline", "tasks", "models", "cluster")  # ours


def find_own_modules() -> None:
    """Let modules in the current folder be imported, here and on the workers that are started from here.

    Unless one there would be imported in place of ours.
    """
    if (here := str(Path.cwd())) not in sys.path and not in_place_of_ours():
        sys.path.insert(0, here)


def in_place_of_ours() -> Path | None:
    """What in the current folder has the name of one of our packages and is another, as a user's own `models.py`."""
    here, home = Path.cwd(), Path(__file__).resolve().parents[1]
    if here.resolve() == home:
        return None
    places = (here / f"{name}{ending}" for name in PACKAGES for ending in ("", ".py"))
    return next((place for place in places if place.exists()), None)


def module_of(function: str) -> str:
    """The module or package that `module:function` is looked for in, without what lies in that."""
    return function.partition(":")[0].partition(".")[0]


def without_foreign_code(configuration: Configuration) -> Configuration:
    """A configuration for who only looks at a run: a space that is not ours is never imported, since anyone can name
    any function in a run folder. Its architectures are shown as the tables have them."""
    functions = configuration.space.functions
    if all(name.startswith("models.") for name in functions):
        with suppress(ValueError):
            if all(inspect.isgeneratorfunction(load_function(name)) for name in functions):
                return configuration
    return replace(configuration, space=SpaceSettings(function=""))
