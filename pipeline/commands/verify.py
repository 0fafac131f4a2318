"""`wavenas verify`, `repair` and `trust`: whether a run folder is whole, and may have run what it names."""

import typer

from pipeline.commands.options import RunFolder
from pipeline.exit_codes import exit_codes


def register(app: typer.Typer) -> None:
    app.command()(verify)
    app.command()(repair)
    app.command()(trust)


def verify(folder: RunFolder) -> None:
    """Check every file of a run, or of a comparison's searches, and that tables and checkpoints agree."""
    with exit_codes():
        from pipeline.run_commands import command
        from pipeline.verification import runs_in, verify_run

        damaged = False
        for run in runs_in(folder):
            problems = 0
            for finding in verify_run(run):
                problems += finding.problem is not None
                problem = finding.problem
                typer.echo(f"ok   {finding.what}" if problem is None else f"BAD  {finding.what}: {problem}")
            if problems:
                typer.echo(f"{problems} of these are wrong. `{command('repair', run)}` sets aside what is damaged.")
            else:
                typer.echo("The run is whole." if run == folder else f"{run} is whole.")
            damaged |= problems > 0
        if damaged:
            raise typer.Exit(1)


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
        trust.trust(paths, paths.config)
        typer.echo(f"{folder} may have {' and '.join(names)} run, from now on, for you on this machine.")
