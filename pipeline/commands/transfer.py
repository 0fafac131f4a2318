"""`wavenas transfer characters` and `wavenas transfer translation`: a cell found on words at other tasks."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pipeline.errors import UserError
from pipeline.exit_codes import exit_codes

if TYPE_CHECKING:
    from pipeline.configuration import Configuration

Folder = Annotated[
    Path, typer.Argument(help="Folder of a run that searched for a cell; with --cell any folder.", metavar="RUN")
]
CellOption = Annotated[
    str | None, typer.Option(help="nascell, lstm, rnn or a JSON file, in place of the run's best.", metavar="CELL")
]
SeedsOption = Annotated[int, typer.Option(min=1, help="Trainings of each cell.")]
ClusterOption = Annotated[
    str | None, typer.Option(help="local, cuda, slurm, or tcp://HOST:PORT of a scheduler.", metavar="KIND")
]
SiteOption = Annotated[
    Path | None, typer.Option(help="TOML file with this site's [cluster].", metavar="FILE", envvar="WAVENAS_SITE")
]
RetryOption = Annotated[bool, typer.Option("--retry", help="Train again what failed before.")]
SetOption = Annotated[
    list[str] | None, typer.Option("--set", help="Change a setting, as often as needed.", metavar="SECTION.KEY=VALUE")
]
transfer = typer.Typer(help="Train a cell that was found on words at other tasks, against an LSTM.")


@transfer.command()
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
    with _stage(folder):
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


@transfer.command()
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
    with _stage(folder):
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
    from pipeline.checks import find_own_modules
    from pipeline.site import with_other_cluster

    find_own_modules()
    return with_other_cluster(run, site, cluster, [])


@contextmanager
def _stage(folder: Path) -> Iterator[None]:
    """Errors as messages and exit codes. A transfer goes on when its command is typed again."""
    go_on = "Nothing that ended is lost. The same command goes on."
    with exit_codes():
        try:
            yield
        except KeyboardInterrupt:
            typer.echo(f"\nInterrupted. {go_on}", err=True)
            raise typer.Exit(130) from None
        except (UserError, typer.Exit, BrokenPipeError):
            raise
        except Exception as error:
            if not (folder / "run.log").exists():
                raise
            typer.echo(f"error: {type(error).__name__}: {error}", err=True)
            typer.echo(f"The traceback is in {folder}/run.log. {go_on}", err=True)
            raise typer.Exit(1) from None
