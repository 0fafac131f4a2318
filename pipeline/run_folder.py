"""A run's folder: its configuration, and the lock that lets it have one driver at a time."""

import json
import os
import shlex
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from pipeline.configuration import Configuration, from_dict, to_dict
from pipeline.errors import UserError
from pipeline.files import write_atomically
from pipeline.run_paths import RunPaths
from tasks.packages import package_versions

FORMAT = 2


def create_run(folder: Path, configuration: Configuration) -> RunPaths:
    """Make a run folder. Raises UserError where there is a run already."""
    paths = RunPaths(folder)
    if paths.config.exists():
        raise UserError(
            f"{folder} already holds a run; go on with it by `{resume_command(folder)}`, or choose another with --run"
        )
    try:
        folder.mkdir(parents=True, exist_ok=True)
        content = {"format": FORMAT, "configuration": to_dict(configuration), "packages": package_versions()}
        write_atomically(paths.config, json.dumps(content, indent=2).encode() + b"\n")
    except OSError as error:
        raise UserError(f"{folder}: cannot be written to: {error.strerror}") from error
    return paths


def open_run(folder: Path) -> tuple[RunPaths, Configuration]:
    """A run folder and its configuration. Raises UserError where there is none or it cannot be read."""
    paths = RunPaths(folder)
    if not paths.config.is_file():
        raise UserError(f"{folder}: no run there (looked for {paths.config})")
    try:
        content = json.loads(paths.config.read_text())
        if content["format"] != FORMAT:
            raise ValueError(f"format {content['format']!r}, where this version reads {FORMAT}")
        configuration = content["configuration"]
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f"{paths.config}: not a run's configuration, or damaged ({error})") from error
    return paths, from_dict(configuration, str(paths.config))


def resume_command(folder: Path) -> str:
    """The exact command that resumes a run, as it can be typed here."""
    if "MAKELEVEL" in os.environ and folder.parent == Path("runs"):
        return f"make resume RUN={shlex.quote(folder.name)}"
    return shlex.join([sys.executable, "-m", "pipeline", "resume", str(folder)])


@contextmanager
def driver_lock(paths: RunPaths) -> Iterator[None]:
    """Hold a run folder. Raises UserError, naming the other driver, where one holds it already."""
    lock = FileLock(paths.lock, timeout=0)
    owner = paths.lock.with_suffix(".owner")
    try:
        lock.acquire()
    except Timeout:
        who = owner.read_text().strip() if owner.exists() else "unknown"
        raise UserError(f"{paths.folder}: another driver is at work on this run ({who})") from None
    try:
        owner.write_text(f"process {os.getpid()} on {socket.gethostname()}\n")
        yield
    finally:
        owner.unlink(missing_ok=True)
        lock.release()


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


def free_folder(parent: Path, experiment: str) -> Path:
    """The first of EXPERIMENT-1, EXPERIMENT-2, … that does not exist yet."""
    number = 1
    while (parent / f"{experiment}-{number}").exists():
        number += 1
    return parent / f"{experiment}-{number}"
