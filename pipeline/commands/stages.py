"""`wavenas final` and `wavenas ablate`: what comes after a search."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pipeline.commands.options import ClusterOption, RunFolder, SiteOption
from pipeline.errors import UserError
from pipeline.exit_codes import exit_codes
from pipeline.interruption import leave

if TYPE_CHECKING:
    from rich.console import Console

    from pipeline.configuration import Configuration

RetryOption = Annotated[bool, typer.Option("--retry", help="Train again what failed before.")]


def register(app: typer.Typer) -> None:
    app.command()(final)
    app.command()(ablate)


def final(
    folder: RunFolder,
    cluster: ClusterOption = None,
    site: SiteOption = None,
    top: Annotated[int | None, typer.Option(help="Networks that go into the grid, the best of the search.")] = None,
    epochs: Annotated[int | None, typer.Option(help="Epochs of the long trainings.")] = None,
    more_filters: Annotated[
        str | None, typer.Option(help="Train the best with so many filters more a layer too.", metavar="N,…")
    ] = None,
    parameters: Annotated[
        str | None, typer.Option(help="Train the best cell in these sizes, such as 25e6,32e6.", metavar="N,…")
    ] = None,
    retry: RetryOption = False,
    set_: Annotated[
        list[str] | None, typer.Option("--set", help="Change a setting.", metavar="final.KEY=VALUE")
    ] = None,
) -> None:
    """Grid search over hyperparameters for the best network, long training, and one look at the test split."""
    options = {
        "final.top": top,
        "final.epochs": epochs,
        "final.more_filters": more_filters and _whole_numbers("--more-filters", more_filters),
        "final.parameters": parameters and _whole_numbers("--parameters", parameters),
    }
    given = {key: value for key, value in options.items() if value is not None}
    with going_on(folder):
        from pipeline.final import run_final

        configuration, console = _open(folder, "final", site, cluster, given, set_ or [])
        run_final(folder, configuration, console, retry)


def ablate(
    folder: RunFolder,
    cluster: ClusterOption = None,
    site: SiteOption = None,
    perturbations: Annotated[
        int | None, typer.Option(help="So many decisions are changed, one at a time; unset: all.")
    ] = None,
    seeds: Annotated[int | None, typer.Option(help="Trainings of each network.")] = None,
    retry: RetryOption = False,
    set_: Annotated[
        list[str] | None, typer.Option("--set", help="Change a setting.", metavar="ablations.KEY=VALUE")
    ] = None,
) -> None:
    """Train the best network against itself with all connections, with no skips, and with one decision changed."""
    options = {"ablations.perturbations": perturbations, "ablations.seeds": seeds}
    given = {key: value for key, value in options.items() if value is not None}
    with going_on(folder):
        from pipeline.ablations import run_ablations

        configuration, console = _open(folder, "ablations", site, cluster, given, set_ or [])
        run_ablations(folder, configuration, console, retry)


def _open(
    folder: Path, section: str, site: Path | None, cluster: str | None, given: dict[str, Any], assignments: list[str]
) -> "tuple[Configuration, Console]":
    """The configuration of a run with other settings of one stage, and a console."""
    from rich.console import Console

    from pipeline.configuration import override, with_settings
    from pipeline.foreign_code import find_own_modules
    from pipeline.run_folder import open_run
    from pipeline.site import with_other_cluster
    from pipeline.trust import refuse_foreign_code

    find_own_modules()
    of_stage = [assignment for assignment in assignments if assignment.strip().startswith(f"{section}.")]
    others = [assignment for assignment in assignments if assignment not in of_stage]
    paths, settled = open_run(folder)
    refuse_foreign_code(paths, settled)
    configuration = with_other_cluster(settled, site, cluster, others, section)
    return override(with_settings(configuration, given, "option"), of_stage), Console()


def _whole_numbers(option: str, text: str) -> list[int]:
    """Numbers with commas between, 25e6 among them."""
    numbers = []
    for part in text.split(","):
        try:
            number = float(part)
        except ValueError:
            number = 0.5
        if not number.is_integer():
            raise typer.BadParameter(f"{part!r} is not a whole number, such as 40 or 25e6", param_hint=option)
        numbers.append(int(number))
    return numbers


@contextmanager
def going_on(folder: Path) -> Iterator[None]:
    """Errors as messages and exit codes, for what goes on when its command is typed again.

    Tracebacks are in the log of the run in a folder, or of the run in the folder of a comparison that failed last.
    """
    go_on = "Nothing that ended is lost. The same command goes on."
    with exit_codes():
        try:
            yield
        except KeyboardInterrupt:
            typer.echo(f"\nInterrupted. {go_on}", err=True)
            leave()
            raise typer.Exit(130) from None
        except (UserError, typer.Exit, BrokenPipeError):
            raise
        except Exception as error:
            logs = [*folder.glob("run.log"), *folder.glob("*/run.log")]
            if not logs:
                raise
            log = max(logs, key=lambda log: log.stat().st_mtime)
            typer.echo(f"error: {type(error).__name__}: {error}", err=True)
            typer.echo(f"The traceback is in {log}. {go_on}", err=True)
            raise typer.Exit(1) from None
