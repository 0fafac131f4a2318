"""Which network is exported, and what is told of it: a trial of a run, or an architecture that the paper shows."""

from pathlib import Path

import torch

from models.conv_net import ConvNet
from models.presets import figure7, nascell
from pipeline.configuration import Configuration
from pipeline.errors import UserError
from pipeline.export import Origin, cell_content, check_free, export_network, write_export
from pipeline.networks import (
    best_trial,
    build_child,
    drawn_architecture,
    image_settings,
    read_weights,
    train_child,
    vocabulary,
)
from pipeline.run_paths import RunPaths
from pipeline.summary import metric_text
from pipeline.tables import read_table
from tasks.settings import DataSettings

PRESETS = ("figure7", "nascell")
FRESH = "Weights: freshly drawn, as a training begins; the network has learned nothing yet."


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
        try:
            network.load_state_dict(read_weights(weights))
        except RuntimeError as error:
            raise UserError(f"{weights}: not the weights of trial {chosen}: {error}") from error
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


def export_preset(name: str, folder: Path) -> list[Path]:
    """Export an architecture that the paper shows: figure7 as a network for CIFAR-10, nascell as a bare cell."""
    if name not in PRESETS:
        raise UserError(f"unknown preset {name!r}; allowed: {', '.join(PRESETS)}")
    check_free(folder)
    if name == "nascell":
        told = "The cell of Appendix A, Figure 8, without max and sin, for layers of any size; so it has no weights."
        return write_export(folder, nascell(), cell_content(nascell(), bias=False), Origin("NASCell", (told,)))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = ConvNet(figure7(), 3, 10)
    told = "The network of Appendix A, Figure 7, for CIFAR-10."
    return export_network(figure7(), network, folder, Origin("Figure 7", (told, FRESH)), images=DataSettings())


def _facts(paths: RunPaths, configuration: Configuration, trial_id: int) -> list[str]:
    rows = read_table(paths, "results", ["trial_id", "metric", "parameters"]).to_pylist()
    row = next((row for row in rows if row["trial_id"] == trial_id), None)
    facts = [f"Experiment {configuration.experiment}, space {configuration.space.function}."]
    if row and row["metric"] is not None:
        facts.append(f"In the search: {metric_text(configuration, row)}, {row['parameters']:,} parameters.")
    return facts
