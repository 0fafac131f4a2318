"""Search spaces as generator functions (section 3.1: an architecture is a sequence of tokens).

A search space is a generator function. It yields decisions, is sent the values chosen, and returns the
architecture. The same function is driven by the controller, by the random policy and by the worker that
turns tokens back into an architecture, so later decisions may depend on earlier ones and lengths may vary.
"""

import importlib
import inspect
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

MAX_ANCHOR_LAYERS = 62  # a subset of layers is one bit mask in an int64 token


@dataclass(frozen=True)
class Choice:
    """One value out of several, predicted by a softmax; its token is the index of the value."""

    name: str
    values: tuple[Any, ...]

    def __post_init__(self) -> None:
        if not self.name or "." in self.name:
            raise ValueError(f"{self.name!r} names a choice: it may be any text without a dot, but not empty")
        if not self.values:
            raise ValueError(f"choice {self.name!r} has no values")
        try:
            hash(self.values)
        except TypeError as error:
            raise ValueError(f"choice {self.name!r}: {error}; use tuples for lists") from error

    @property
    def num_options(self) -> int:
        return len(self.values)

    def decode(self, token: int) -> Any:
        if not 0 <= token < self.num_options:
            raise ValueError(f"token {token} for {self.name}: allowed are 0 to {self.num_options - 1}")
        return self.values[token]


@dataclass(frozen=True)
class Anchor:
    """An anchor point (section 3.3): a subset of the `count` layers before it, predicted by `count` sigmoids.

    Its token is a bit mask: bit j is set where layer j is an input. An anchor point follows `count` earlier ones.
    """

    count: int
    name: str = "inputs"

    @property
    def num_options(self) -> int:
        return 1 << self.count

    def decode(self, token: int) -> tuple[int, ...]:
        if not 0 <= token < self.num_options:
            raise ValueError(f"token {token} for {self.name}: allowed are 0 to {self.num_options - 1}")
        return tuple(layer for layer in range(self.count) if token >> layer & 1)


Decision = Choice | Anchor
Decisions = Generator[Decision, Any, Any]


class Path:
    """One architecture in the making: the decision its space waits for and the tokens taken so far."""

    def __init__(self, decisions: Decisions) -> None:
        self._decisions = decisions
        self.tokens: list[int] = []
        self.num_anchors = 0
        self.architecture: Any = None
        self.decision: Decision | None = None
        self._advance(None)

    def take(self, token: int) -> None:
        """Answer the current decision. Raises ValueError for a token out of range."""
        assert self.decision is not None, "the architecture is complete"
        value = self.decision.decode(token)
        self.num_anchors += isinstance(self.decision, Anchor)
        self.tokens.append(token)
        self._advance(value)

    def _advance(self, value: Any) -> None:
        try:
            self.decision = self._decisions.send(value)
        except StopIteration as end:
            self.decision, self.architecture = None, end.value
            return
        if isinstance(self.decision, Anchor):
            self._check_anchor(self.decision)

    def _check_anchor(self, anchor: Anchor) -> None:
        if anchor.count != self.num_anchors:
            raise ValueError(f"Anchor({anchor.count}) after {self.num_anchors} anchor points: the counts must agree")
        if anchor.count > MAX_ANCHOR_LAYERS:
            raise ValueError(f"Anchor({anchor.count}): at most {MAX_ANCHOR_LAYERS} earlier layers are supported")


@dataclass(frozen=True)
class SearchSpace:
    """A generator function by name (`module:function`) with its keyword options; called with a depth in layers."""

    function: str
    options: Mapping[str, Any]

    @cached_property
    def _generator_function(self) -> Callable[..., Decisions]:
        function = load_function(self.function)
        if not inspect.isgeneratorfunction(function):  # anything else would be called, whatever it does
            raise ValueError(f"{self.function!r} is not a generator function, which yields decisions")
        return function

    def decisions(self, depth: int) -> Decisions:
        """A run of the generator function. Raises ValueError where the name is that of anything else."""
        return self._generator_function(depth, **self.options)

    def paths(self, depth: int, count: int) -> list[Path]:
        """`count` architectures to be drawn, none of whose decisions has been taken."""
        return [Path(self.decisions(depth)) for _ in range(count)]

    def decode(self, depth: int, tokens: Sequence[int]) -> Any:
        """The architecture that `tokens` spell. Raises ValueError for tokens out of range, too few or too many."""
        path = self.paths(depth, 1)[0]
        for position, token in enumerate(tokens):
            if path.decision is None:
                raise ValueError(f"{len(tokens)} tokens, but the architecture is complete after {position}")
            path.take(token)
        if path.decision is not None:
            raise ValueError(f"{len(tokens)} tokens, but {path.decision.name} is still to be decided")
        return path.architecture

    def check_options(self) -> None:
        """Raise ValueError for options that the generator function does not take, or those it lacks."""
        parameters = list(inspect.signature(self._generator_function).parameters.values())[1:]
        if any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters):
            return
        allowed = [parameter.name for parameter in parameters]
        unknown = sorted(set(self.options) - set(allowed))
        if unknown:
            raise ValueError(f"unknown option {', '.join(unknown)} of {self.function}; allowed: {', '.join(allowed)}")
        needed = [parameter.name for parameter in parameters if parameter.default is parameter.empty]
        if lacking := [name for name in needed if name not in self.options]:
            raise ValueError(f"space.options lack {', '.join(lacking)} of {self.function}")


def load_function(name: str) -> Callable[..., Any]:
    """The function that `package.module:function` names. Raises ValueError where there is none."""
    module_name, _, function_name = name.partition(":")
    if not module_name or not function_name:
        raise ValueError(f"{name!r} is not of the form package.module:function")
    try:
        module = importlib.import_module(module_name)
    except (ModuleNotFoundError, TypeError) as error:
        raise ValueError(f"{name!r}: {error}") from error
    function = getattr(module, function_name, None)
    if function is None:
        raise ValueError(f"{name!r}: module {module_name} has no {function_name!r}")
    if not callable(function):
        raise ValueError(f"{name!r} is not a function but {type(function).__name__}")
    return function  # type: ignore[no-any-return]
