"""What the transfers of a cell have in common: the cells compared, their trainings, and one look at a test split."""

import json
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from models.architecture import to_json
from models.cell_architecture import CellArchitecture
from models.given_cell import cell_from_json
from models.presets import nascell
from pipeline.checks import OF_ANY_CHILD
from pipeline.configuration import Configuration
from pipeline.errors import UserError
from pipeline.experiments import ptb
from pipeline.rows import Row
from pipeline.run_folder import open_run
from pipeline.run_paths import RunPaths
from pipeline.search import is_finished
from pipeline.study import Planned, Study
from pipeline.summary import architecture_of, summarise
from pipeline.trust import refuse_foreign_code
from tasks.records import Trial
from tasks.seeds import derive_seed
from tasks.settings import ChildSettings, SpaceSettings

BASELINE = "lstm"


@dataclass(frozen=True)
class NamedCell:
    """A cell with a name for people; `data` is its name in the models, or a tree as JSON data."""

    name: str
    data: Any


def cells_to_compare(given: str | None, paths: RunPaths, configuration: Configuration) -> list[NamedCell]:
    """The cell to be transferred, the best that a search has found unless another is given, and an LSTM.

    Raises UserError for what is no cell.
    """
    cell = _best_cell(paths, configuration) if given is None else _given_cell(given)
    return [cell] if cell.data == BASELINE else [cell, NamedCell("LSTM", BASELINE)]


def _best_cell(paths: RunPaths, configuration: Configuration) -> NamedCell:
    ranked = summarise(paths).ranked
    if not ranked or not is_finished(paths, configuration):
        raise UserError(
            f"{paths.folder}: no finished search for a cell there; --cell nascell, lstm, rnn or FILE.json names another"
        )
    cell = architecture_of(configuration, ranked[0])
    if not isinstance(cell, CellArchitecture | str):
        raise UserError(f"{paths.folder}: found {type(cell).__name__}; only a recurrent cell can be transferred")
    return NamedCell(f"trial {ranked[0]['trial_id']}", to_json(cell))


def _given_cell(given: str) -> NamedCell:
    if given in ("lstm", "rnn"):
        return NamedCell(given.upper(), given)
    if given == "nascell":
        return NamedCell("NASCell", nascell().to_json())
    path = Path(given)
    if not path.is_file():
        raise UserError(f"--cell {given}: allowed are nascell, lstm, rnn and a JSON file with a cell")
    try:
        data = json.loads(path.read_text())
        cell_from_json(data)
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: not a cell as JSON ({error})") from error
    return NamedCell(path.stem, data)


def child_of_task(configuration: Configuration, task: str) -> ChildSettings:
    """A child's settings for another task: those that any task looks at stay, and it takes as long as it takes."""
    of_any = {name: getattr(configuration.child, name) for name in OF_ANY_CHILD}
    return ChildSettings(**{**of_any, "task": task, "timeout_minutes": None})


def check_changes(before: Configuration, after: Configuration, section: str) -> None:
    """Raise UserError for settings that a transfer does not look at; `section` has those of its model."""
    looked_at = (section, "data", "child", "language", "retries", "cluster")  # check_configuration tells of the others
    changed = [name for name in vars(after) if getattr(before, name) != getattr(after, name) and name not in looked_at]
    if "search" in changed and replace(after.search, seed=before.search.seed) == before.search:
        changed.remove("search")
    if changed:
        data = " data," if section == "language" else ""  # translation has files of its own
        raise UserError(
            f"{changed[0]}: a transfer looks at {section},{data} child, retries, cluster and search.seed alone"
        )


def transfer_trial(cell: NamedCell, configuration: Configuration, data_path: Path, repetition: int) -> Trial:
    """A training of a cell; the seed is the same for all cells."""
    return Trial(
        trial_id=0,
        seed=derive_seed(configuration.search.seed, "transfer", repetition),
        depth=1,
        tokens=(),
        space=SpaceSettings(function="models.given_cell:given_cell", options={"cell": cell.data}),
        child=configuration.child,
        data=configuration.data,
        data_path=str(data_path),
        reward_power=-1.0,
        language=configuration.language,
    )


def columns_of(cell: NamedCell, settings: Any, repetition: int, data_path: Path) -> Row:
    """The columns that both transfers have."""
    return {
        "cell": cell.name, "architecture": json.dumps(cell.data), "repetition": repetition,
        "settings": json.dumps(settings, sort_keys=True), "data": data_path.name,
    }  # fmt: skip


def add_test(
    study: Study, training: Planned, row: Row, validate: Callable[[Trial, Row], Row], test: Callable[[Trial], Row]
) -> Row:
    """A training's row with what two functions tell of its weights, whose place the trial has that they are given.

    `validate` comes first, and is given the row too. `test` looks at the test split, once for each training; that it is
    opened is durable before. Where no figure came of it, as when the user interrupts, it may be opened again.
    """
    if row["status"] != "ok" or row["test_opened_at"] is not None:
        return row
    trial, again = study.with_weights(training, row)
    row = {**row, **again}
    row |= validate(trial, row)
    opened = {**row, "test_opened_at": time.time_ns() // 1_000}
    study.record(opened)
    try:
        found = test(trial)
    except BaseException:
        study.record(row)
        raise
    study.record({**opened, **found})
    return {**opened, **found}


def told(row: Row, figures: Mapping[str, str]) -> str:
    """A line on a training: its figures, or why there are none."""
    seed = f", repetition {row['repetition']}" if row["repetition"] else ""
    if row["status"] != "ok":
        return f"  {row['cell']}{seed}: {row['status']}"
    what = ", ".join(f"{name} {value}" for name, value in figures.items())
    return f"  {row['cell']}{seed}, {row['parameters']:,} parameters: {what}"


def figure(value: float | None, digits: int) -> str:
    """A number, or that it was lost between the reading of the test split and its row."""
    return "lost: the driver ended before it was written down" if value is None else f"{value:.{digits}f}"


def bits(nats: float) -> float:
    """Bits of a cross-entropy in nats."""
    return nats / math.log(2)


def open_folder(folder: Path, given: str | None) -> tuple[RunPaths, Configuration]:
    """A run and its configuration; where the cell is given, a folder that holds no run will do.

    Raises UserError where there is no run and no cell is given.
    """
    paths = RunPaths(folder)
    if given is None or paths.config.exists():
        paths, configuration = open_run(folder)
        refuse_foreign_code(paths, configuration)
        return paths, configuration
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"{folder}: cannot be written to: {error.strerror}") from error
    return paths, ptb()
