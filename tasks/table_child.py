"""A child that is looked up in a table instead of trained."""

import json
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from tasks.records import InvalidArchitecture, Training, Trial


def look_up(architecture: Mapping[str, Any], trial: Trial) -> Training:
    """The metric of an architecture's row. Raises InvalidArchitecture where the table has none."""
    metric = _metrics(trial.data_path).get(row_key(architecture))
    if metric is None:
        row = ", ".join(f"{name} = {value!r}" for name, value in architecture.items())
        raise InvalidArchitecture(f"the table has no row with {row}")
    return Training("ok", metric)


def row_key(row: Mapping[str, Any]) -> str:
    """A row's values by the names of their columns, as text: what the table is looked up by."""
    return json.dumps(dict(row), sort_keys=True)


@lru_cache(maxsize=2)
def _metrics(data_path: str) -> dict[str, float]:
    keys = np.load(Path(data_path) / "keys.npy", allow_pickle=False)
    metrics = np.load(Path(data_path) / "metrics.npy", allow_pickle=False)
    return dict(zip(keys.tolist(), metrics.tolist(), strict=True))
