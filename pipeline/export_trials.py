"""A run's trials as lines of text, a row a trial: what was drawn and what came of it."""

import csv
import io
import json
from collections.abc import Iterator
from datetime import datetime
from itertools import chain
from typing import Any

from pipeline.errors import UserError
from pipeline.rows import Row
from pipeline.run_paths import RunPaths
from pipeline.schemas import RESULTS, SAMPLES
from pipeline.tables import read_table

FORMATS = ("csv", "jsonl")
ADDED = [name for name in RESULTS.arrow.names if name not in SAMPLES.arrow.names]  # columns of results


def trial_lines(paths: RunPaths, form: str) -> Iterator[str]:
    """The trials drawn, in order, as lines of CSV, with a header, or of JSON. Raises UserError for other formats.

    A trial that has not ended lacks the columns of results. Tokens, and in JSON the architecture, are JSON data.
    """
    if form not in FORMATS:
        raise UserError(f"unknown format {form!r}; allowed: {', '.join(FORMATS)}, tensorboard")
    return _csv_lines(_trials(paths)) if form == "csv" else map(_json_line, _trials(paths))


def _trials(paths: RunPaths) -> Iterator[Row]:
    results = read_table(paths, "results", ["trial_id", *ADDED]).to_pylist()
    by_trial = {row["trial_id"]: row for row in results}
    for batch in read_table(paths, "samples").to_batches():
        for sample in batch.to_pylist():
            yield {**sample, **dict.fromkeys(ADDED), **by_trial.get(sample["trial_id"], {})}


def _json_line(row: Row) -> str:
    return json.dumps({**row, "architecture": json.loads(row["architecture"])}, default=_plain, ensure_ascii=False)


def _csv_lines(rows: Iterator[Row]) -> Iterator[str]:
    line = io.StringIO()
    writer = csv.writer(line, lineterminator="")
    for values in chain([[*SAMPLES.arrow.names, *ADDED]], (row.values() for row in rows)):
        writer.writerow([_plain(value) for value in values])
        yield line.getvalue()
        line.seek(0)
        line.truncate()


def _plain(value: Any) -> Any:
    """A value as text holds it: times as ISO 8601, lists as JSON."""
    if isinstance(value, datetime):
        return value.isoformat()
    return json.dumps(value) if isinstance(value, list) else value
