"""How every command ends: a message and an exit code, and no traceback for what a user can mend.

1 the run failed, 2 something given was wrong, 130 interrupted.
"""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import typer

from pipeline.errors import DiskError, UserError
from pipeline.interruption import leave
from pipeline.run_commands import resume_command


@contextmanager
def exit_codes() -> Iterator[list[Path]]:
    """Turn errors into messages and exit codes. A folder put into the list is one that can be resumed."""
    resumable: list[Path] = []
    try:
        yield resumable
    except UserError as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(2) from None
    except DiskError as error:
        typer.echo(f"error: {error}", err=True)
        if _has_begun(resumable):
            typer.echo("Nothing that ended is lost.", err=True)
        _go_on(resumable, "Make room there, or let it be written to, and go on with")
        raise typer.Exit(1) from None
    except KeyboardInterrupt:
        typer.echo("\nInterrupted.", err=True)
        _go_on(resumable, "Nothing that ended is lost. Go on with")
        leave()
        raise typer.Exit(130) from None
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise typer.Exit(1) from None
    except Exception as error:  # told in short here, and in whole in the log
        if not resumable or not (resumable[0] / "run.log").exists():
            raise
        typer.echo(f"error: the run failed with {type(error).__name__}: {error}", err=True)
        typer.echo(f"The traceback is in {resumable[0]}/run.log. Nothing that ended is lost.", err=True)
        _go_on(resumable, "Once the cause is mended, go on with")
        raise typer.Exit(1) from None


def _has_begun(resumable: list[Path]) -> bool:
    return bool(resumable) and (resumable[0] / "config.json").exists()


def _go_on(resumable: list[Path], how: str) -> None:
    if _has_begun(resumable):
        typer.echo(f"{how}: {resume_command(resumable[0])}", err=True)
