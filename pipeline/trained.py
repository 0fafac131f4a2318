"""The networks that the final stage trained, as they were built there and with the weights that it kept."""

import json
from dataclasses import replace
from typing import Any

import torch
from torch import nn

from pipeline.configuration import Configuration, with_settings
from pipeline.errors import UserError
from pipeline.held_out import row_of_test
from pipeline.networks import child_network, decode, load_into, sample_of, vocabulary
from pipeline.rows import Row
from pipeline.run_paths import RunPaths
from pipeline.seals import check_archive
from pipeline.tables import read_table
from pipeline.trust import refuse_foreign_code
from tasks.settings import SpaceSettings


def widened(space: SpaceSettings, count: int) -> SpaceSettings:
    """The space of the same networks with `count` filters more in each layer."""
    if not count:
        return space
    options = {"function": space.function, "options": space.options, "count": count}
    return SpaceSettings(function="models.variants:more_filters", options=options)


def training_row(paths: RunPaths, number: int | None = None) -> tuple[Row, Row | None]:
    """The row of a training that kept its weights, of the one tested where none is named, and that of its test.

    Raises UserError where there is no such training.
    """
    rows = read_table(paths, "final").to_pylist()
    tested = row_of_test(rows)
    if number is None:
        if tested is None:
            raise UserError(f"{paths.folder}: no final training has been tested: wavenas final {paths.folder}")
        number = tested["tested"]
    kept = {row["training"]: row for row in rows if row["step"] == "long" and row["weights"]}
    if number not in kept:
        allowed = f"allowed are {', '.join(map(str, sorted(kept)))}" if kept else "there is none yet"
        raise UserError(f"{paths.folder}: no final training {number} that kept its weights; {allowed}")
    return kept[number], tested if tested and tested["tested"] == number else None


def trained_network(paths: RunPaths, configuration: Configuration, row: Row) -> tuple[Any, nn.Module]:
    """The architecture of a training and its network, in evaluation mode, with the weights that its metric is of.

    Raises UserError where the weights are gone, or others.
    """
    refuse_foreign_code(paths, configuration)
    settled = with_settings(configuration, json.loads(row["settings"]), "final")
    settled = replace(settled, space=widened(settled.space, row["more_filters"]))
    architecture = decode(settled, sample_of(paths, row["trial_id"]))
    words = vocabulary(paths, settled)
    with torch.random.fork_rng(devices=[]):
        network = child_network(architecture, settled, len(words))
    weights = paths.folder / row["weights"]
    if weights.is_file():
        check_archive(weights)
    load_into(network, weights, f"training {row['training']}")
    return architecture, network.eval()
