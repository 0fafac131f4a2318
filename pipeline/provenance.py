"""What a run is made with, and whether it goes on with the same."""

import hashlib
import socket
from datetime import UTC, datetime
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from pipeline.configuration import Configuration, from_dict, setting_differences
from pipeline.datasets import DIGESTS
from pipeline.errors import DamagedError, UserError
from pipeline.foreign_code import module_of
from pipeline.run_paths import RunPaths
from pipeline.seals import read_json, write_json
from tasks.packages import package_versions

OURS = ("models", "tasks", "pipeline")  # cluster/ only decides where things run
DECISIVE = ("python", "torch", "numpy", "wavenas")  # packages that numbers come from; others may change at will


def made_with(configuration: Configuration, data_path: Path | None) -> dict[str, Any]:
    """Versions of packages, and digests of our own code by its folder, of a user's by its module, and of the data."""
    named = {module_of(name) for name in (*configuration.space.functions, configuration.child.task)}
    made = {
        "packages": package_versions(),
        "code": {name: code_digest(name) for name in OURS},
        "modules": {name: module_digest(name) for name in sorted(named - set(OURS))},
    }
    return made if data_path is None else {**made, "data": data_digest(data_path)}


def data_digest(folder: Path) -> str:
    """Of prepared arrays: the same wherever the files lie that they were made of."""
    return hashlib.sha256((folder / DIGESTS).read_bytes()).hexdigest()[:16]


def module_digest(name: str) -> str | None:
    """A digest of a module's source file, of all of a package's; none where there is no such module."""
    found = find_spec(name)
    if found is None:
        return None
    if found.submodule_search_locations:
        return _digest_of(Path(next(iter(found.submodule_search_locations))))
    path = Path(found.origin or "")
    return hashlib.sha256(path.read_bytes()).hexdigest()[:16] if path.is_file() else found.origin


def code_digest(package: str) -> str:
    """A digest of the source files of one of our packages."""
    return _digest_of(Path(__file__).parents[1] / package)


def _digest_of(folder: Path) -> str:
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*.py")):
        digest.update(f"{path.relative_to(folder)}\0".encode() + path.read_bytes() + b"\0")
    return digest.hexdigest()[:16]


def check_changes(paths: RunPaths, accept: bool, data_path: Path | None = None) -> list[str]:
    """The differences from what the run was last made with, recorded if they are accepted; `data_path` has its data.

    Raises UserError, naming them, where there are some that are not, and where its settings are others than they were.
    """
    history = read_json(paths.changes)["changes"] if paths.changes.exists() else []
    content = read_json(paths.config)
    if other := _other_settings(paths, content):
        raise UserError(f"{paths.config}: not the settings of its copy: {'; '.join(other)}; they stay as they were")
    configuration = from_dict(content["configuration"], str(paths.config))
    made: dict[str, Any] = {name: content[name] for name in ("packages", "code", "modules", "data") if name in content}
    for entry in history:
        made |= entry
    now = made_with(configuration, data_path)
    differences = _differences(made, now)
    if differences and not accept:
        raise UserError(
            f"{paths.folder}: not what this run was made with: {'; '.join(differences)}."
            " Its numbers may come out otherwise;"
            f" `wavenas resume {paths.folder} --accept-changes` goes on all the same, and records that"
        )
    if differences:
        entry = {
            "since": datetime.now(UTC).isoformat(timespec="seconds"), "host": socket.gethostname(),
            "differences": differences, **now,
        }  # fmt: skip
        write_json(paths.changes, {"changes": [*history, entry]})
    return differences


def _other_settings(paths: RunPaths, content: dict[str, Any]) -> list[str]:
    """What config.json says otherwise than its copy, which is left out where it is damaged."""
    try:
        return setting_differences(read_json(paths.config_copy)["configuration"], content["configuration"])
    except (OSError, DamagedError):
        return []


def _differences(before: dict[str, Any], now: dict[str, Any]) -> list[str]:
    """In words: what numbers come from and is another now. What earlier versions did not record is no difference."""
    pairs = [(name, before.get("packages", {}).get(name), now["packages"][name]) for name in DECISIVE]
    pairs += [(f"code in {name}/", before.get("code", {}).get(name), now["code"][name]) for name in OURS]
    if "modules" in before:
        pairs += [(f"module {name}", before["modules"].get(name), digest) for name, digest in now["modules"].items()]
    if "data" in before and "data" in now:
        pairs.append(("the data", before["data"], now["data"]))
    return [f"{name} was {old} and is {new}" for name, old, new in pairs if _cut(name, old) != _cut(name, new)]


def _cut(name: str, version: str | None) -> str | None:
    """Of Python the first two numbers: 3.12.1 computes as 3.12.9 does."""
    return ".".join(version.split(".")[:2]) if name == "python" and version else version
