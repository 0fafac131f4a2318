"""Trainings after a search: futures on the cluster whose results are durable rows of a table in the run folder.

A training is known by what it is made of. One that has a row is not run again, so a stage that was interrupted goes on
when its command is typed again.
"""

import hashlib
import itertools
import json
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from rich.console import Console

from cluster.open import open_cluster
from pipeline.children import Children
from pipeline.configuration import Configuration
from pipeline.console import say
from pipeline.errors import UserError
from pipeline.files import remove_leftovers, write_atomically
from pipeline.interruption import in_good_order
from pipeline.progress import format_seconds, log, log_to
from pipeline.provenance import check_changes
from pipeline.rows import Row, microseconds, result_row
from pipeline.run_folder import driver_lock
from pipeline.run_paths import RunPaths
from pipeline.schemas import OUTCOME, epochs_of
from pipeline.submit import Tasks
from pipeline.tables import Tables, read_table
from tasks.child_checkpoint import EACH_EPOCH
from tasks.records import COUNTED, Trial, TrialResult
from tasks.sealed import unseal


@dataclass(frozen=True)
class Planned:
    """A training to be run: its name for people, the stage's own columns of its row, and what a worker is given.

    Paths in the trial need not be set, but for that of the data.
    """

    name: str
    trial: Trial
    columns: Row = field(default_factory=dict)
    keep_weights: bool = False

    @cached_property
    def fingerprint(self) -> str:
        """16 hex digits for what the training is made of, wherever its data lie and whatever its number."""
        made_of: dict[str, Any] = asdict(self.trial)
        for place in ("trial_id", "data_path", "checkpoint_path", "weights_path"):
            del made_of[place]
        del made_of["data"]["folder"]
        text = json.dumps([self.columns, made_of], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]


