"""A run interrupted in the midst of a wave, and damage to it: what verify, repair and resume are tried on."""

import shutil
from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq
import pytest
from conftest import search_table

from pipeline import tables, waves
from pipeline.schemas import TABLES
from pipeline.tables import part_files, write_part

SHORT = ["--samples", "64", "--set", "controller.hidden_units=4"]  # 8 waves
STEPS = 5  # of 8: the run is interrupted in the wave after


def make_runs(folder: Path) -> Path:
    """A search that nothing disturbed, and the same interrupted in the middle of a wave. Not to be changed."""
    rows = [
        {"width": w, "kind": k, "skip": s, "accuracy": w / 9 + s / 7} for w in range(4) for k in "abc" for s in (0, 1)
    ]
    pd.DataFrame(rows).to_parquet(folder / "table.parquet")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tables, "PART_ROWS", 16)
        patch.setattr(tables, "JOURNAL_ROWS", 1)
        search_table(folder / "table.parquet", folder / "reference", *SHORT)
        add = waves.add_results

        def stop(search: object, ended: list[object]) -> list[object]:
            if ended[0][0]["wave"] == STEPS:  # type: ignore[index]
                add(search, ended[:1])  # type: ignore[arg-type]
                raise KeyboardInterrupt
            return add(search, ended)  # type: ignore[arg-type]

        patch.setattr(waves, "add_results", stop)
        search_table(folder / "table.parquet", folder / "run", *SHORT, expected=130)
    return folder


def flip(path: Path, place: int = 1_000) -> None:
    content = bytearray(path.read_bytes())
    content[place] ^= 4
    path.write_bytes(content)


def damaged_copy(runs: Path, folder: Path) -> Path:
    """The interrupted run with a damaged config.json, a bad line in its journal, and rows that nothing holds."""
    shutil.copytree(runs / ".prepared", folder / ".prepared", dirs_exist_ok=True)
    run = Path(shutil.copytree(runs / "run", folder / "run"))
    flip(run / "config.json", 300)
    lines = (run / "journal.jsonl").read_bytes().splitlines(keepends=True)
    (run / "journal.jsonl").write_bytes(b"".join([lines[0][:50] + b"?" + lines[0][51:], *lines[1:]]))
    newest = part_files(run / "samples")[-1]
    rows = [row for row in pq.read_table(newest).to_pylist() if row["wave"] != STEPS]
    write_part(newest, rows, TABLES["samples"])  # so that a result of the wave in `results` is of no sample
    return run


def contents(folder: Path) -> list[bytes]:
    return [path.read_bytes() for path in folder.rglob("*") if path.is_file() and path.name != "run.log"]
