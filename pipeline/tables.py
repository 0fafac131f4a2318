"""The tables of a run: durable row by row, and readable as Parquet at any moment.

A row is first a line of the journal, flushed to the disk. The rows since the last commit and those of the newest
part of a table are written to that part as a whole, aside and renamed, so that a reader sees each row once. A part
that has grown long enough is left as it is and the next one begun: the cost of a commit does not grow with the run.
"""

import json
import os
import time
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq

from pipeline.errors import UserError
from pipeline.files import sync_folder, write_atomically
from pipeline.rows import Row
from pipeline.run_paths import RunPaths
from pipeline.schemas import SEARCH_TABLES, TABLES, TableSchema, stage_tables

PART_ROWS = 1_024  # a part of this many rows is closed at the next commit
JOURNAL_ROWS = 1_024  # of so many rows, the journal is emptied at the next commit
PUBLISH_SHARE = 0.05  # of the time may go into rewriting parts while a wave is under way


class Tables:
    """Tables of one run folder, for its one driver: a search's, or a stage's. `append` is durable when it returns."""

    def __init__(self, paths: RunPaths, stage: str | None = None) -> None:
        names = SEARCH_TABLES if stage is None else stage_tables(stage)
        self._parts = {name: _OpenPart(paths.table(name), TABLES[name]) for name in names}
        self._journal = _Journal(paths.journal if stage is None else paths.stage_journal(stage))
        for rows in self._journal.read():
            self._put(rows)
        self._publish_not_before = 0.0

    def append(self, rows: Mapping[str, Sequence[Row]]) -> None:
        """Add rows to tables by name, all or none of them; a row of a known key replaces the earlier one."""
        self._journal.append(rows)
        self._put(rows)
        if time.monotonic() >= self._publish_not_before:
            self.publish()

    def publish(self) -> None:
        """Write every row so far to Parquet."""
        started = time.monotonic()
        for part in self._parts.values():
            part.write()
        cost = time.monotonic() - started
        self._publish_not_before = time.monotonic() + cost / PUBLISH_SHARE

    def commit_when_due(self) -> None:
        """Commit if Parquet is to be written anyhow, or the journal has become long."""
        if time.monotonic() >= self._publish_not_before or self._journal.num_rows >= JOURNAL_ROWS:
            self.commit()

    def commit(self) -> None:
        """Publish, empty the journal, and close the parts that have grown long enough.

        To be called when a checkpoint stands on all the rows, since rows of closed parts cannot be replaced any more.
        """
        self.publish()
        self._journal.clear()
        for part in self._parts.values():
            part.close_if_long()

    def recent(self, name: str) -> list[Row]:
        """The rows of a table's newest part, in order of their key: at least all those since the last commit."""
        return self._parts[name].sorted_rows()

    def close(self) -> None:
        self.publish()
        self._journal.close()

    def _put(self, rows: Mapping[str, Sequence[Row]]) -> None:
        for name, table_rows in rows.items():
            self._parts[name].put(table_rows)


def read_table(paths: RunPaths, name: str, columns: Sequence[str] | None = None) -> pa.Table:
    """A table as published, in order of its key; empty where nothing has been written."""
    schema = TABLES[name]
    wanted = list(columns) if columns is not None else schema.arrow.names
    folder = paths.table(name)
    if not folder.is_dir():
        return schema.arrow.empty_table().select(wanted)
    try:
        table = ds.dataset(folder, schema=schema.arrow, format="parquet").to_table()
    except (pa.ArrowInvalid, OSError) as error:
        raise UserError(f"{folder}: cannot be read as Parquet: {error}") from error
    return table.sort_by([(key, "ascending") for key in schema.key]).select(wanted)


class _OpenPart:
    """The newest part of a table, with its rows in memory."""

    def __init__(self, folder: Path, schema: TableSchema) -> None:
        self._folder, self._schema = folder, schema
        folder.mkdir(parents=True, exist_ok=True)
        parts = sorted(folder.glob("part-*.parquet"))
        self._number = int(parts[-1].stem.removeprefix("part-")) if parts else 0
        self._rows: dict[tuple[Any, ...], Row] = {}
        self._changed = False
        if parts:
            self.put(_read_part(parts[-1], schema))
        self._changed = not parts  # a table without rows is published too, for its columns

    def put(self, rows: Sequence[Row]) -> None:
        for row in rows:
            self._rows[tuple(row[key] for key in self._schema.key)] = row
        self._changed = self._changed or bool(rows)

    def sorted_rows(self) -> list[Row]:
        return [self._rows[key] for key in sorted(self._rows)]

    def write(self) -> None:
        if not self._changed:
            return
        sink = pa.BufferOutputStream()
        pq.write_table(pa.Table.from_pylist(self.sorted_rows(), schema=self._schema.arrow), sink, compression="zstd")
        write_atomically(self._folder / f"part-{self._number:06d}.parquet", sink.getvalue().to_pybytes())
        self._changed = False

    def close_if_long(self) -> None:
        if len(self._rows) >= PART_ROWS:
            self._number, self._rows = self._number + 1, {}


def _read_part(path: Path, schema: TableSchema) -> list[Row]:
    try:
        return pq.read_table(path, schema=schema.arrow, partitioning=None).to_pylist()  # type: ignore[no-any-return]
    except (pa.ArrowInvalid, OSError) as error:
        raise UserError(f"{path}: cannot be read as Parquet: {error}") from error


class _Journal:
    """Lines of a checksum and the rows of some tables as JSON. Only the last line can be torn, by a crash."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.num_rows = 0
        self._file = path.open("ab")
        sync_folder(path.parent)

    def append(self, rows: Mapping[str, Sequence[Row]]) -> None:
        body = json.dumps(rows, separators=(",", ":")).encode()
        self._file.write(b"%08x %s\n" % (zlib.crc32(body), body))
        self._file.flush()
        os.fsync(self._file.fileno())
        self.num_rows += sum(map(len, rows.values()))

    def read(self) -> list[dict[str, list[Row]]]:
        """The rows of every whole line; a torn last line is cut off, its rows were never promised."""
        content = self._path.read_bytes()
        lines = content.split(b"\n")
        good = 0
        entries = []
        for number, line in enumerate(lines[:-1], start=1):
            checksum, _, body = line.partition(b" ")
            if checksum != b"%08x" % zlib.crc32(body):
                if number < len(lines) - 1:
                    raise UserError(
                        f"{self._path}, line {number}: the checksum does not match, the file was changed or damaged"
                    )
                break
            entries.append(json.loads(body))
            good += len(line) + 1
        if good < len(content):
            os.truncate(self._path, good)
        return entries

    def clear(self) -> None:
        self._file.truncate(0)
        self.num_rows = 0
        os.fsync(self._file.fileno())

    def close(self) -> None:
        self._file.close()
