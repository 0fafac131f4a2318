"""The tables of a run: durable row by row, and readable as Parquet at any moment.

A row is first a line of the journal, flushed to the disk. The rows since the last commit and those of the newest
part of a table are written to that part as a whole, aside and renamed, so that a reader sees each row once. A part
that has grown long enough is left as it is and the next one begun: the cost of a commit does not grow with the run.
"""

import logging
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.errors import DamagedError, DiskError, UserError
from pipeline.files import sync_folder, write_atomically, writing
from pipeline.journal import Journal
from pipeline.rows import Row
from pipeline.run_paths import RunPaths
from pipeline.schemas import SEARCH_TABLES, TABLES, TableSchema, stage_tables
from pipeline.seals import check_parquet, seal_parquet

log = logging.getLogger("wavenas")
PART_ROWS = 1_024  # a part of this many rows is closed at the next commit
JOURNAL_ROWS = 1_024  # of so many rows, the journal is emptied at the next commit
PUBLISH_SHARE = 0.05  # of the time may go into rewriting parts while a wave is under way


class Tables:
    """Tables of one run folder, for its one driver: a search's, or a stage's. `append` is durable when it returns."""

    def __init__(self, paths: RunPaths, stage: str | None = None) -> None:
        """Raises DamagedError for a file that is not as it was written, DiskError for one that cannot be."""
        names = SEARCH_TABLES if stage is None else stage_tables(stage)
        self._tables = {name: _Table(paths.table(name), TABLES[name]) for name in names}
        self._journal = Journal(paths.journal if stage is None else paths.stage_journal(stage))
        for rows in self._journal.entries:
            self.reopen({name: min(map(self._tables[name].first_key, new)) for name, new in rows.items() if new})
            self._put(rows)
        self._publish_not_before = 0.0

    def reopen(self, first_keys: Mapping[str, int]) -> None:
        """Let rows of tables be asked for and replaced from a first key on, in whatever part they are."""
        for name, first in first_keys.items():
            self._tables[name].reopen(first)

    def append(self, rows: Mapping[str, Sequence[Row]]) -> None:
        """Add rows to tables by name, all or none of them; a row of a known key replaces the earlier one."""
        self._journal.append(rows)
        self._put(rows)
        if time.monotonic() >= self._publish_not_before:
            self.publish()

    def publish(self) -> None:
        """Write every row so far to Parquet."""
        started = time.monotonic()
        for table in self._tables.values():
            table.write()
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
        for table in self._tables.values():
            table.close_if_long()

    def recent(self, name: str) -> list[Row]:
        """Rows of a table in order of their key: at least those since the last commit, and those reopened."""
        return self._tables[name].sorted_rows()

    def close(self) -> None:
        """Publish what can be published; the journal has the rest."""
        try:
            self.publish()
        except DiskError as error:
            log.error("%s; its rows are in the journal", error)
        finally:
            self._journal.close()

    def _put(self, rows: Mapping[str, Sequence[Row]]) -> None:
        for name, table_rows in rows.items():
            self._tables[name].put(table_rows)


def read_table(paths: RunPaths, name: str, columns: Sequence[str] | None = None) -> pa.Table:
    """A table as published, in order of its key; empty where nothing has been written. Raises DamagedError."""
    schema = TABLES[name]
    wanted = list(columns) if columns is not None else schema.arrow.names
    needed = list(dict.fromkeys([*wanted, *schema.key]))
    parts = [read_part(path, schema, needed) for path in part_files(paths.table(name))]
    table = pa.concat_tables([schema.arrow.empty_table().select(needed), *parts])
    return table.sort_by([(key, "ascending") for key in schema.key]).select(wanted)


def part_files(folder: Path) -> list[Path]:
    """The parts of a table, the oldest first."""
    return sorted(folder.glob("part-*.parquet"))


