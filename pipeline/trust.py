"""Whose code a run folder may have this program import.

Who made a run folder has chosen what its config.json names, and any function could be. So modules that are not of this
project are imported for runs alone that were started by this user, or that this user has trusted since. Which those are
is no part of the run folder: it is kept, by the digests of their config.json, in the user's own folder of states.
"""

import hashlib
import os
from pathlib import Path

from pipeline.configuration import Configuration
from pipeline.errors import UserError
from pipeline.files import write_atomically, writing
from pipeline.run_commands import command
from pipeline.run_paths import RunPaths

OURS = ("models", "tasks")


def foreign_code(configuration: Configuration) -> list[str]:
    """The functions that a run names and that are not of this project."""
    names = (*configuration.space.functions, configuration.child.task)
    return [name for name in names if name.partition(":")[0].partition(".")[0] not in OURS]


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


def _mark(config: Path) -> Path:
    states = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    return Path(states) / "wavenas" / "trusted" / hashlib.sha256(config.read_bytes()).hexdigest()
