"""Rows that ended since the last commit, a line each: durable once a line is written."""

import json
import os
import zlib
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import pyarrow as pa

from pipeline.errors import DamagedError
from pipeline.files import sync_folder, writing
from pipeline.rows import Row
from pipeline.schemas import TABLES

Entry = dict[str, list[Row]]
UNWRITTEN = b"\0\0"  # blocks of the last line that a power cut kept from the disk read as zeros; rows have none


class Journal:
    """Lines of a checksum and the rows of some tables as JSON. Only the last line can be torn, by a crash.

    A torn line lacks its end, or a block; any other mismatch is damage to rows that were promised, and an error.
    """

    def __init__(self, path: Path) -> None:
        """Open it, cutting off a torn last line, whose rows were never promised. Raises DamagedError, DiskError."""
        self.entries, self._length = read_journal(path) if path.exists() else ([], 0)
        self.num_rows = 0
        self._path, self._broken = path, False
        with writing(path):
            self._descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
            os.ftruncate(self._descriptor, self._length)
            sync_folder(path.parent)

    def append(self, rows: Mapping[str, Sequence[Row]]) -> None:
        """Write a line. Raises DiskError where that fails: what was written of it is cut off, and none follows it."""
        assert not self._broken, "a line after one that may be torn"
        line = journal_line(rows)
        with writing(self._path):
            try:
                _write_all(self._descriptor, line)
                os.fsync(self._descriptor)
            except OSError:
                self._broken = True
                with suppress(OSError):
                    os.ftruncate(self._descriptor, self._length)
                raise
        self._length += len(line)
        self.num_rows += sum(map(len, rows.values()))

    def clear(self) -> None:
        with writing(self._path):
            os.ftruncate(self._descriptor, 0)
            os.fsync(self._descriptor)
        self._length = self.num_rows = 0

    def close(self) -> None:
        os.close(self._descriptor)


def read_journal(path: Path) -> tuple[list[Entry], int]:
    """The rows of every whole line, and how many bytes those lines have. Raises DamagedError, naming the line."""
    lines = path.read_bytes().split(b"\n")
    entries: list[Entry] = []
    length = 0
    for number, line in enumerate(lines[:-1], start=1):
        where = f"{path}, line {number}"
        if (body := _body(line)) is None:
            if number == len(lines) - 1 and not lines[-1] and UNWRITTEN in line:
                return entries, length
            raise DamagedError(f"{where}: the checksum does not match, the file was changed or damaged")
        entries.append(_entry(body, where))
        length += len(line) + 1
    if _body(lines[-1][:-1]) is not None:
        raise DamagedError(f"{path}, line {len(lines)}: does not end as it was written")
    return entries, length


def whole_lines(path: Path) -> bytes:
    """The lines whose checksums match, wherever they are."""
    return b"".join(line + b"\n" for line in path.read_bytes().split(b"\n") if _body(line) is not None)


def _body(line: bytes) -> bytes | None:
    """The rows of a line as JSON, where its checksum matches."""
    checksum, _, body = line.partition(b" ")
    return body if checksum == b"%08x" % zlib.crc32(body) else None


def journal_line(rows: Mapping[str, Sequence[Row]]) -> bytes:
    """A line: a checksum and the rows of some tables."""
    body = json.dumps(rows, separators=(",", ":")).encode()
    return b"%08x %s\n" % (zlib.crc32(body), body)


def _entry(body: bytes, where: str) -> Entry:
    """The rows of a line. Raises DamagedError where they are not of our tables."""
    try:
        entry: Entry = json.loads(body)
        for name, rows in entry.items():
            table = pa.Table.from_pylist(rows, schema=TABLES[name].arrow)
            if any(table[key].null_count for key in TABLES[name].key):
                raise ValueError(f"a row of {name} without a key")
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, OverflowError, pa.ArrowException) as error:
        raise DamagedError(f"{where}: not rows of this version's tables ({type(error).__name__}: {error})") from error
    return entry


def _write_all(descriptor: int, content: bytes) -> None:
    """A disk that is nearly full takes a part of what is written, and says so without an error."""
    while content:
        content = content[os.write(descriptor, content) :]
