"""A run's folder: its configuration, and the lock that lets it have one driver at a time."""

import json
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from pipeline.configuration import Configuration, from_dict, setting_differences, to_dict
from pipeline.errors import DamagedError, DiskError, UserError
from pipeline.provenance import made_with
from pipeline.run_commands import command, resume_command
from pipeline.run_paths import RunPaths
from pipeline.seals import read_json, write_json
from pipeline.trust import foreign_code, trust

FORMAT = 4


def create_run(folder: Path, configuration: Configuration, data_path: Path | None = None) -> RunPaths:
    """Make a run folder; `data_path` has its prepared data. Raises UserError where there is a run already."""
    paths = RunPaths(folder)
    _refuse_another(paths, configuration)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        content = {"format": FORMAT, "configuration": to_dict(configuration), **made_with(configuration, data_path)}
        with driver_lock(paths):  # of those that start at once one makes the run
            _refuse_another(paths, configuration)
            write_json(paths.config_copy, content)
            if foreign_code(configuration):
                with suppress(
                    DiskError, RuntimeError
                ):  # without a home of its own, a resumption asks for `wavenas trust`
                    trust(paths, paths.config_copy)
            write_json(paths.config, content)
    except OSError as error:
        raise UserError(f"{folder}: cannot be written to: {error.strerror}") from error
    except DiskError as error:
        raise UserError(str(error)) from error
    return paths


def _refuse_another(paths: RunPaths, configuration: Configuration) -> None:
    """Raise UserError where there is a run, with what its settings are otherwise."""
    if not paths.config.exists():
        return
    other = setting_differences(read_json(paths.config).get("configuration", {}), to_dict(configuration))
    told = f", whose settings are others: {'; '.join(other)}" if other else ""
    raise UserError(
        f"{paths.folder} already holds a run{told}; go on with it by `{resume_command(paths.folder)}`,"
        " or choose another with --run"
    )


def open_run(folder: Path) -> tuple[RunPaths, Configuration]:
    """A run folder and its configuration. Raises UserError where there is none or it cannot be read."""
    paths = RunPaths(folder)
    if not paths.config.is_file():
        raise UserError(f"{folder}: no run there (looked for {paths.config})")
    content = _read_config(paths.config)
    if content.get("format") != FORMAT:
        raise UserError(f"{paths.config}: format {content.get('format')!r}, where this version reads {FORMAT}")
    return paths, from_dict(content.get("configuration", {}), str(paths.config))


def _read_config(path: Path) -> dict[str, Any]:
    """The content of a config.json. One without a checksum was written by an earlier version."""
    try:
        return read_json(path)
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from error
    except DamagedError as error:
        try:
            content = json.loads(path.read_bytes())
        except (ValueError, RecursionError):
            content = {}
        if isinstance(content, dict) and "sha256" not in content and content.get("format", FORMAT) != FORMAT:
            return content
        repair = command("repair", path.parent)
        raise DamagedError(
            f"{error}{_changed_by_hand(path, content)}; `{repair}` puts its copy in its place"
        ) from error


def _changed_by_hand(path: Path, content: Any) -> str:
    """What a config.json says otherwise than its copy, where both can be read."""
    try:
        other = setting_differences(
            read_json(RunPaths(path.parent).config_copy)["configuration"], content["configuration"]
        )
    except (OSError, DamagedError, KeyError, TypeError, AttributeError):
        return ""
    return f" (beside its copy: {'; '.join(other)})" if other else ""


@contextmanager
def driver_lock(paths: RunPaths) -> Iterator[None]:
    """Hold a run folder, against drivers on this machine and on others that share its disk.

    Raises UserError, naming the other driver, where one holds it already, and where the disk has no locks.
    """
    lock = FileLock(paths.lock, timeout=2)  # who looks whether there is a driver holds it for a moment
    try:
        lock.acquire()
        paths.owner.write_text(f"process {os.getpid()} on {socket.gethostname()}\n")
    except Timeout:
        raise UserError(f"{paths.folder}: another driver is at work on this run ({owner_of(paths)})") from None
    except (OSError, NotImplementedError) as error:
        lock.release()
        reason = error.strerror if isinstance(error, OSError) else error
        raise UserError(f"{paths.folder}: cannot be locked, so that it has one driver alone: {reason}") from error
    try:
        yield
    finally:
        with suppress(OSError):  # a name that is left behind locks nothing
            paths.owner.unlink(missing_ok=True)
        lock.release()


def owner_of(paths: RunPaths) -> str:
    """The driver that holds a run folder, or held it until it was killed: `process 1234 on host`."""
    try:
        return paths.owner.read_text().strip()
    except OSError:
        return "unknown"


def is_running(paths: RunPaths) -> bool:
    """Whether a driver holds this run folder."""
    if not paths.lock.exists():
        return False
    lock = FileLock(paths.lock, timeout=0)
    try:
        with lock:
            return False
    except Timeout:
        return True
    except (OSError, NotImplementedError):  # a folder of someone else's, to be read alone
        return _is_locked(paths.lock)


def _is_locked(path: Path) -> bool:
    """Whether somebody holds a lock, as far as can be told by who may only read it."""
    import fcntl  # as FileLock does, where there is such

    try:
        with path.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False


def free_folder(parent: Path, experiment: str) -> Path:
    """The first of EXPERIMENT-1, EXPERIMENT-2, … that does not exist yet."""
    number = 1
    while (parent / f"{experiment}-{number}").exists():
        number += 1
    return parent / f"{experiment}-{number}"
