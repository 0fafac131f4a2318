"""Architectures of any space as JSON data and by hash, users' own included."""

import hashlib
import json
from dataclasses import asdict, is_dataclass
from typing import Any


def to_json(architecture: Any) -> Any:
    """An architecture as JSON data: what its `to_json()` gives, a dataclass as a dictionary, else the value itself."""
    if hasattr(architecture, "to_json"):
        return architecture.to_json()
    if is_dataclass(architecture) and not isinstance(architecture, type):
        return asdict(architecture)
    return architecture


def architecture_hash(architecture: Any) -> str:
    """16 hex digits: its `canonical_hash()` where it has one, else a hash of its canonical JSON."""
    if hasattr(architecture, "canonical_hash"):
        return str(architecture.canonical_hash())
    canonical = json.dumps(to_json(architecture), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()[:16]