class Study:
    """One stage of one run, with the rows of its table; `open_study` makes it. It opens a cluster once it needs one."""

    def __init__(
        self, paths: RunPaths, configuration: Configuration, stage: str, console: Console, resources: ExitStack
    ) -> None:
        self.paths, self.configuration, self.stage = paths, configuration, stage
        self._console, self._resources = console, resources
        shutil.rmtree(paths.test_split, ignore_errors=True)  # a kill may have left it
        self._tables = Tables(paths, stage)
        resources.callback(self._tables.close)
        self._tables.reopen({stage: 0, epochs_of(stage): 0})  # what failed may be trained again
        self._tables.commit()  # what a kill left in the journal alone
        self._rows = {row["training"]: row for row in read_table(paths, stage).to_pylist()}
        for row in self._rows.values():
            trained_again = row["weights"] and not (paths.folder / row["weights"]).exists()
            if row["status"] in COUNTED and not trained_again:  # a kill came before its checkpoint was deleted
                paths.training_checkpoint(row["fingerprint"]).unlink(missing_ok=True)

    @property
    def rows(self) -> list[Row]:
        """Every row of the table, in order of its number."""
        return [self._rows[number] for number in sorted(self._rows)]

    def train(self, planned: Sequence[Planned], retry: bool = False, again: bool = False) -> list[Row]:
        """The rows of trainings, in their order; those that have none yet are run, with `retry` failed ones too.

        With `again` all are run, whether they have a row or not.
        """
        known = {} if again else {row["fingerprint"]: row for row in self.rows}
        if retry:
            known = {key: row for key, row in known.items() if row["status"] in COUNTED}
        waiting = {training.fingerprint: training for training in planned if training.fingerprint not in known}
        if waiting:
            with self._console.status(""):
                known |= self._run(waiting)
        return [known[training.fingerprint] for training in planned]

    def with_weights(self, training: Planned, row: Row) -> tuple[Trial, Row]:
        """A training's trial with the place of its weights, and its row: trained again where they are not whole."""
        weights = self.paths.weights(training.fingerprint)
        try:
            unseal(weights.read_bytes())
        except (OSError, ValueError):
            self.say(f"The weights of training {row['training']} are gone or damaged: it is trained again.")
            weights.unlink(missing_ok=True)
            (row,) = self.train([training], again=True)
            if row["status"] != "ok":
                reason = (row["error"] or row["status"]).strip().splitlines()[-1]
                raise RuntimeError(f"training {row['training']} did not end well this time: {reason}") from None
        return replace(training.trial, weights_path=str(weights.resolve())), row

    def record(self, row: Row) -> None:
        """Make a row durable, in place of an earlier one of its number."""
        row = {name: microseconds(value) for name, value in row.items()}
        self._tables.append({self.stage: [row]})
        self._rows[row["training"]] = row

    def next_number(self) -> int:
        """The lowest number without a row."""
        return next(number for number in itertools.count() if number not in self._rows)

    def call(self, name: str, function: Callable[[Any], Any], argument: Any) -> Any:
        """What a function returns that is run on the cluster."""
        return self._tasks.run(f"{name}-{self._key}", function, argument)

    def conclude(self, text: str) -> None:
        """Keep what came of the stage in the folder of the report, and tell the user."""
        self.paths.report.mkdir(exist_ok=True)
        write_atomically(self.paths.report / f"{self.stage}.txt", (text + "\n").encode())
        self.say(text)

    def say(self, line: str) -> None:
        """Tell the user, and the log."""
        log.info("%s", line)
        say(self._console, line)

    def finish(self) -> None:
        """Let readers see every row, and make the run's report again."""
        from pipeline.report import remake_report  # draws, which takes a while to load

        self._tables.commit()
        for folder in (self.paths.children, self.paths.kept_weights):
            remove_leftovers(folder)
        remake_report(self.paths)

    @property
    def _key(self) -> str:
        """Tells this stage's tasks from those of others on the same scheduler."""
        return hashlib.sha256(f"{self.paths.folder.resolve()}/{self.stage}".encode()).hexdigest()[:8]

    @cached_property
    def _tasks(self) -> Tasks:
        settings = self.configuration
        opened = open_cluster(settings.cluster, settings.child.threads, self.paths.workers)
        cluster = self._resources.enter_context(opened)
        self.say(f"{cluster.description}; dashboard at {cluster.client.dashboard_link}")
        return Tasks(cluster.client, cluster.check)

    @cached_property
    def _children(self) -> Children:
        """They take as long as they take; the task itself looks at a trial's own time."""
        settings = self.configuration
        return Children(self._tasks, self._key, replace(settings.child, timeout_minutes=None), settings.retries)

    def _run(self, waiting: dict[str, Planned]) -> dict[str, Row]:
        """Rows by fingerprint. Numbers are the lowest that are free, as they would be without an interruption."""
        free = (number for number in itertools.count() if number not in self._rows)
        before = {row["fingerprint"]: number for number, row in self._rows.items()}  # of trainings to be run again
        under_way = {before[key] if key in before else next(free): training for key, training in waiting.items()}
        self._children.train([self._placed(number, training) for number, training in under_way.items()])
        rows: dict[str, Row] = {}
        started = time.monotonic()
        while len(rows) < len(waiting):
            for result in self._children.take(self._tasks.wait()):
                row = self._take_in(under_way[result.trial_id], result)
                rows[row["fingerprint"]] = row
                self._tell(row, len(rows), len(waiting), time.monotonic() - started)
        return rows

    def _placed(self, number: int, training: Planned) -> Trial:
        """The trial under the number of its training, with its places in the run folder, kept after each epoch."""
        checkpoint, weights = (
            str(place(training.fingerprint).resolve())
            for place in (self.paths.training_checkpoint, self.paths.unfinished_weights)
        )
        return replace(
            training.trial,
            trial_id=number,
            child=replace(training.trial.child, checkpoint_minutes=EACH_EPOCH),
            checkpoint_path=checkpoint,
            weights_path=weights if training.keep_weights else None,
        )

    def _take_in(self, training: Planned, result: TrialResult) -> Row:
        """Make the row and the epochs of a training durable, and drop its checkpoint unless it may be trained on."""
        number, kept, ended = result.trial_id, self.paths.weights(training.fingerprint), result_row(result, 0)
        if result.status == "ok" and (unfinished := self.paths.unfinished_weights(training.fingerprint)).exists():
            unfinished.replace(kept)
        row = {
            **{name: ended[name] for name, _, _ in OUTCOME},
            "training": number, "fingerprint": training.fingerprint, "name": training.name, **training.columns,
            "weights": str(kept.relative_to(self.paths.folder)) if kept.exists() else None,
            "trial_id": training.trial.trial_id,
        }  # fmt: skip
        epochs = result.training.epochs if result.training else ()
        epoch_rows = [{"training": number, **asdict(epoch)} for epoch in epochs]
        self._tables.append({self.stage: [row], epochs_of(self.stage): epoch_rows})
        self._rows[number] = row
        if row["status"] in (*COUNTED, "timed_out"):  # the latter has no time left
            self.paths.training_checkpoint(training.fingerprint).unlink(missing_ok=True)
        return row

    def _tell(self, row: Row, count: int, total: int, seconds: float) -> None:
        metric = f"metric {row['metric']:.6g}" if row["status"] == "ok" else row["status"]
        left = f"; {format_seconds(seconds / count * (total - count))} left" if count < total else ""
        self.say(f"{self.stage}, {count} of {total}: {row['name']}: {metric}, {format_seconds(row['seconds'])}{left}")
        if row["error"]:
            log.warning("training %d: %s", row["training"], row["error"].strip())


@contextmanager
def open_study(
    paths: RunPaths, configuration: Configuration, stage: str, console: Console, data_path: Path | None = None
) -> Iterator[Study]:
    """Hold the run folder for a stage, and make its report again in the end.

    `data_path` has the data of the run where the stage trains on them too. Raises UserError where another driver holds
    it, and for code, packages or data that are not those of the run.
    """
    with ExitStack() as resources:
        for context in (driver_lock(paths), log_to(paths), in_good_order()):
            resources.enter_context(context)
        if paths.config.exists():  # a transfer may be to any folder
            check_changes(paths, accept=False, data_path=data_path)
        study = Study(paths, configuration, stage, console, resources)
        try:
            yield study
            study.finish()
        except KeyboardInterrupt:
            log.warning("%s interrupted", stage)
            raise
        except UserError:
            raise
        except Exception:
            log.exception("%s failed; what ended is kept, and the same command goes on", stage)
            raise
