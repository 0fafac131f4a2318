"""A run for notebooks and scripts: its tables as pandas frames, its best architectures, their networks."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from pipeline.configuration import Configuration
from pipeline.errors import UserError
from pipeline.foreign_code import without_foreign_code
from pipeline.run_folder import open_run
from pipeline.run_paths import RunPaths
from pipeline.schemas import TABLES
from pipeline.tables import read_table

if TYPE_CHECKING:
    from torch import nn


TRANSFERS = ("characters", "translation")


@dataclass(frozen=True)
class RankedTrial:
    """A trial that ended well. `metric` is what its reward is made of; `architecture` is what its space returned."""

    trial_id: int
    reward: float
    metric: float
    parameters: int | None
    flops: int | None
    architecture: Any


class Run:
    """A run's folder, read anew by every call, so that it may be one that is going on. `pipeline.load_run` opens it."""

    def __init__(self, paths: RunPaths, configuration: Configuration) -> None:
        self.paths, self.configuration = paths, configuration

    def __repr__(self) -> str:
        return f"Run({str(self.folder)!r}, experiment={self.configuration.experiment!r})"

    @property
    def folder(self) -> Path:
        return self.paths.folder

    @property
    def control(self) -> "Run | None":
        """The control experiment's run, or None where none was begun."""
        return Run(*open_run(self.paths.control.folder)) if self.paths.control.config.exists() else None

    def samples(self) -> pd.DataFrame:
        """Architectures drawn, in order of trial_id; README has the columns of each table."""
        return self.table("samples")

    def results(self) -> pd.DataFrame:
        """Children that ended, in order of trial_id."""
        return self.table("results")

    def epochs(self) -> pd.DataFrame:
        """Epochs of children, in order of trial_id and epoch."""
        return self.table("epochs")

    def updates(self) -> pd.DataFrame:
        """Steps of the controller, in order."""
        return self.table("updates")

    def final(self) -> pd.DataFrame:
        """Trainings of the final stage and its test, in order of their numbers; empty before `wavenas final`."""
        return self.table("final")

    def ablations(self) -> pd.DataFrame:
        """Trainings of the network found and of its variants; empty before `wavenas ablate`."""
        return self.table("ablations")

    def transfers(self, task: str) -> pd.DataFrame:
        """Trainings of cells at a task, characters or translation; empty before `wavenas transfer`."""
        if task not in TRANSFERS:
            raise ValueError(f"task {task!r}: allowed are {', '.join(TRANSFERS)}")
        return self.table(f"transfer_{task}")

    def table(self, name: str) -> pd.DataFrame:
        """A table by its name, with all its columns even before it has a row. Raises ValueError for other names.

        Names of states, workers and devices are categorical, times are in UTC, whole numbers that are missing in some
        rows are Int64, and tokens are arrays.
        """
        if name not in TABLES:
            raise ValueError(f"table {name!r}: allowed are {', '.join(TABLES)}")
        return read_table(self.paths, name).to_pandas()

    def best(self, n: int = 1) -> list[RankedTrial]:
        """The `n` trials of the highest rewards, best first, each architecture once; fewer where there are fewer."""
        from pipeline.summary import summarise

        ranked = summarise(self.paths).ranked[:n]
        columns = ("trial_id", "reward", "metric", "parameters", "flops")
        return [
            RankedTrial(**{name: row[name] for name in columns}, architecture=self.architecture(row["trial_id"]))
            for row in ranked
        ]

    def architecture(self, trial_id: int) -> Any:
        """The architecture of a trial as its space returned it. Raises UserError where there is no such trial."""
        from pipeline.networks import drawn_architecture

        return drawn_architecture(self.paths, self.configuration, trial_id)

    def build(self, trial_id: int | None = None, *, training: int | None = None) -> "nn.Module":
        """The network of a trial, of the best where none is named, with the weights that its training begins with.

        With `training`, a number of table `final`, that of a long training, with the weights that it kept. Raises
        UserError where there is no such trial or training, or where the run's task is not one of this project's.
        """
        from pipeline.networks import best_trial, build_child
        from pipeline.trained import trained_network, training_row

        if training is not None:
            if trial_id is not None:
                raise ValueError("a trial and a training are two networks: name one of them")
            row, _ = training_row(self.paths, training)
            return trained_network(self.paths, self.configuration, row)[1]
        chosen = best_trial(self.paths) if trial_id is None else trial_id
        return build_child(self.paths, self.configuration, chosen)

    def export(
        self,
        folder: str | Path,
        *,
        trial_id: int | None = None,
        train: bool = False,
        weights: str | Path | None = None,
        training: int | None = None,
        final: bool = False,
    ) -> list[Path]:
        """Write a network into a new folder, as `wavenas export` does; the files written.

        It is that of a trial, of the best where none is named, or with `training` or `final` one of the final stage.
        Raises UserError.
        """
        from pipeline.export_run import export_training, export_trial

        of_trial = trial_id is not None or train or weights is not None
        if of_trial + (training is not None) + final > 1:
            raise ValueError("a trial (trial_id, train, weights), training and final do not go together")
        if final or training is not None:
            return export_training(self.paths, self.configuration, Path(folder), training)
        file = None if weights is None else Path(weights)
        return export_trial(self.paths, self.configuration, Path(folder), trial_id=trial_id, weights=file, train=train)

    def summary(self) -> str:
        """What was found, in words."""
        from pipeline.summary import summary_text

        return summary_text(self.paths, without_foreign_code(self.configuration))

    def report(self) -> list[Path]:
        """Write the report, which replaces an earlier one; its files."""
        from pipeline.report import write_report
        from pipeline.trust import with_trusted_code

        return write_report(self.paths, with_trusted_code(self.paths, self.configuration))


def read_comparison(folder: Path) -> pd.DataFrame:
    """The table of a comparison. Raises UserError where there is none."""
    path = folder / "comparison.parquet"
    if not path.is_file():
        raise UserError(f"{folder}: no comparison there that has ended, as `wavenas compare` leaves one")
    return pd.read_parquet(path)
