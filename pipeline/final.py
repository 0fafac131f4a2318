"""The final stage (sections 4.1 and 4.2): a grid over hyperparameters, long trainings of the best, one test."""

import itertools
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rich.console import Console

from pipeline.checks import check_configuration
from pipeline.configuration import Configuration, with_settings
from pipeline.datasets import prepare_data
from pipeline.errors import UserError
from pipeline.held_out import evaluate_once, opened_text, row_of_test
from pipeline.rows import Row
from pipeline.run_commands import resume_command
from pipeline.run_paths import RunPaths
from pipeline.search import is_finished, trial_of
from pipeline.stage_settings import IMAGE_EPOCHS, IMAGE_GRID, LANGUAGE_EPOCHS, LANGUAGE_GRID, Grid
from pipeline.study import Planned, open_study
from pipeline.summary import SearchSummary, architecture_of, metric_text, summarise, test_text
from pipeline.trained import widened
from tasks.records import Trial
from tasks.seeds import derive_seed
from tasks.settings import IMAGE_TASK, LANGUAGE_TASK


def run_final(folder: Path, configuration: Configuration, console: Console, retry: bool = False) -> None:
    """Run the final stage of a finished search, or go on with it.

    Raises UserError where the search is not finished or the settings do not fit it, RuntimeError where no training
    ended well.
    """
    paths = RunPaths(folder)
    stage = FinalStage(configuration, paths, finished_search(paths, configuration))
    stage.check()
    data_path = prepare_data(configuration.data, paths.prepared_data)
    with open_study(paths, configuration, "final", console, data_path) as study:
        if (tested := row_of_test(study.rows)) is not None:
            study.say(f"{opened_text(tested).capitalize()}; it is not opened again.")
        grid = list(stage.grid(data_path))
        best, _ = best_of(grid, study.train(grid, retry))
        trainings = list(stage.long(best, data_path))
        chosen, row = best_of(trainings, study.train(trainings, retry))
        if tested is None:
            evaluate_once(study, chosen, row)
        study.conclude(final_text(configuration, study.rows))


def finished_search(paths: RunPaths, configuration: Configuration) -> SearchSummary:
    """What a search found. Raises UserError where it is not finished, or no child ended well."""
    search = summarise(paths)
    if not is_finished(paths, configuration):
        raise UserError(
            f"{paths.folder}: {search.num_trials} of {configuration.search.samples} children ended; the search has to"
            f" be finished first: {resume_command(paths.folder)}"
        )
    if not search.ranked:
        raise UserError(f"{paths.folder}: no child of the search ended well, so there is no network to go on with")
    return search


def best_of(trainings: Sequence[Planned], rows: Sequence[Row]) -> tuple[Planned, Row]:
    """The training with the best validation metric, the first of equals. Raises RuntimeError where none ended well."""
    ok = [(training, row) for training, row in zip(trainings, rows, strict=True) if row["status"] == "ok"]
    if not ok:
        reason = (rows[0]["error"] or rows[0]["status"]).strip().splitlines()[-1]
        raise RuntimeError(f"none of {len(rows)} trainings ended well; the first: {reason}")
    return max(ok, key=lambda pair: pair[1]["reward"])


