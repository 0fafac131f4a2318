import json
import threading
import time
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow.parquet as pq
import pytest

from pipeline.errors import UserError
from pipeline.run_paths import RunPaths
from pipeline.schemas import TABLES
from pipeline.table_reference import table_reference
from pipeline.tables import PART_ROWS, Tables, read_table


def update(number: int, **values: Any) -> dict[str, Any]:
    row = {
        "update": number, "wave": number, "replica": 0, "baseline": 0.1, "mean_reward": 0.5, "best_reward": 0.9,
        "entropy": 3.0, "gradient_norm": 1.0, "num_ok": 8, "num_failed": 0, "policy_version": number + 1,
        "staleness": 0, "seconds": 1.5,
    }  # fmt: skip
    return {**row, **values}


def published(paths: RunPaths) -> pd.DataFrame:
    return pd.read_parquet(paths.table("updates"))


def test_a_row_is_durable_when_append_returns(tmp_path: Path) -> None:
    tables = Tables(RunPaths(tmp_path))
    for number in range(50):
        tables.append({"updates": [update(number)]})
    del tables  # neither published nor closed, as after a kill
    again = Tables(RunPaths(tmp_path))
    assert [row["update"] for row in again.recent("updates")] == list(range(50))


def test_rows_of_several_tables_are_kept_together_or_not_at_all(tmp_path: Path) -> None:
    tables = Tables(RunPaths(tmp_path))
    tables.append({"updates": [update(0)]})
    tables.append({"updates": [update(1)], "samples": []})
    journal = RunPaths(tmp_path).journal
    whole = journal.read_bytes()
    for path in tmp_path.glob("*/part-*.parquet"):
        path.unlink()
    for cut in range(len(whole.splitlines(keepends=True)[0]), len(whole)):
        journal.write_bytes(whole[:cut])
        assert [row["update"] for row in Tables(RunPaths(tmp_path)).recent("updates")] == [0]
        assert journal.read_bytes() == whole.splitlines(keepends=True)[0]


def test_after_a_torn_line_new_rows_are_appended_to_whole_ones(tmp_path: Path) -> None:
    Tables(RunPaths(tmp_path)).append({"updates": [update(0)]})
    with RunPaths(tmp_path).journal.open("ab") as file:
        file.write(b'00000000 {"updates":[{"upd')
    Tables(RunPaths(tmp_path)).append({"updates": [update(1)]})
    assert [row["update"] for row in Tables(RunPaths(tmp_path)).recent("updates")] == [0, 1]


def test_a_damaged_line_before_the_last_is_an_error_that_names_it(tmp_path: Path) -> None:
    tables = Tables(RunPaths(tmp_path))
    tables.append({"updates": [update(0)]})
    tables.append({"updates": [update(1)]})
    journal = RunPaths(tmp_path).journal
    journal.write_bytes(journal.read_bytes().replace(b'"baseline":0.1', b'"baseline":0.7', 1))
    with pytest.raises(UserError, match=r"journal.jsonl, line 1: the checksum does not match"):
        Tables(RunPaths(tmp_path))


def test_a_row_of_a_known_key_replaces_the_earlier_one(tmp_path: Path) -> None:
    tables = Tables(RunPaths(tmp_path))
    tables.append({"updates": [update(0, baseline=0.1), update(1)]})
    tables.commit()
    tables.append({"updates": [update(0, baseline=0.2)]})
    tables.commit()
    assert published(RunPaths(tmp_path)).baseline.tolist() == [0.2, 0.1]


def test_a_table_without_rows_has_its_columns(tmp_path: Path) -> None:
    Tables(RunPaths(tmp_path)).publish()
    assert published(RunPaths(tmp_path)).columns.tolist() == TABLES["updates"].arrow.names


def test_a_commit_empties_the_journal_and_closes_long_parts(tmp_path: Path) -> None:
    paths = RunPaths(tmp_path)
    tables = Tables(paths)
    for start in range(0, 3 * PART_ROWS, 100):
        tables.append({"updates": [update(number) for number in range(start, start + 100)]})
        tables.commit()
        assert paths.journal.stat().st_size == 0
        assert len(tables.recent("updates")) < PART_ROWS
    parts = sorted(paths.table("updates").iterdir())
    assert [pq.read_metadata(part).num_rows for part in parts] == [1_100, 1_100, 900]
    assert published(paths)["update"].tolist() == list(range(3_100))
    assert read_table(paths, "updates", ["update"])["update"].to_pylist() == list(range(3_100))


def test_reopened_tables_go_on_with_the_newest_part(tmp_path: Path) -> None:
    paths = RunPaths(tmp_path)
    for number in range(3):
        tables = Tables(paths)
        tables.append({"updates": [update(number)]})
        tables.close()
    assert [path.name for path in paths.table("updates").iterdir()] == ["part-000000.parquet"]
    assert published(paths)["update"].tolist() == [0, 1, 2]


def test_a_reader_sees_each_row_once_at_any_moment(tmp_path: Path) -> None:
    paths = RunPaths(tmp_path)
    tables = Tables(paths)
    tables.append({"updates": [update(0)]})
    seen: list[list[int]] = []
    done = threading.Event()

    def read() -> None:
        while not done.is_set():
            seen.append(sorted(published(paths)["update"]))

    reader = threading.Thread(target=read)
    reader.start()
    while not seen and reader.is_alive():
        time.sleep(0.01)
    for number in range(1, 300):
        tables.append({"updates": [update(number)]})
        if number % 10 == 0:
            tables.commit()
    tables.commit()
    while len(seen[-1]) < 300 and reader.is_alive():
        time.sleep(0.01)
    done.set()
    reader.join()
    assert len(seen[0]) < len(seen[-1]) == 300
    assert all(rows == list(range(len(rows))) for rows in seen)


def test_files_tell_their_table_version_and_the_meaning_of_each_column(tmp_path: Path) -> None:
    tables = Tables(RunPaths(tmp_path))
    tables.append({"updates": [update(0)]})
    tables.close()
    schema = pq.read_schema(tmp_path / "updates" / "part-000000.parquet")
    assert schema.metadata[b"wavenas.table"] == b"updates" and schema.metadata[b"wavenas.schema_version"] == b"1"
    assert all(schema.field(name).metadata[b"meaning"] for name in schema.names)


def test_a_truncated_part_is_an_error_that_names_it(tmp_path: Path) -> None:
    tables = Tables(RunPaths(tmp_path))
    tables.append({"updates": [update(0)]})
    tables.close()
    part = tmp_path / "updates" / "part-000000.parquet"
    part.write_bytes(part.read_bytes()[:-20])
    with pytest.raises(UserError, match=r"part-000000.parquet: is not as it was written"):
        Tables(RunPaths(tmp_path))
    with pytest.raises(UserError, match=r"part-000000.parquet: is not as it was written"):
        read_table(RunPaths(tmp_path), "updates")


def test_the_reference_of_the_tables_is_up_to_date() -> None:
    written = (Path(__file__).parents[2] / "docs/tables.md").read_text()
    assert written == table_reference(), "write it again: make docs/tables.md"
    for schema in TABLES.values():
        for name, _, meaning in schema.columns:
            assert f"| `{name}` |" in written and len(meaning) > 4


def test_journal_lines_are_json_that_people_can_read(tmp_path: Path) -> None:
    tables = Tables(RunPaths(tmp_path))
    tables.append({"updates": [update(0)]})
    line = RunPaths(tmp_path).journal.read_text()
    assert json.loads(line.partition(" ")[2]) == {"updates": [update(0)]}
