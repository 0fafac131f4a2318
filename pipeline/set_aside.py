"""Damaged files are never deleted: they are kept out of the way, where a person can look at them."""

from datetime import UTC, datetime
from pathlib import Path

from pipeline.files import sync_folder, write_atomically, writing
from pipeline.run_paths import RunPaths


class SetAside:
    """Keeps files of a run in RUN/set-aside/TIME/, under the names they have in the run."""

    def __init__(self, paths: RunPaths) -> None:
        self._paths = paths
        self.folder: Path | None = None  # none before there is something in it

    def move(self, file: Path) -> None:
        """For a file that nothing takes the place of. Raises DiskError."""
        target = self._place(file)
        with writing(target):
            file.rename(target)
            sync_folder(target.parent)
            sync_folder(file.parent)

    def copy(self, file: Path) -> None:
        """For a file that another is about to be renamed over, so that it is there whatever happens meanwhile.

        No link: a journal is written to where it stands. Raises DiskError.
        """
        write_atomically(self._place(file), file.read_bytes())

    def _place(self, file: Path) -> Path:
        self.folder = self.folder or _new_folder(self._paths.set_aside)
        first = target = self.folder / file.relative_to(self._paths.folder)
        number = 1
        while target.exists():  # what took its place is replaced in its turn
            number += 1
            target = first.with_name(f"{first.name}.{number}")
        with writing(target):
            target.parent.mkdir(parents=True, exist_ok=True)
        return target


def _new_folder(parent: Path) -> Path:
    """A folder of this second, or with a number where there is one."""
    name = datetime.now(UTC).strftime("%Y-%m-%dT%H-%M-%SZ")
    number = 1
    while (folder := parent / (name if number == 1 else f"{name}-{number}")).exists():
        number += 1
    with writing(folder):
        folder.mkdir(parents=True)
        sync_folder(parent)
    return folder
