"""Whose code a run folder may have this program import.

Who made a run folder has chosen what its config.json names, and any function could be. So modules that are not of this
project are imported for runs alone that were started by this user, or that this user has trusted since. Which those are
is no part of the run folder: it is kept, by the digests of their config.json, in the user's own folder of states.
"""

import hashlib
import os
from contextlib import suppress
from pathlib import Path

from models.space import load_function
from pipeline.configuration import Configuration
from pipeline.errors import UserError
from pipeline.files import write_atomically, writing
from pipeline.foreign_code import find_own_modules, module_of, without_foreign_code
from pipeline.provenance import check_changes
from pipeline.run_commands import command
from pipeline.run_paths import RunPaths

OURS = ("models", "tasks")


def foreign_code(configuration: Configuration) -> list[str]:
    """The functions that a run names and that are not of this project."""
    names = (*configuration.space.functions, configuration.child.task)
    return [name for name in names if module_of(name) not in OURS]


def trust(paths: RunPaths, config: Path) -> None:
    """Let a run with the content of a config.json import what that names. Raises DiskError."""
    mark = _mark(config)
    with writing(mark):
        mark.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(mark, f"{paths.folder.resolve()}\n".encode())


def refuse_foreign_code(paths: RunPaths, configuration: Configuration) -> None:
    """Raise UserError, before anything is imported, where a run of someone else names code of someone else."""
    names = foreign_code(configuration)
    if names and not _mark(paths.config).exists():
        raise UserError(
            f"{paths.config}: names code that is not of this project ({', '.join(names)}), in a run that was not"
            f" started by you on this machine. If you know that code, `{command('trust', paths.folder)}` lets it be run"
        )


def with_trusted_code(paths: RunPaths, configuration: Configuration) -> Configuration:
    """A configuration for a report: the space is imported where it is ours, or trusted and as it was for the run.

    Else, and where it cannot be imported here, architectures are shown as the tables have them.
    """
    if foreign_code(configuration) and _mark(paths.config).exists():
        find_own_modules()
        with suppress(Exception):  # a user's module may raise anything, or not be there
            check_changes(paths, accept=False)
            for name in configuration.space.functions:
                load_function(name)
            return configuration
    return without_foreign_code(configuration)


def _mark(config: Path) -> Path:
    states = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    return Path(states) / "wavenas" / "trusted" / hashlib.sha256(config.read_bytes()).hexdigest()
