"""Writing so that a crash at any moment leaves the old file or the new one, whole."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from pipeline.errors import DiskError


def write_atomically(path: Path, content: bytes) -> None:
    """Write aside, flush to the disk, rename into place, flush the folder. Readers ignore names with a leading dot.

    Raises DiskError where the disk is full, or may not be written to; the old file is then as it was.
    """
    aside = path.with_name(f".{path.name}.tmp")
    with writing(path):
        try:
            with aside.open("wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            aside.rename(path)
        except OSError:
            with suppress(OSError):
                aside.unlink(missing_ok=True)  # of use to nobody, and in the way where the disk is full
            raise
        sync_folder(path.parent)


def remove_leftovers(folder: Path) -> None:
    """Remove files that were being written aside when their writer was killed. Nobody may be writing there."""
    for left in folder.glob("*.tmp"):
        left.unlink(missing_ok=True)


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Name the file in what goes wrong. Raises DiskError."""
    try:
        yield
    except OSError as error:
        raise DiskError(f"{path}: cannot be written: {error.strerror or error}") from error


def sync_folder(folder: Path) -> None:
    """Make renames and new names in a folder durable."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
