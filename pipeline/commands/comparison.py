"""`wavenas compare`: policies against each other at the same budget; with several runs, these side by side."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pipeline.commands.looking import AsJson, side_by_side
from pipeline.commands.options import (
    ClusterOption,
    ColumnsOption,
    DataOption,
    RewardOption,
    SetOption,
    SiteOption,
    TableOption,
    configured,
    existing,
)
from pipeline.commands.stages import going_on
from pipeline.errors import UserError
from pipeline.exit_codes import exit_codes

if TYPE_CHECKING:
    from pipeline.configuration import Configuration

POLICIES = "controller,random,evolution"


def register(app: typer.Typer) -> None:
    app.command()(compare)


def compare(
    context: typer.Context,
    folders: Annotated[
        list[Path],
        typer.Argument(help="A folder for the comparison; or runs that there are.", metavar="FOLDER | RUN RUN …"),
    ],
    experiment: Annotated[str | None, typer.Option(help="What to search for; digits if not given.")] = None,
    like: Annotated[Path | None, typer.Option(help="Search with this run's settings and data.", metavar="RUN")] = None,
    policies: Annotated[str, typer.Option(help="The first is compared with each other.")] = POLICIES,
    seeds: Annotated[int, typer.Option(help="Searches of each policy.", min=1)] = 5,
    samples: Annotated[int | None, typer.Option(help="Children of each search.")] = None,
    every: Annotated[int | None, typer.Option(help="Children between points; 400, or a twelfth of a search.")] = None,
    cluster: ClusterOption = None,
    site: SiteOption = None,
    data: DataOption = None,
    table: TableOption = None,
    columns: ColumnsOption = None,
    reward: RewardOption = None,
    set_: SetOption = None,
    as_json: AsJson = False,
) -> None:
    """Search with several policies and seeds, and compare the means of the best networks (Figure 6).

    With two runs or more: show them side by side, as `wavenas diff` does.
    """
    if len(folders) > 1:
        with exit_codes():
            if given := _typed(context) - {"--folders", "--json"}:
                raise UserError(f"{_listed(given)}: runs are compared as they are; allowed is --json alone")
            side_by_side(folders, as_json)
        return
    folder = existing(folders[0])
    with going_on(folder):
        if as_json:
            raise UserError("--json: allowed with two runs or more")
        if (folder / "config.json").exists():
            raise UserError(f"{folder} is a run: name another to compare it with, or a folder for a comparison")
        if like is None:
            options, of_table = {"data.folder": data, "search.samples": samples}, (table, columns, reward)
            configuration = configured(experiment or "digits", options, of_table, site, cluster, set_)
        elif given := _typed(context) & {"--experiment", "--data", "--table", "--columns", "--reward"}:
            raise UserError(f"--like and {_listed(given)} do not go together: a run has its own")
        else:
            configuration = _like(like, samples, site, cluster, set_ or [])
        from rich.console import Console

        from pipeline.comparison import run_comparison

        names = [name.strip() for name in policies.split(",")]
        run_comparison(folder, configuration, names, seeds, every, Console())


def _typed(context: typer.Context) -> set[str]:
    """The options that were given."""
    sources = {name: context.get_parameter_source(name) for name in context.params}
    typed = (name for name, source in sources.items() if source is not None and source.name == "COMMANDLINE")
    return {f"--{name.removeprefix('as_').rstrip('_')}" for name in typed}


def _listed(options: set[str]) -> str:
    return ", ".join(sorted(options))


def _like(
    run: Path, samples: int | None, site: Path | None, cluster: str | None, assignments: list[str]
) -> "Configuration":
    """The configuration of a run, on a cluster as given."""
    from pipeline.configuration import override
    from pipeline.foreign_code import find_own_modules
    from pipeline.run_folder import open_run
    from pipeline.site import with_other_cluster
    from pipeline.trust import refuse_foreign_code

    find_own_modules()
    budget = [] if samples is None else [f"search.samples={samples}"]
    paths, settled = open_run(existing(run))
    refuse_foreign_code(paths, settled)
    return override(with_other_cluster(settled, site, cluster, []), [*budget, *assignments])
