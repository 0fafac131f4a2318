"""`wavenas transfer characters` and `wavenas transfer translation`: a cell found on words at other tasks."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pipeline.commands.options import ClusterOption, SetOption, SiteOption, existing
from pipeline.commands.stages import RetryOption, going_on
from pipeline.errors import UserError

if TYPE_CHECKING:
    from pipeline.configuration import Configuration

Folder = Annotated[
    Path,
    typer.Argument(
        help="Folder of a run that searched for a cell, or its name in runs/; with --cell any folder.",
        metavar="RUN",
        callback=existing,
    ),
]
CellOption = Annotated[
    str | None, typer.Option(help="nascell, lstm, rnn or a JSON file, in place of the run's best.", metavar="CELL")
]
SeedsOption = Annotated[int, typer.Option(min=1, help="Trainings of each cell.")]


def register(app: typer.Typer) -> None:
    group = typer.Typer(help="Train a cell that was found on words at other tasks, against an LSTM.")
    group.command()(characters)
    group.command()(translation)
    app.add_typer(group, name="transfer", no_args_is_help=True)


def characters(
    folder: Folder,
    cell: CellOption = None,
    size: Annotated[str, typer.Option(help="small: 6.57M parameters; large: 16.28M (Table 3).")] = "small",
    data: Annotated[Path | None, typer.Option(help="Folder of the text; unset: that of the run.")] = None,
    seeds: SeedsOption = 1,
    cluster: ClusterOption = None,
    site: SiteOption = None,
    retry: RetryOption = False,
    set_: SetOption = None,
) -> None:
    """Bits per character of a text that is read character by character."""
    with going_on(folder):
        from rich.console import Console

        from pipeline.configuration import override
        from pipeline.transfer import open_folder
        from pipeline.transfer_characters import SIZES, for_characters, transfer_to_characters

        if size not in SIZES:
            raise UserError(f"--size {size}: allowed are {', '.join(SIZES)}")
        paths, run = open_folder(folder, cell)
        run = _on_cluster(run, site, cluster)
        configuration = override(for_characters(run, size, data), set_ or [])
        transfer_to_characters(paths, run, configuration, cell, seeds, Console(), retry)


def translation(
    folder: Folder,
    data: Annotated[
        Path, typer.Option(help="Folder with train.SOURCE, val.SOURCE, test.SOURCE and the same for TARGET.")
    ],
    source: Annotated[str, typer.Option(help="Language that is translated: the ending of its files.")] = "en",
    target: Annotated[str, typer.Option(help="Language that it is translated to.")] = "de",
    cell: CellOption = None,
    seeds: SeedsOption = 1,
    cluster: ClusterOption = None,
    site: SiteOption = None,
    retry: RetryOption = False,
    set_: SetOption = None,
) -> None:
    """BLEU of a translation model in the manner of GNMT."""
    with going_on(folder):
        from rich.console import Console

        from pipeline.configuration import override
        from pipeline.parallel_files import ParallelFiles
        from pipeline.transfer import open_folder
        from pipeline.transfer_translation import for_translation, transfer_to_translation

        paths, run = open_folder(folder, cell)
        run = _on_cluster(run, site, cluster)
        configuration = override(for_translation(run), set_ or [])
        files = ParallelFiles(data.resolve(), source, target)
        transfer_to_translation(paths, run, configuration, files, cell, seeds, Console(), retry)


def _on_cluster(run: "Configuration", site: Path | None, cluster: str | None) -> "Configuration":
    from pipeline.foreign_code import find_own_modules
    from pipeline.site import with_other_cluster

    find_own_modules()
    return with_other_cluster(run, site, cluster, [])
