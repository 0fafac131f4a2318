"""A run's configuration: an experiment's settings, changed by what the user sets, checked before anything starts."""

import difflib
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass
from textwrap import shorten
from typing import Any, get_type_hints

from pydantic import TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from cluster.settings import ClusterSettings
from pipeline.errors import UserError
from pipeline.stage_settings import AblationSettings, FinalSettings
from tasks.settings import (
    FRESH,
    ChildSettings,
    ControllerSettings,
    DataSettings,
    EvolutionSettings,
    LanguageSettings,
    RetrySettings,
    SearchSettings,
    SpaceSettings,
)
from tasks.translation_settings import TranslationSettings


@dataclass(frozen=True, kw_only=True, config=FRESH)
class Configuration:
    """Everything that a run is made of."""

    experiment: str
    search: SearchSettings = SearchSettings()
    controller: ControllerSettings = ControllerSettings()
    evolution: EvolutionSettings = EvolutionSettings()
    space: SpaceSettings = SpaceSettings()
    data: DataSettings = DataSettings()
    child: ChildSettings = ChildSettings()
    language: LanguageSettings = LanguageSettings()
    retries: RetrySettings = RetrySettings()
    translation: TranslationSettings = TranslationSettings()
    cluster: ClusterSettings = ClusterSettings()
    final: FinalSettings = FinalSettings()
    ablations: AblationSettings = AblationSettings()

    @property
    def wave_size(self) -> int:
        return self.search.replicas * self.search.children_per_replica


_ADAPTER = TypeAdapter(Configuration)


def to_dict(configuration: Configuration) -> dict[str, Any]:
    """A configuration as JSON data."""
    return _ADAPTER.dump_python(configuration, mode="json")  # type: ignore[no-any-return]


def from_dict(data: Mapping[str, Any], source: str) -> Configuration:
    """The configuration that `data` holds. Raises UserError, naming `source`, the keys and what is allowed."""
    try:
        return _ADAPTER.validate_python(data)
    except ValidationError as error:
        problems = [_explain(problem) for problem in error.errors()]
        raise UserError("\n".join(f"{source}: {problem}" for problem in problems)) from error


def override(configuration: Configuration, assignments: Sequence[str]) -> Configuration:
    """A configuration with `section.key=value` assignments applied; values are TOML, bare words are strings."""
    settings: dict[str, Any] = {}
    for assignment in assignments:
        key, equals, text = assignment.partition("=")
        path = [part.strip() for part in key.split(".")]
        if not equals or not all(path):
            raise UserError(f"--set {assignment}: not of the form section.key=value")
        settings[".".join(path)] = parse_value(text)
    return with_settings(configuration, settings, "--set")


def with_settings(configuration: Configuration, settings: Mapping[str, Any], source: str) -> Configuration:
    """A configuration with values by `section.key`. Raises UserError, naming `source`, the key and what is allowed."""
    data = to_dict(configuration)
    for key, value in settings.items():
        *sections, name = key.split(".")
        target = data
        for part in sections:
            target = target.setdefault(part, {})
            if not isinstance(target, dict):
                raise UserError(f"{source} {key}: {part} is a value, not a section")
        target[name] = value
    return from_dict(data, source)


def setting_differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """The settings, as JSON data, in which two configurations differ, in words."""
    old, new = flat(before), flat(now)
    names = [name for name in sorted(old.keys() | new.keys()) if old.get(name) != new.get(name)]
    return [f"{name} was {_short(old.get(name))} and would be {_short(new.get(name))}" for name in names]


def flat(settings: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Settings by `section.key`."""
    found: dict[str, Any] = {}
    for name, value in settings.items():
        found |= flat(value, f"{prefix}{name}.") if isinstance(value, dict) else {prefix + name: value}
    return found


def _short(value: Any) -> str:
    return shorten(repr(value), 60)


def parse_value(text: str) -> Any:
    """A TOML value; what is not one is taken as a string, and `none` as unset."""
    if text.strip().lower() == "none":
        return None
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except (tomllib.TOMLDecodeError, KeyError):
        return text


def _explain(problem: Mapping[str, Any]) -> str:
    path = [str(part) for part in problem["loc"]]
    name = ".".join(path)
    if problem["type"] == "unexpected_keyword_argument":
        allowed = _allowed_keys(path[:-1])
        close = difflib.get_close_matches(path[-1], allowed, n=1)
        hint = f" (did you mean {'.'.join([*path[:-1], close[0]])}?)" if close else ""
        return f"unknown key {name}{hint}; allowed: {', '.join(allowed)}"
    return f"{name} = {problem['input']!r}: {problem['msg'][0].lower()}{problem['msg'][1:]}"


def _allowed_keys(path: Sequence[str]) -> list[str]:
    section: Any = Configuration
    for part in path:
        section = get_type_hints(section).get(part)
    return [field.name for field in fields(section)] if is_dataclass(section) else []
