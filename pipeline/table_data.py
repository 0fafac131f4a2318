"""A table of networks that have been trained already, as a search space and its rewards."""

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from pandas.api.types import is_float_dtype

from pipeline.errors import UserError
from tasks.settings import DataSettings
from tasks.table_child import row_key


def column_values(path: Path, columns: Sequence[str], reward: str) -> dict[str, list[Any]]:
    """The distinct values of each column, in order. Raises UserError for a file or columns that cannot serve."""
    frame = _read(path, columns, reward)
    return {name: sorted(frame[name].unique().tolist()) for name in columns}


def table_source(settings: DataSettings) -> tuple[str, Callable[[], dict[str, np.ndarray]]]:
    """A fingerprint of the table and its columns, and how to turn it into arrays for `tasks.table_child`."""
    if settings.folder is None or not settings.columns or settings.reward is None:
        raise UserError("experiment table needs --table FILE.parquet, --columns A,B,… and --reward COLUMN")
    path, columns, reward = Path(settings.folder), settings.columns, settings.reward
    frame = _read(path, columns, reward)
    digest = hashlib.sha256(path.read_bytes() + "\0".join([*columns, reward]).encode()).hexdigest()
    return digest[:16], lambda: _arrays(frame, columns, reward)


def _arrays(frame: pd.DataFrame, columns: Sequence[str], reward: str) -> dict[str, np.ndarray]:
    """The keys of the rows and their metrics; rows with the same values count as one with their mean."""
    rows = frame.groupby(list(columns), sort=True, observed=True)[reward].mean().dropna().reset_index()
    keys = [row_key(values) for values in rows[list(columns)].to_dict("records")]
    return {"keys": np.array(keys, dtype=np.str_), "metrics": rows[reward].to_numpy(np.float64)}


def _read(path: Path, columns: Sequence[str], reward: str) -> pd.DataFrame:
    names = [*columns, reward]
    if repeated := sorted({name for name in names if names.count(name) > 1}):
        raise UserError(f"column {', '.join(repeated)} is named twice among --columns and --reward")
    if dotted := [name for name in columns if "." in name]:
        raise UserError(f"{path}: column {', '.join(dotted)}: a name with a dot cannot be chosen by; rename it")
    if not path.is_file():
        raise UserError(f"{path}: no such file; --table takes a Parquet file with a row for each network")
    try:
        known = pq.read_schema(path)
        if missing := [name for name in names if name not in known.names]:
            raise UserError(f"{path}: no column {', '.join(missing)}; it has {', '.join(known.names)}")
        if repeated := [name for name in names if known.names.count(name) > 1]:
            raise UserError(f"{path}: has several columns named {', '.join(repeated)}")
        for name in columns:
            if not _can_be_chosen(kind := known.field(name).type):
                raise UserError(f"{path}: column {name} holds {kind}; chosen are numbers, text, true or false")
        table = pq.read_table(path, columns=names)
        table.validate(full=True)  # text that is not UTF-8 would be found out later
        frame = table.to_pandas()
    except (ValueError, pa.ArrowException, OSError) as error:
        raise UserError(f"{path}: not a Parquet file, or a damaged one ({error})") from error
    if frame.empty:
        raise UserError(f"{path}: has no rows")
    if unclear := [name for name in columns if frame[name].isna().any()]:
        raise UserError(f"{path}: column {', '.join(unclear)} has missing values, which cannot be chosen")
    if endless := [name for name in columns if is_float_dtype(frame[name]) and np.isinf(frame[name]).any()]:
        raise UserError(f"{path}: column {', '.join(endless)} has infinite values, which cannot be chosen")
    if not pd.api.types.is_numeric_dtype(frame[reward]):
        raise UserError(f"{path}: column {reward} holds {frame[reward].dtype}; a reward is a number")
    if np.isinf(frame[reward]).any():
        raise UserError(f"{path}: column {reward} has infinite values; a reward is a finite number")
    return frame


def _can_be_chosen(kind: pa.DataType) -> bool:
    """Whether values of an Arrow type stay what they are in config.json."""
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    names = (
        pa.types.is_integer,
        pa.types.is_floating,
        pa.types.is_boolean,
        pa.types.is_string,
        pa.types.is_large_string,
    )
    return any(is_of(kind) for is_of in names)
