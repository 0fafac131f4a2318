"""Damaged files are never deleted: they are moved out of the way, to where a person can look at them."""

from datetime import UTC, datetime
from pathlib import Path

from pipeline.files import sync_folder, writing
from pipeline.run_paths import RunPaths


class SetAside:
    """Moves files of a run into RUN/set-aside/TIME/, under the names they have in the run."""

    def __init__(self, paths: RunPaths) -> None:
        self._paths = paths
        self.folder: Path | None = None  # none before there is something in it

    def move(self, file: Path) -> None:
        """Raises DiskError."""
        self.folder = self.folder or _new_folder(self._paths.set_aside)
        target = self.folder / file.relative_to(self._paths.folder)
        with writing(target):
            target.parent.mkdir(parents=True, exist_ok=True)
            file.rename(target)
            sync_folder(target.parent)
            sync_folder(file.parent)


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
