"""A digest after the end of a zip archive, such as torch.save makes: torch.load takes no notice of a changed bit."""

import hashlib
import io
import os
from contextlib import suppress
from pathlib import Path
from typing import Any

DIGEST_BYTES = 32


def write_sealed(place: Path, state: dict[str, Any]) -> None:
    """Write tensors and numbers as torch.save does, but sealed, aside and renamed: two may write the same at once.

    Raises OSError.
    """
    import torch  # the driver reads digests without it

    content = io.BytesIO()
    torch.save(state, content)
    aside = place.with_suffix(f".{os.getpid()}.tmp")
    try:
        with aside.open("wb") as file:
            file.write(seal(content.getvalue()))
            file.flush()
            os.fsync(file.fileno())
        aside.replace(place)
    except OSError:
        with suppress(OSError):
            aside.unlink(missing_ok=True)
        raise


def seal(content: bytes) -> bytes:
    """The content with its digest; torch.load still reads it."""
    return content + hashlib.sha256(content).digest()


def unseal(sealed: bytes) -> bytes:
    """The content as it was sealed. Raises ValueError where a bit of it or of its digest is another."""
    content, digest = sealed[:-DIGEST_BYTES], sealed[-DIGEST_BYTES:]
    if hashlib.sha256(content).digest() != digest:
        raise ValueError("the checksum does not match")
    return content
