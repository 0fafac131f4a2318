"""The transfer of a cell to characters (section 4.2, Table 3)."""

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from rich.console import Console

from pipeline.checks import check_configuration
from pipeline.configuration import Configuration, to_dict
from pipeline.datasets import prepare_data
from pipeline.held_out import laid_out, read_test_split
from pipeline.rows import Row
from pipeline.run_paths import RunPaths
from pipeline.study import Planned, Study, open_study
from pipeline.transfer import (
    NamedCell,
    add_test,
    bits,
    cells_to_compare,
    check_changes,
    child_of_task,
    columns_of,
    figure,
    told,
    transfer_trial,
)
from tasks.held_out import HeldOut, evaluate_held_out
from tasks.records import Trial
from tasks.settings import LANGUAGE_TASK, DataSettings, LanguageSettings

STAGE = "transfer_characters"
UNTESTED: Row = dict.fromkeys(("test_opened_at", "validation_bits", "test_bits"))
# Section 4.2: two layers of 6.57M parameters, 80K steps of 32 columns of 100 characters each, which are 51 epochs of
# Penn Treebank; Adam at 0.001, clipped at 1 as in Ha et al. (2016); dropouts of 0.2 and 0.5, but none on embeddings.
SMALL = LanguageSettings(
    parameters=6_570_000,
    embedding_size=128,
    embedding_dropout=0.0,
    epochs=51,
    batch_size=32,
    steps=100,
    optimizer="adam",
    learning_rate=0.001,
    rate_divisor=1.0,
    clip_norm=1.0,
)
# Section 4.2: 600K steps, which are 383 epochs
LARGE = replace(SMALL, parameters=16_280_000, epochs=383, weight_decay=1e-4)
SIZES = {"small": SMALL, "large": LARGE}


def for_characters(configuration: Configuration, size: str, data: Path | None) -> Configuration:
    """A run's configuration with the settings of a model of characters in place of those of its children."""
    folder = str(data.resolve()) if data else configuration.data.folder
    return replace(
        configuration,
        child=child_of_task(configuration, LANGUAGE_TASK),
        data=DataSettings(dataset="text", symbols="characters", num_validation=None, folder=folder),
        language=SIZES[size],
    )


def transfer_to_characters(
    paths: RunPaths,
    run: Configuration,
    configuration: Configuration,
    given: str | None,
    seeds: int,
    console: Console,
    retry: bool = False,
) -> None:
    """Train the cell of a run, or the one given, and an LSTM on characters; both see the test split once.

    `run` is the run's configuration, `configuration` what `for_characters` makes of it. Raises UserError.
    """
    check_configuration(configuration)
    check_changes(run, configuration, "language")
    cells = cells_to_compare(given, paths, run)
    data_path = prepare_data(configuration.data, paths.prepared_data)
    planned = [_planned(cell, configuration, data_path, number) for number in range(seeds) for cell in cells]
    with open_study(paths, configuration, STAGE, console) as study:
        rows = [
            add_test(study, training, {**UNTESTED, **row}, _validate, _test_of(study, training))
            for training, row in zip(planned, study.train(planned, retry), strict=True)
        ]
        lines = [
            told(row, {"validation": figure(row["validation_bits"], 3), "test": figure(row["test_bits"], 3)})
            for row in rows
        ]
        heading = "Bits per character of the same text, at the epoch with the best validation:"
        study.conclude("\n".join([heading, *lines]))


def _planned(cell: NamedCell, configuration: Configuration, data_path: Path, repetition: int) -> Planned:
    trial = transfer_trial(cell, configuration, data_path, repetition)
    columns = columns_of(cell, to_dict(configuration)["language"], repetition, data_path)
    return Planned(f"{cell.name}, seed {repetition}", trial, columns, keep_weights=True)


def _validate(_: Trial, row: Row) -> Row:
    """As the training has told."""
    return {"validation_bits": bits(math.log(row["metric"]))}


def _test_of(study: Study, training: Planned) -> Callable[[Trial], Row]:
    def test(trial: Trial) -> Row:
        with laid_out(study.paths, read_test_split(trial.data, Path(trial.data_path))) as folder:
            loss, _ = study.call(f"test-{training.fingerprint}", evaluate_held_out, HeldOut(trial, folder))
        return {"test_bits": bits(loss)}

    return test
