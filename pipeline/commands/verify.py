"""`wavenas verify`, `repair` and `trust`: whether a run folder is whole, and may have run what it names."""

import typer

from pipeline.commands.options import RunFolder
from pipeline.exit_codes import exit_codes


def register(app: typer.Typer) -> None:
    app.command()(verify)
    app.command()(repair)
    app.command()(trust)


def verify(folder: RunFolder) -> None:
    """Check every file of a run, and that its tables agree with each other and with its checkpoints."""
    with exit_codes():
        from pipeline.verification import verify_run

        problems = 0
        for finding in verify_run(folder):
            problems += finding.problem is not None
            typer.echo(f"ok   {finding.what}" if finding.problem is None else f"BAD  {finding.what}: {finding.problem}")
        if problems:
            from pipeline.run_folder import command

            typer.echo(f"{problems} of these are wrong. `{command('repair', folder)}` sets aside what is damaged.")
            raise typer.Exit(1)
        typer.echo("The run is whole.")


def repair(folder: RunFolder) -> None:
    """Set aside what is damaged in a run, so that it can be resumed; nothing is deleted."""
    with exit_codes():
        from pipeline.repair import repair_run

        for line in repair_run(folder):
            typer.echo(line)


def trust(folder: RunFolder) -> None:
    """Let a run of someone else have its own modules imported, with all that they do; look at them first."""
    with exit_codes():
        from pipeline import trust
        from pipeline.run_folder import open_run

        paths, configuration = open_run(folder)
        if not (names := trust.foreign_code(configuration)):
            typer.echo(f"{folder} names no code that is not of this project: there is nothing to be trusted.")
            return
        trust.trust(paths)
        typer.echo(f"{folder} may have {' and '.join(names)} run, from now on, for you on this machine.")
