"""The command line of `wavenas`: searches here, what comes after them in modules of their own.

Exit codes: 0 done; 1 the run failed; 2 something given was wrong; 130 interrupted. Torch and Dask are imported by the
commands that need them, so that help is quick.
"""

import json
from pathlib import Path
from typing import Annotated

import typer

from pipeline.commands import comparison, export, looking, stages, tail, transfer, verify
from pipeline.commands.options import (
    ClusterOption,
    ColumnsOption,
    DataOption,
    RewardOption,
    RunFolder,
    SamplesOption,
    SetOption,
    SiteOption,
    SpaceOption,
    TableOption,
    TaskOption,
    configured,
)
from pipeline.exit_codes import exit_codes

app = typer.Typer(
    help="Neural architecture search with reinforcement learning, as a Dask pipeline.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
stages.register(app)
comparison.register(app)
transfer.register(app)
looking.register(app)
tail.register(app)
export.register(app)
verify.register(app)


@app.command()
def run(
    experiment: Annotated[str, typer.Option(help="What to search for; `wavenas experiments` lists them.")] = "digits",
    run: Annotated[
        Path | None,
        typer.Option(help="Folder of the new run; runs/EXPERIMENT-NUMBER if not given.", metavar="DIR"),
    ] = None,
    cluster: ClusterOption = None,
    site: SiteOption = None,
    data: DataOption = None,
    policy: Annotated[str | None, typer.Option(help="controller, random or evolution.")] = None,
    samples: SamplesOption = None,
    seed: Annotated[int | None, typer.Option(help="Seed of the run.")] = None,
    space: SpaceOption = None,
    task: TaskOption = None,
    table: TableOption = None,
    columns: ColumnsOption = None,
    reward: RewardOption = None,
    set_: SetOption = None,
) -> None:
    """Start a search."""
    options = {
        "data.folder": data, "search.policy": policy, "search.samples": samples,
        "search.seed": seed, "space.function": space, "child.task": task,
    }  # fmt: skip
    with exit_codes() as interrupted:
        configuration = configured(experiment, options, (table, columns, reward), site, cluster, set_)
        from pipeline.driver import start_run
        from pipeline.run_folder import free_folder

        folder = run or free_folder(Path("runs"), experiment)
        interrupted.append(folder)
        start_run(folder, configuration, _console(f"Experiment {experiment}; everything goes to {folder}"))
        _what_next(folder)


@app.command()
def resume(
    folder: RunFolder,
    cluster: ClusterOption = None,
    site: SiteOption = None,
    set_: SetOption = None,
    accept_changes: Annotated[
        bool, typer.Option("--accept-changes", help="Go on though code or packages are others now; it is recorded.")
    ] = False,
) -> None:
    """Go on with an interrupted run, on the cluster it was on or on another."""
    with exit_codes() as interrupted:
        from pipeline.run_folder import open_run
        from pipeline.site import with_other_cluster

        configuration = with_other_cluster(open_run(folder)[1], site, cluster, set_ or [])
        from pipeline.driver import resume_run

        interrupted.append(folder)
        resume_run(folder, configuration, _console(f"Going on with {folder}"), accept_changes)
        _what_next(folder)


@app.command()
def doctor(
    experiment: Annotated[str, typer.Option(help="What is to be searched for.")] = "digits",
    cluster: ClusterOption = None,
    site: SiteOption = None,
    data: DataOption = None,
    samples: SamplesOption = None,
    space: SpaceOption = None,
    task: TaskOption = None,
    table: TableOption = None,
    columns: ColumnsOption = None,
    reward: RewardOption = None,
    set_: SetOption = None,
) -> None:
    """Look a cluster over before a run: what its workers see, how long a child takes, what the run will cost."""
    with exit_codes():
        from pipeline.doctor import examine

        options = {
            "data.folder": data, "search.samples": samples, "space.function": space, "child.task": task,
        }  # fmt: skip
        configuration = configured(experiment, options, (table, columns, reward), site, cluster, set_)
        if not examine(configuration, Path("runs"), _console(f"Experiment {experiment}")):
            raise typer.Exit(1)


@app.command()
def report(folder: RunFolder) -> None:
    """Make a run's report again from its tables."""
    with exit_codes():
        from pipeline.report import remake_report
        from pipeline.run_folder import open_run

        paths, _ = open_run(folder)  # says so where there is no run
        page, *files = remake_report(paths)
        typer.echo(f"{page}\nand its {len(files)} figures, tables of numbers and texts beside it")


@app.command()
def experiments(
    name: Annotated[str | None, typer.Argument(help="Show one experiment's configuration.")] = None,
) -> None:
    """List the experiments, or show the settings of one."""
    from pipeline.configuration import to_dict
    from pipeline.experiments import EXPERIMENTS, experiment_named

    with exit_codes():
        if name is not None:
            typer.echo(json.dumps(to_dict(experiment_named(name)), indent=2))
            return
        for known, function in EXPERIMENTS.items():
            typer.echo(f"{known:22} {(function.__doc__ or '').strip()}")


def _console(first_line: str):  # type: ignore[no-untyped-def]
    from rich.console import Console

    from pipeline.console import say

    console = Console()
    say(console, first_line)
    return console


def _what_next(folder: Path) -> None:
    typer.echo(f"Report: {folder}/report/report.html, for any browser; tables: {folder}/results, samples, … (Parquet)")
    typer.echo("Read them with pandas:")
    typer.echo(f"  import pandas as pd; pd.read_parquet('{folder}/results').sort_values('reward').tail()")
