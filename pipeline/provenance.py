"""What a run is made with, and whether it goes on with the same."""

import hashlib
import socket
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pipeline.errors import UserError
from pipeline.run_paths import RunPaths
from pipeline.seals import read_json, write_json
from tasks.packages import package_versions

OURS = ("models", "tasks", "pipeline")  # cluster/ only decides where things run
DECISIVE = ("python", "torch", "numpy", "wavenas")  # packages that numbers come from; others may change at will


def made_with() -> dict[str, dict[str, str]]:
    """Versions of packages, and a digest of our own code by its folder."""
    return {"packages": package_versions(), "code": {name: code_digest(name) for name in OURS}}


def code_digest(package: str) -> str:
    """A digest of the source files of one of our packages."""
    folder = Path(__file__).parents[1] / package
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*.py")):
        digest.update(f"{path.relative_to(folder)}\0".encode() + path.read_bytes() + b"\0")
    return digest.hexdigest()[:16]


def check_changes(paths: RunPaths, accept: bool) -> list[str]:
    """The differences from what the run was last made with, recorded if they are accepted.

    Raises UserError, naming them, where there are some that are not.
    """
    history = read_json(paths.changes)["changes"] if paths.changes.exists() else []
    now = made_with()
    before = history[-1] if history else read_json(paths.config)
    differences = _differences(before, now)
    if differences and not accept:
        raise UserError(
            f"{paths.folder}: not what this run was made with: {'; '.join(differences)}."
            " Its numbers may come out otherwise; --accept-changes goes on all the same, and records that"
        )
    if differences:
        entry = {
            "since": datetime.now(UTC).isoformat(timespec="seconds"), "host": socket.gethostname(),
            "differences": differences, **now,
        }  # fmt: skip
        write_json(paths.changes, {"changes": [*history, entry]})
    return differences


def _differences(before: dict[str, Any], now: dict[str, dict[str, str]]) -> list[str]:
    """In words: what numbers come from and is another now."""
    pairs = [(name, before["packages"].get(name), now["packages"][name]) for name in DECISIVE]
    pairs += [(f"code in {name}/", before["code"].get(name), now["code"][name]) for name in OURS]
    return [f"{name} was {old} and is {new}" for name, old, new in pairs if _cut(name, old) != _cut(name, new)]


def _cut(name: str, version: str | None) -> str | None:
    """Of Python the first two numbers: 3.12.1 computes as 3.12.9 does."""
    return ".".join(version.split(".")[:2]) if name == "python" and version else version