@dataclass(frozen=True)
class FinalStage:
    """What is to be trained, from what the search found."""

    configuration: Configuration
    paths: RunPaths
    search: SearchSummary

    @property
    def is_language(self) -> bool:
        return self.configuration.child.task == LANGUAGE_TASK

    def check(self) -> None:
        """Raise UserError for settings that do not fit the experiment."""
        configuration, final = self.configuration, self.configuration.final
        if configuration.child.task not in (IMAGE_TASK, LANGUAGE_TASK):
            raise UserError(
                f"child.task = {configuration.child.task!r}: the final stage is for {IMAGE_TASK} and {LANGUAGE_TASK}"
            )
        if self.is_language and final.more_filters:
            raise UserError(f"final.more_filters = {final.more_filters}: recurrent cells have no filters")
        if not self.is_language and (final.parameters or final.shared_embeddings):
            raise UserError("final.parameters and final.shared_embeddings are for recurrent cells")
        for key in self._grid:
            if key.partition(".")[0] not in ("child", "language") or key == "child.task":
                raise UserError(f"final.grid: {key!r}: allowed are settings of child and of language")
        last = self._settled({key: values[-1] for key, values in self._grid.items()})
        check_configuration(last)
        embedded, shared = last.language.embedding_size, last.language.shared_embeddings
        if embedded and (True in final.shared_embeddings or (shared and final.parameters)):
            raise UserError(
                f"language.embedding_size = {embedded}: shared embeddings have as many units as a layer, so that"
                " final.shared_embeddings = true needs language.embedding_size = none"
            )

    @property
    def _grid(self) -> Grid:
        grid = self.configuration.final.grid
        return grid if grid is not None else LANGUAGE_GRID if self.is_language else IMAGE_GRID

    def grid(self, data_path: Path) -> Iterator[Planned]:
        """Every combination of hyperparameters for each of the best networks, with the schedule of the search."""
        for sample in self.search.ranked[: self.configuration.final.top]:
            values = dict(self._grid)
            if getattr(architecture_of(self.configuration, sample), "learning_rate", None) is not None:
                values.pop("child.learning_rate", None)  # it is the network's own
            for combination in itertools.product(*values.values()):
                settings = dict(zip(values, combination, strict=True))
                yield self._training("grid", self._trial(sample, settings, data_path), settings)

    def long(self, best: Planned, data_path: Path) -> Iterator[Planned]:
        """The best of the grid until convergence.

        A cell is trained in the sizes that are asked for, or else in the search's; of a network for images that found
        comes first, then those with more filters.
        """
        final = self.configuration.final
        sample = next(row for row in self.search.ranked if row["trial_id"] == best.trial.trial_id)
        chosen = {**json.loads(best.columns["settings"]), **self._until_convergence}
        sizes = itertools.product(final.parameters or (None,), final.shared_embeddings or (None,))
        for parameters, shared in sizes:
            asked = {"language.parameters": parameters, "language.shared_embeddings": shared}
            settings = {**chosen, **{key: value for key, value in asked.items() if value is not None}}
            if parameters and self._settled(settings).language.hidden_units:
                settings["language.hidden_units"] = None  # they would go before the parameters
            yield self._training("long", self._trial(sample, settings, data_path), settings)
        for count in final.more_filters:
            trial = self._trial(sample, chosen, data_path)
            yield self._training("long", replace(trial, space=widened(trial.space, count)), chosen, count)

    @property
    def _until_convergence(self) -> dict[str, Any]:
        section, epochs = ("language", LANGUAGE_EPOCHS) if self.is_language else ("child", IMAGE_EPOCHS)
        return {f"{section}.epochs": self.configuration.final.epochs or epochs}

    def _settled(self, settings: Mapping[str, Any]) -> Configuration:
        return with_settings(self.configuration, settings, "final.grid")

    def _trial(self, sample: Row, settings: Mapping[str, Any], data_path: Path) -> Trial:
        """Trained from one seed whatever the settings, for as long as it takes, and however large."""
        configuration = self._settled(settings)
        seed = derive_seed(configuration.search.seed, "final", sample["trial_id"])
        trial = trial_of(configuration, self.paths, data_path, {**sample, "seed": seed})
        child = replace(trial.child, timeout_minutes=None)
        return replace(trial, child=child, max_parameters=None, max_flops=None)

    def _training(self, step: str, trial: Trial, settings: Mapping[str, Any], wider: int = 0) -> Planned:
        told = [f"{key.partition('.')[2]} {_value(value)}" for key, value in settings.items()]
        name = ", ".join([f"trial {trial.trial_id}", *told, *([f"{wider} more filters"] if wider else [])])
        columns = {"step": step, "settings": json.dumps(settings, sort_keys=True), "more_filters": wider}
        return Planned(name, trial, columns, keep_weights=step == "long")


def _value(value: Any) -> str:
    return " and ".join(map(_value, value)) if isinstance(value, list | tuple) else f"{value}".lower()


def final_text(configuration: Configuration, rows: Sequence[Row]) -> str:
    """What came of the final stage, in words."""
    lines = []
    for step, what in (("grid", "Grid search"), ("long", "Trained until convergence")):
        trainings = [row for row in rows if row["step"] == step]
        ok = sorted((row for row in trainings if row["status"] == "ok"), key=lambda row: -row["reward"])
        failed = f", {len(trainings) - len(ok)} not ended well" if len(ok) < len(trainings) else ""
        lines.append(f"{what}: {len(trainings)} training{'s' * (len(trainings) != 1)}{failed}, the best first")
        lines += [f"  {metric_text(configuration, row)}: {row['name']}, {row['parameters']:,} parameters" for row in ok]
    tested = row_of_test(list(rows))
    if tested is None or tested["test_metric"] is None:
        return "\n".join([*lines, "Test: none" if tested is None else f"Test: {opened_text(tested)}"])
    of = f"of training {tested['tested']}, {tested['parameters']:,} parameters"
    return "\n".join([*lines, f"{test_text(configuration, tested['test_metric'])} {of}"])
