"""Options that several commands have, and the configuration that they make."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from pipeline.configuration import Configuration


def existing(folder: Path) -> Path:
    """The folder of a run: as given, or a name in runs/."""
    return Path("runs") / folder if not folder.exists() and (Path("runs") / folder).exists() else folder


RunFolder = Annotated[
    Path, typer.Argument(help="Folder of the run, or its name in runs/.", metavar="RUN", callback=existing)
]
ClusterOption = Annotated[
    str | None, typer.Option(help="local, cuda, slurm, or tcp://HOST:PORT of a scheduler.", metavar="KIND")
]
SiteOption = Annotated[
    Path | None, typer.Option(help="TOML file with this site's [cluster].", metavar="FILE", envvar="WAVENAS_SITE")
]
DataOption = Annotated[Path | None, typer.Option(help="Folder of the data set's files.", metavar="DIR")]
SetOption = Annotated[
    list[str] | None,
    typer.Option("--set", help="Change a setting, as often as needed.", metavar="SECTION.KEY=VALUE"),
]
SamplesOption = Annotated[int | None, typer.Option(help="Number of children.")]
SpaceOption = Annotated[
    str | None, typer.Option(help="Your own search space, a generator function.", metavar="MODULE:FUNCTION")
]
TaskOption = Annotated[
    str | None, typer.Option(help="Your own function that trains a child.", metavar="MODULE:FUNCTION")
]
TableOption = Annotated[
    Path | None, typer.Option(help="Experiment table: a Parquet file with a row a network.", metavar="FILE")
]
ColumnsOption = Annotated[str | None, typer.Option(help="Its columns that are decided, with commas between.")]
RewardOption = Annotated[str | None, typer.Option(help="Its column with the metric.")]


def configured(
    experiment: str,
    options: Mapping[str, object],
    of_table: tuple[Path | None, str | None, str | None],
    site: Path | None,
    cluster: str | None,
    assignments: Sequence[str] | None,
) -> "Configuration":
    """An experiment, for a table with its file, columns and reward, changed by a site and options; --set goes last."""
    from pipeline.configuration import override
    from pipeline.experiments import experiment_named, with_own_space, with_table
    from pipeline.site import cluster_options, with_site

    configuration = experiment_named(experiment)
    space, data = options.get("space.function"), options.get("data.folder")
    if isinstance(space, str):
        configuration = with_own_space(configuration, space)
    if any(of_table):
        configuration = with_table(configuration, *of_table, data if isinstance(data, Path) else None)
    given = {**options, **cluster_options(cluster)}
    texts = [f"{key}={_toml(value)}" for key, value in given.items() if value is not None]
    return override(with_site(configuration, site), [*texts, *(assignments or [])])


def _toml(value: object) -> str:
    """A value as TOML has it, which knows no pairs of surrogates as JSON has for what is beyond 16 bits."""
    return json.dumps(str(value.resolve()) if isinstance(value, Path) else value, ensure_ascii=False)
