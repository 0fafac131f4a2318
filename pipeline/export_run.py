"""Which network is exported, and what is told of it: a trial of a run, or an architecture that the paper shows."""

from dataclasses import dataclass
from pathlib import Path

import torch

from models.cell_architecture import CellArchitecture
from models.conv_net import ConvNet
from models.presets import figure7, nascell
from models.recurrent import build_cell
from pipeline.configuration import Configuration
from pipeline.errors import UserError
from pipeline.export import Origin, cell_content, check_free, export_network, layers_content, write_export
from pipeline.networks import (
    best_trial,
    build_child,
    drawn_architecture,
    image_settings,
    load_into,
    train_child,
    vocabulary,
)
from pipeline.rows import Row
from pipeline.run_paths import RunPaths
from pipeline.summary import metric_text, test_text
from pipeline.tables import read_table
from pipeline.trained import trained_network, training_row
from tasks.settings import DataSettings

PRESETS = ("figure7", "nascell")
FRESH = "Weights: freshly drawn, as a training begins; the network has learned nothing yet."


@dataclass(frozen=True)
class LayerSizes:
    """How large the layers of a bare cell are."""

    input_size: int
    hidden_size: int
    num_layers: int = 1


def export_trial(
    paths: RunPaths,
    configuration: Configuration,
    folder: Path,
    *,
    trial_id: int | None = None,
    weights: Path | None = None,
    train: bool = False,
) -> list[Path]:
    """Export the network of a trial, of the best where none is named; the files written.

    Its weights are those in a file, those that a training like the search's leaves, or else freshly drawn. Raises
    UserError for a trial that there is not, weights that do not fit, and a folder that is not empty.
    """
    if weights and train:
        raise UserError("--weights and --train do not go together")
    check_free(folder)
    chosen = best_trial(paths) if trial_id is None else trial_id
    network = build_child(paths, configuration, chosen)
    told = FRESH
    if train:
        state, training = train_child(paths, configuration, chosen)
        network.load_state_dict(state)
        last = metric_text(configuration, {"metric": training.epochs[-1].validation_metric})
        told = f"Weights: after the {len(training.epochs)} epochs of training that the search gives, at {last}."
    elif weights:
        _check_whose(paths, weights)
        load_into(network, weights, f"trial {chosen}")
        told = f"Weights: from {weights.name}."
    name = paths.folder.resolve().name
    return export_network(
        drawn_architecture(paths, configuration, chosen),
        network,
        folder,
        Origin(f"Trial {chosen} of {name}", (*_facts(paths, configuration, chosen), told)),
        images=image_settings(configuration),
        words=vocabulary(paths, configuration),
    )


def export_training(
    paths: RunPaths, configuration: Configuration, folder: Path, number: int | None = None
) -> list[Path]:
    """Export the network of a final training, of the one tested where none is named, with the weights that it kept.

    Raises UserError for a training that kept none, and for a folder that is not empty.
    """
    check_free(folder)
    row, test = training_row(paths, number)
    architecture, network = trained_network(paths, configuration, row)
    facts = [
        _experiment(configuration),
        f"Trained with: {row['name']}.",
        f"Its best epoch: {metric_text(configuration, row)}, {row['parameters']:,} parameters. Its weights are here.",
        "It was not tested." if test is None or test["test_metric"] is None else _tested(configuration, test),
    ]
    heading = f"Training {row['training']} of the final stage of {paths.folder.resolve().name}"
    return export_network(
        architecture,
        network,
        folder,
        Origin(heading, tuple(facts)),
        images=image_settings(configuration),
        words=vocabulary(paths, configuration),
    )


def export_preset(name: str, folder: Path, sizes: LayerSizes | None = None) -> list[Path]:
    """Export an architecture that the paper shows: figure7 as a network for CIFAR-10, nascell as layers of its cell.

    Layers of given sizes have weights, freshly drawn; without sizes there is the code alone. Raises UserError.
    """
    if name not in PRESETS:
        raise UserError(f"unknown preset {name!r}; allowed: {', '.join(PRESETS)}")
    if sizes is not None and name != "nascell":
        raise UserError(f"--hidden-size, --input-size and --layers are for nascell, and not for {name}")
    check_free(folder)
    if name == "nascell":
        return _export_cell(folder, nascell(), sizes)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = ConvNet(figure7(), 3, 10)
    told = "The network of Appendix A, Figure 7, for CIFAR-10."
    return export_network(figure7(), network, folder, Origin("Figure 7", (told, FRESH)), images=DataSettings())


def _export_cell(folder: Path, cell: CellArchitecture, sizes: LayerSizes | None) -> list[Path]:
    told = "The cell of Appendix A, Figure 8, without max and sin."
    if sizes is None:
        nothing = "For layers of any size, so that it has neither weights nor graphs; `--hidden-size` gives it both."
        return write_export(folder, cell, cell_content(cell, bias=False), Origin("NASCell", (told, nothing)))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        layers = build_cell(cell, sizes.input_size, sizes.hidden_size, sizes.num_layers, bias=False)
    return write_export(folder, cell, layers_content(cell, layers), Origin("NASCell", (told, FRESH)))


def _check_whose(paths: RunPaths, weights: Path) -> None:
    """Weights of a final training do not tell the settings that their network was built with."""
    rows = read_table(paths, "final", ["training", "step", "weights"]).to_pylist()
    for row in rows:
        if row["step"] == "long" and row["weights"] and (paths.folder / row["weights"]).resolve() == weights.resolve():
            raise UserError(f"{weights}: the weights of a final training; --training {row['training']} exports them")


def _experiment(configuration: Configuration) -> str:
    return f"Experiment {configuration.experiment}, space {configuration.space.function}."


def _tested(configuration: Configuration, test: Row) -> str:
    return (
        f"{test_text(configuration, test['test_metric'])}, which the final stage computed once in the life of the run."
    )


def _facts(paths: RunPaths, configuration: Configuration, trial_id: int) -> list[str]:
    rows = read_table(paths, "results", ["trial_id", "metric", "parameters"]).to_pylist()
    row = next((row for row in rows if row["trial_id"] == trial_id), None)
    facts = [_experiment(configuration)]
    if row and row["metric"] is not None:
        facts.append(f"In the search: {metric_text(configuration, row)}, {row['parameters']:,} parameters.")
    return facts
