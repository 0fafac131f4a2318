"""The test split, read here alone: by the final stage once in the life of a run (section 4: "computed only once").

A transfer to characters reads a text's again, once for each of its trainings.
"""

import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from pipeline.datasets import Arrays, decode_parquet, digits, load_torchvision, store_arrays
from pipeline.errors import UserError
from pipeline.rows import Row
from pipeline.run_paths import RunPaths
from pipeline.study import Planned, Study
from pipeline.text_files import encode_file, find_split
from tasks.held_out import HeldOut, evaluate_held_out
from tasks.records import Trial
from tasks.settings import DataSettings


def evaluate_once(study: Study, training: Planned, row: Row) -> Row:
    """The row of the test of a training that kept its weights.

    That the split is opened is made durable first. Raises UserError where it was opened before, even if the driver
    died before it could write down what came of it. Where no figure came of it, since it could not be read, no worker
    lived to evaluate or the user interrupted, nobody has seen one, and it may be opened again.
    """
    if (before := row_of_test(study.rows)) is not None:
        raise UserError(f"{study.paths.folder}: {opened_text(before)}; it is not opened twice")
    trial, row = study.with_weights(training, row)
    again = [
        known["training"] for known in study.rows if known["step"] == "test"
    ]  # no figure came of it the first time
    marker = {
        **row, "training": again[0] if again else study.next_number(), "fingerprint": f"test-{training.fingerprint}",
        "name": f"test of training {row['training']}", "step": "test", "tested": row["training"], "status": None,
        "seconds": 0.0, "ended_at": time.time_ns() // 1_000,
    }  # fmt: skip
    study.record(marker)
    started = time.monotonic()
    try:
        loss, metric = _evaluate(study, trial)
    except BaseException as error:
        study.record({**marker, "status": "failed", "error": f"{type(error).__name__}: {error}".rstrip(": ")})
        raise
    tested = {
        **marker, "status": "ok", "test_loss": loss, "test_metric": metric, "seconds": time.monotonic() - started,
    }  # fmt: skip
    study.record(tested)
    return tested


def row_of_test(rows: list[Row]) -> Row | None:
    """The row that tells that the test split was opened, if it was."""
    return next((row for row in rows if row["step"] == "test" and row["status"] != "failed"), None)


def opened_text(row: Row) -> str:
    """When and for what the test split was opened."""
    lost = ", and the driver ended before it could write down the result" if row["status"] is None else ""
    return f"its test split was opened for training {row['tested']}{lost}"


def _evaluate(study: Study, trial: Trial) -> tuple[float, float]:
    with laid_out(study.paths, read_test_split(trial.data, Path(trial.data_path))) as folder:
        return study.call("test", evaluate_held_out, HeldOut(trial, folder))  # type: ignore[no-any-return]


@contextmanager
def laid_out(paths: RunPaths, arrays: Arrays) -> Iterator[str]:
    """A folder that workers can read with the arrays of a split, for as long as they need it."""
    folder = paths.test_split
    shutil.rmtree(folder, ignore_errors=True)
    store_arrays(arrays, folder)
    try:
        yield str(folder.resolve())
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def read_test_split(data: DataSettings, prepared: Path) -> Arrays:
    """The arrays that `tasks.held_out` reads."""
    folder = Path(data.folder or "data")
    if data.dataset == "digits":
        return digits(test=True)
    if data.dataset == "text":
        vocabulary = np.load(prepared / "vocabulary.npy", allow_pickle=False).tolist()
        return {"tokens": encode_file(find_split(folder, "test"), vocabulary, data.symbols)}
    assert data.dataset == "cifar10"
    if (folder / "test.parquet").is_file():
        return decode_parquet(folder / "test.parquet")
    return load_torchvision(folder, test=True)
