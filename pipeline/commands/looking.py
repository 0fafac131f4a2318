"""`wavenas status | list | top | show | diff`: looking at runs, also at those going on and from other machines."""

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from pipeline.commands.options import RunFolder, existing
from pipeline.exit_codes import exit_codes

EPOCH_FIGURES = ("train_loss", "train_metric", "validation_loss", "validation_metric", "learning_rate")
WIDE = 400  # columns, where no screen limits them


AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, for machines.")]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command()(status)
    app.command("list")(list_runs)
    app.command()(top)
    app.command()(show)
    app.command()(diff)


def status(run: RunFolder, as_json: AsJson = False) -> None:
    """Tell how far a run is, also while it is going on."""
    with exit_codes():
        from pipeline.status import status_of, status_text

        typer.echo(_json(status_of(run)) if as_json else status_text(run))


def list_runs(
    folder: Annotated[Path, typer.Argument(help="Folder with runs.")] = Path("runs"), as_json: AsJson = False
) -> None:
    """List the runs of a folder: how far each is, and the best it found."""
    with exit_codes():
        from pipeline.errors import UserError
        from pipeline.status import status_of

        runs: list[dict[str, Any]] = []
        for config in sorted(folder.glob("*/config.json")):
            try:
                runs.append(status_of(config.parent))
            except UserError as error:
                runs.append({"run": str(config.parent), "state": "unreadable", "problem": str(error)})
        if as_json:
            typer.echo(_json(runs))
            return
        rows = [_list_row(run) for run in runs]
        _print_table(["run", "state", "children", "failed", "best"], rows, f"no runs in {folder}", "llrrl")


def top(
    run: RunFolder,
    count: Annotated[int, typer.Option("-n", help="How many.", min=1)] = 10,
    control: Annotated[bool, typer.Option("--control", help="Those of the control.")] = False,
    as_json: AsJson = False,
) -> None:
    """The best trials of a run, each architecture once."""
    with exit_codes():
        from pipeline.progress import format_reward, format_seconds
        from pipeline.status import top_of

        best = top_of(run / "control" if control else run, count)
        if as_json:
            typer.echo(_json(best))
            return
        rows = [
            [str(row["trial_id"]), row["metric_text"].rpartition(" ")[2], format_reward(row["reward"]),
             _count(row["parameters"]), _count(row["flops"]), format_seconds(row["seconds"]), str(row["wave"])]
            for row in best
        ]  # fmt: skip
        metric = best[0]["metric_text"].rpartition(" ")[0] if best else "metric"
        names = ["trial", metric, "reward", "parameters", "FLOPs", "time", "wave"]
        _print_table(names, rows, f"{run}: no child has ended well yet", "r" * len(names))


def show(
    run: RunFolder, trial: Annotated[int, typer.Argument(help="Number of the trial.", min=0)], as_json: AsJson = False
) -> None:
    """One trial: its architecture, how its training went, and why it failed if it did."""
    with exit_codes():
        from pipeline.status import trial_of_run

        told = trial_of_run(run, trial)
        if as_json:
            typer.echo(_json(told))
            return
        for line in _trial_lines(told):
            typer.echo(line)
        epochs = [
            [str(e["epoch"]), *(f"{e[name]:.4g}" for name in EPOCH_FIGURES), f"{e['seconds']:.1f}"]
            for e in told["epochs"]
        ]
        if epochs:
            names = ["epoch", *(name.replace("_", " ") for name in EPOCH_FIGURES), "seconds"]
            _print_table(names, epochs, "", "r" * len(names))


def diff(
    runs: Annotated[list[Path], typer.Argument(help="Folders of runs, or their names in runs/.", metavar="RUN RUN …")],
    as_json: AsJson = False,
) -> None:
    """Runs side by side: what they found, what it cost, and the settings in which they differ."""
    with exit_codes():
        side_by_side(runs, as_json)


def side_by_side(runs: Sequence[Path], as_json: bool) -> None:
    """Print runs side by side. Raises UserError for a folder without a run."""
    from pipeline.run_state import run_state
    from pipeline.status import differing_settings, figures_of

    states = [run_state(existing(run)) for run in runs]
    figures = [figures_of(state) for state in states]
    settings = differing_settings([state.configuration for state in states])
    if as_json:
        typer.echo(_json({"runs": [str(s.folder) for s in states], "figures": figures, "settings": settings}))
        return
    rows = [[name, *(_figure(figure[name]) for figure in figures)] for name in figures[0]]
    rows += [[name, *(_figure(value) for value in values)] for name, values in settings.items()]
    _print_table(["", *(state.folder.name for state in states)], rows, "", "l" + "r" * len(states))


def _list_row(run: dict[str, Any]) -> list[str]:
    name = Path(run["run"]).name
    if "problem" in run:
        return [name, run["state"], "", "", run["problem"]]
    first = run["searches"][0]
    ended, wanted = (sum(search[key] for search in run["searches"]) for key in ("ended", "children"))
    failed = sum(search["failed"] for search in run["searches"])
    best = first["best"]["metric_text"] if first["best"] else ""
    return [name, run["state"], f"{ended}/{wanted}", str(failed), best]


def _trial_lines(told: dict[str, Any]) -> list[str]:
    sample, result = told["sample"], told["result"]
    chance = "" if sample["log_prob"] is None else f", log-probability {sample['log_prob']:.2f}"
    lines = [f"trial {sample['trial_id']}, wave {sample['wave']}, replica {sample['replica']}{chance}"]
    if result is None:
        lines.append("has not ended yet")
    else:
        metric = f", {told['metric_text']}" if told["metric_text"] else ""
        cost = f"; {_count(result['parameters'])} parameters, {_count(result['flops'])} FLOPs"
        lines.append(f"{result['status']}{metric}, reward {result['reward']:.4g}{cost}")
        tried = f"{result['attempts']} attempt{'s' * (result['attempts'] != 1)}"
        lines.append(f"{result['seconds']:.1f} s on {result['worker']}, {tried}")
    lines += ["", told["description"], ""]
    if result and result["error"]:
        lines += ["error:", result["error"].strip(), ""]
    return lines


def _figure(value: Any) -> str:
    if value is None:
        return "–"
    return f"{value:.4g}" if isinstance(value, float) else f"{value:,}" if type(value) is int else str(value)


def _count(value: int | None) -> str:
    return "–" if value is None else f"{value:,}"


def _json(data: Any) -> str:
    return json.dumps(_finite(data), indent=2, default=str, allow_nan=False)


def _finite(data: Any) -> Any:
    """Data without the numbers that JSON has not: null in their place, as for the losses of a child that diverged."""
    if isinstance(data, Mapping):
        return {key: _finite(value) for key, value in data.items()}
    if isinstance(data, list | tuple):
        return [_finite(value) for value in data]
    return None if isinstance(data, float) and not math.isfinite(data) else data


def _print_table(names: Sequence[str], rows: Sequence[Sequence[str]], empty: str, sides: str) -> None:
    """Columns as wide as they need; where the screen is too narrow, cells take several lines."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    if not rows:
        typer.echo(empty)
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name, side in zip(names, sides, strict=True):
        table.add_column(name, justify="right" if side == "r" else "left", overflow="fold")
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))
    console = Console()
    (console if console.is_terminal else Console(width=WIDE)).print(table)
