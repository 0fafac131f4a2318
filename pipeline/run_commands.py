"""The commands that a user is told to type next. Light: interruptions strike before all is imported."""

import os
import shlex
import sys
from pathlib import Path


def command(name: str, folder: Path) -> str:
    """The exact command that does something with a run, as it can be typed here."""
    if "MAKELEVEL" in os.environ and folder.parent == Path("runs"):
        return f"make {name} RUN={shlex.quote(folder.name)}"
    return shlex.join([sys.executable, "-m", "pipeline", name, str(folder)])


def resume_command(folder: Path) -> str:
    """The exact command that resumes a run, as it can be typed here."""
    return command("resume", folder)
