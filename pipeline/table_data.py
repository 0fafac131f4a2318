"""A table of networks that have been trained already, as a search space and its rewards."""

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.errors import UserError
from tasks.settings import DataSettings


def column_values(path: Path, columns: Sequence[str]) -> dict[str, list[Any]]:
    """The distinct values of each column, in order. Raises UserError for a file or columns that cannot serve."""
    frame = _read(path, columns)
    return {name: sorted(frame[name].unique().tolist()) for name in columns}


def table_source(settings: DataSettings) -> tuple[str, Callable[[], dict[str, np.ndarray]]]:
    """A fingerprint of the table and its columns, and how to turn it into arrays for `tasks.table_child`."""
    if settings.folder is None or not settings.columns or settings.reward is None:
        raise UserError("experiment table needs --table FILE.parquet, --columns A,B,… and --reward COLUMN")
    path, names = Path(settings.folder), [*settings.columns, settings.reward]
    frame = _read(path, names)
    digest = hashlib.sha256(path.read_bytes() + "\0".join(names).encode()).hexdigest()
    return digest[:16], lambda: _arrays(frame, path, settings.columns, settings.reward or "")


def _arrays(frame: pd.DataFrame, path: Path, columns: Sequence[str], reward: str) -> dict[str, np.ndarray]:
    """Rows as tokens, and their metrics; rows with the same values count as one with their mean."""
    if not pd.api.types.is_numeric_dtype(frame[reward]):
        raise UserError(f"{path}: column {reward} holds {frame[reward].dtype}; a reward is a number")
    rows = frame.groupby(list(columns), sort=True, observed=True)[reward].mean().dropna().reset_index()
    tokens = [pd.Categorical(rows[name], categories=sorted(frame[name].unique().tolist())).codes for name in columns]
    return {"tokens": np.stack(tokens, axis=1).astype(np.int64), "metrics": rows[reward].to_numpy(np.float64)}


def _read(path: Path, names: Sequence[str]) -> pd.DataFrame:
    if not path.is_file():
        raise UserError(f"{path}: no such file; --table takes a Parquet file with a row for each network")
    try:
        known = pq.read_schema(path).names
        if missing := [name for name in names if name not in known]:
            raise UserError(f"{path}: no column {', '.join(missing)}; it has {', '.join(known)}")
        frame = pq.read_table(path, columns=list(names)).to_pandas()
    except (pa.ArrowInvalid, OSError) as error:
        raise UserError(f"{path}: not a Parquet file, or a damaged one ({error})") from error
    for name in names[:-1] if len(names) > 1 else names:
        if frame[name].isna().any():
            raise UserError(f"{path}: column {name} has missing values, which cannot be chosen")
    if frame.empty:
        raise UserError(f"{path}: has no rows")
    return frame