def read_part(path: Path, schema: TableSchema, columns: Sequence[str] | None = None) -> pa.Table:
    """A part with the columns of its schema, and those alone.

    Raises DamagedError, naming the file, and UserError for one of another version, which is nothing to be repaired.
    """
    try:
        file = pq.ParquetFile(pa.BufferReader(check_parquet(path)))
        if not file.schema_arrow.equals(schema.arrow):
            raise UserError(f"{path}: whole, but of another version of WaveNAS: table {schema.name} has other columns")
        # not in threads of Arrow's: one that lets go of Python's bytes while Python ends aborts the process
        table = file.read(columns=columns, use_threads=False)
        table.validate(full=True)
    except (ValueError, pa.ArrowException, OSError) as error:
        raise DamagedError(f"{path}: cannot be read as Parquet: {error}") from error
    return table.select(columns or schema.arrow.names)


def write_part(path: Path, rows: Sequence[Row], schema: TableSchema) -> None:
    """Write a part as a whole, sealed. Raises DiskError."""
    sink = pa.BufferOutputStream()
    pq.write_table(pa.Table.from_pylist(list(rows), schema=schema.arrow), sink, compression="zstd")
    write_atomically(path, seal_parquet(sink.getvalue().to_pybytes()))


class _Part:
    """A part whose rows are in memory, and may be replaced."""

    def __init__(self, path: Path, rows: Mapping[tuple[Any, ...], Row], changed: bool) -> None:
        self.path, self.rows, self.changed, self.reopened = path, dict(rows), changed, False

    @property
    def number(self) -> int:
        return int(self.path.stem.removeprefix("part-"))


class _Table:
    """The newest part of a table, which takes new rows, and earlier ones where rows may be asked for or replaced."""

    def __init__(self, folder: Path, schema: TableSchema) -> None:
        self._folder, self._schema = folder, schema
        with writing(folder):
            folder.mkdir(parents=True, exist_ok=True)
            sync_folder(folder.parent)
        files = part_files(folder)
        # a table without rows is published too, for its columns
        self._newest = self._read(files[-1]) if files else _Part(self._path(0), {}, changed=True)
        self._reopened: list[_Part] = []
        self._closed = {file: self._last_key(file) for file in files[:-1]}

    def reopen(self, first: int) -> None:
        """Take the parts into memory that have rows from a first key on."""
        for file in [file for file, last in self._closed.items() if last >= first]:
            self._reopened.append(self._read(file))
            del self._closed[file]
        self._newest.reopened |= any(key[0] >= first for key in self._newest.rows)

    @property
    def _in_memory(self) -> list[_Part]:
        return [*self._reopened, self._newest]

    def put(self, rows: Sequence[Row]) -> None:
        parts = self._in_memory
        for row in rows:
            key = self._key(row)
            part = next((part for part in parts if key in part.rows), self._newest)
            part.rows[key], part.changed = row, True

    def sorted_rows(self) -> list[Row]:
        rows = {key: row for part in self._in_memory for key, row in part.rows.items()}
        return [rows[key] for key in sorted(rows)]

    def write(self) -> None:
        for part in self._in_memory:
            if part.changed:
                write_part(part.path, [part.rows[key] for key in sorted(part.rows)], self._schema)
                part.changed = False

    def close_if_long(self) -> None:
        if len(self._newest.rows) >= PART_ROWS:
            self._reopened += [self._newest] if self._newest.reopened else []
            self._newest = _Part(self._path(self._newest.number + 1), {}, changed=False)

    def _path(self, number: int) -> Path:
        return self._folder / f"part-{number:06d}.parquet"

    def _read(self, path: Path) -> _Part:
        rows = read_part(path, self._schema).to_pylist()
        return _Part(path, {self._key(row): row for row in rows}, changed=False)

    def first_key(self, row: Row) -> int:
        return int(row[self._schema.key[0]])

    def _last_key(self, path: Path) -> int:
        """The highest first key in a part."""
        first = self._schema.key[0]
        return max(read_part(path, self._schema, [first])[first].to_pylist(), default=-1)

    def _key(self, row: Row) -> tuple[Any, ...]:
        return tuple(row[key] for key in self._schema.key)
