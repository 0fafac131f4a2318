"""A digest inside each file of a run, so that no bit of it can change unnoticed.

It lies where readers of the format do not look, so that pandas and torch read a sealed file like any other: before a
Parquet file's footer, after a zip archive's end, in a JSON object under a key of its own. It covers all other bytes.
"""

import hashlib
import json
from pathlib import Path
from typing import Any

from pipeline.errors import DamagedError
from pipeline.files import write_atomically
from tasks.sealed import DIGEST_BYTES, unseal

PARQUET_END = 8  # the footer's length in four bytes, and PAR1
CHANGED = "is not as it was written, a checksum does not match"


def seal_parquet(content: bytes) -> bytes:
    """A Parquet file with a digest between its data and its footer; places in it count from its start, and stay."""
    footer = _footer_start(content)
    return content[:footer] + hashlib.sha256(content).digest() + content[footer:]


def check_parquet(path: Path) -> bytes:
    """The sealed content of a file. Raises DamagedError."""
    content = path.read_bytes()
    footer = _footer_start(content)
    digest = content[max(0, footer - DIGEST_BYTES) : max(0, footer)]
    if hashlib.sha256(content[: footer - DIGEST_BYTES] + content[footer:]).digest() != digest:
        raise DamagedError(f"{path}: {CHANGED}")
    return content


def check_archive(path: Path) -> bytes:
    """The content of a file before it was sealed by `tasks.sealed`. Raises DamagedError."""
    try:
        return unseal(path.read_bytes())
    except ValueError as error:
        raise DamagedError(f"{path}: {CHANGED}") from error


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Write an object for people to read, sealed."""
    write_atomically(path, _sealed_json(content))


def read_json(path: Path) -> dict[str, Any]:
    """The object that was written, without its digest. Raises DamagedError."""
    written = path.read_bytes()
    try:
        content = json.loads(written)
        del content["sha256"]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise DamagedError(f"{path}: not a file that this program wrote, or damaged ({error})") from error
    if _sealed_json(content) != written:
        raise DamagedError(f"{path}: {CHANGED}")
    return content  # type: ignore[no-any-return]


def _sealed_json(content: dict[str, Any]) -> bytes:
    digest = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
    return json.dumps({**content, "sha256": digest}, indent=2).encode() + b"\n"


def _footer_start(content: bytes) -> int:
    """Where a Parquet file's footer begins; below zero in what is no such file."""
    return len(content) - PARQUET_END - int.from_bytes(content[-PARQUET_END:-4], "little")
