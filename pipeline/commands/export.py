"""Commands that hand on what a run found: `wavenas export` and `wavenas export-trials`."""

from pathlib import Path
from typing import Annotated

import typer

from pipeline.commands.options import RunFolder, existing
from pipeline.errors import DiskError, UserError
from pipeline.exit_codes import exit_codes

MaybeRunFolder = Annotated[Path | None, typer.Argument(help="Folder of the run, or its name in runs/.", metavar="RUN")]


def register(app: typer.Typer) -> None:
    app.command()(export)
    app.command()(export_trials)


def export(
    folder: MaybeRunFolder = None,
    *,
    to: Annotated[Path, typer.Option(help="New folder for the network.", metavar="DIR")],
    trial: Annotated[int | None, typer.Option(help="Number of a trial; the best if not given.")] = None,
    preset: Annotated[str | None, typer.Option(help="Instead of a run: figure7 or nascell.")] = None,
    weights: Annotated[
        Path | None, typer.Option(help="File with the network's weights; freshly drawn if not given.", metavar="FILE")
    ] = None,
    train: Annotated[
        bool, typer.Option("--train", help="Train it here as the search did, and keep the weights.")
    ] = False,
    training: Annotated[
        int | None, typer.Option(help="Number of a training of the final stage, with the weights that it kept.")
    ] = None,
    final: Annotated[bool, typer.Option("--final", help="The training of the final stage that was tested.")] = False,
    hidden_size: Annotated[int | None, typer.Option(min=1, help="Units of a layer of preset nascell.")] = None,
    input_size: Annotated[int | None, typer.Option(min=1, help="Of preset nascell; unset: its hidden size.")] = None,
    layers: Annotated[int | None, typer.Option(min=1, help="Layers of preset nascell; unset: 1.")] = None,
) -> None:
    """Write a network as code that needs torch alone, with its weights, and as graphs."""
    with exit_codes():
        if (folder is None) == (preset is None):
            raise UserError("export needs the folder of a run, or --preset: one of them, and not both")
        of_trial = trial is not None or weights is not None or train
        ways = of_trial + (training is not None) + final
        if ways > 1:
            raise UserError("a trial (--trial, --weights, --train), --training and --final do not go together")
        if preset is not None and ways:
            raise UserError("trials and trainings are those of a run, and not for a preset")
        if hidden_size is None and (input_size or layers):
            raise UserError("--input-size and --layers need --hidden-size")
        from pipeline.export_run import LayerSizes, export_preset, export_training, export_trial
        from pipeline.run_folder import open_run

        if preset is not None:
            sizes = LayerSizes(input_size or hidden_size, hidden_size, layers or 1) if hidden_size else None
            written = export_preset(preset, to, sizes)
        else:
            assert folder is not None
            if hidden_size is not None:
                raise UserError("--hidden-size, --input-size and --layers are for preset nascell")
            paths, configuration = open_run(existing(folder))
            if training is not None or final:
                written = export_training(paths, configuration, to, training)
            else:
                written = export_trial(paths, configuration, to, trial_id=trial, weights=weights, train=train)
        for path in written:
            typer.echo(path)


def export_trials(
    folder: RunFolder,
    form: Annotated[str, typer.Option("--format", help="csv, jsonl or tensorboard.", metavar="FORMAT")] = "csv",
    to: Annotated[
        Path | None,
        typer.Option(help="File, for tensorboard a new folder; unset: it is printed.", metavar="PATH"),
    ] = None,
) -> None:
    """Print a run's trials, a line each: architecture, metrics and all else that the tables have of them."""
    with exit_codes():
        from pipeline.export_tensorboard import write_events
        from pipeline.export_trials import trial_lines
        from pipeline.files import write_atomically
        from pipeline.run_folder import open_run

        paths, _ = open_run(folder)
        if form == "tensorboard":
            if to is None:
                raise UserError("--format tensorboard needs --to FOLDER")
            typer.echo(f"{write_events(paths, to):,} figures in {to}; look at them with: tensorboard --logdir {to}")
            return
        lines = trial_lines(paths, form)
        if to is None:
            for line in lines:
                typer.echo(line)
            return
        try:
            write_atomically(to, "".join(f"{line}\n" for line in lines).encode())
        except DiskError as error:
            raise UserError(str(error)) from error
