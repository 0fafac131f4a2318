"""How every command ends: with a message and an exit code, and never with a traceback for what a user can mend."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import typer

from pipeline.errors import UserError


@contextmanager
def exit_codes() -> Iterator[list[Path]]:
    """Turn errors into messages and exit codes. A folder put into the list is one that can be resumed."""
    resumable: list[Path] = []
    try:
        yield resumable
    except UserError as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(2) from None
    except KeyboardInterrupt:
        from pipeline.run_folder import resume_command

        typer.echo("\nInterrupted.", err=True)
        if resumable and (resumable[0] / "config.json").exists():
            typer.echo(f"Nothing that ended is lost. Go on with: {resume_command(resumable[0])}", err=True)
        raise typer.Exit(130) from None
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise typer.Exit(1) from None
    except Exception as error:  # told in short here, and in whole in the log
        if not resumable or not (resumable[0] / "run.log").exists():
            raise
        from pipeline.run_folder import resume_command

        typer.echo(f"error: the run failed with {type(error).__name__}: {error}", err=True)
        typer.echo(f"The traceback is in {resumable[0]}/run.log. Nothing that ended is lost.", err=True)
        typer.echo(f"Once the cause is mended, go on with: {resume_command(resumable[0])}", err=True)
        raise typer.Exit(1) from None
