"""`wavenas compare`: policies against each other at the same budget."""

from pathlib import Path
from typing import Annotated

import typer

from pipeline.commands.options import (
    ClusterOption,
    ColumnsOption,
    DataOption,
    RewardOption,
    SetOption,
    SiteOption,
    TableOption,
    configured,
)
from pipeline.commands.stages import going_on


def register(app: typer.Typer) -> None:
    app.command()(compare)


def compare(
    folder: Annotated[Path, typer.Argument(help="Folder of the comparison, such as runs/digits-compared.")],
    experiment: Annotated[str, typer.Option(help="What to search for; `wavenas experiments` lists them.")] = "digits",
    policies: Annotated[
        str, typer.Option(help="The first is compared with each other.")
    ] = "controller,random,evolution",
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
) -> None:
    """Search with several policies and seeds, and compare the means of the best networks (Figure 6)."""
    with going_on():
        options = {"data.folder": data, "search.samples": samples}
        configuration = configured(experiment, options, (table, columns, reward), site, cluster, set_)
        from rich.console import Console

        from pipeline.comparison import run_comparison

        names = [name.strip() for name in policies.split(",")]
        run_comparison(folder, configuration, names, seeds, every, Console())
