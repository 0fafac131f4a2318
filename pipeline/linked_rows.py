"""What ties the tables of a search together: the rows with their keys, waves and steps, and nothing else."""

from collections import Counter
from collections.abc import Iterable

from pipeline.journal import Entry, read_journal
from pipeline.rows import Row
from pipeline.run_paths import RunPaths
from pipeline.schemas import TABLES
from pipeline.tables import part_files, read_part


class LinkedRows:
    """Rows of a search with keys, waves, steps and numbers of epochs; those of the journal replace earlier ones."""

    def __init__(self, paths: RunPaths) -> None:
        self._rows: dict[str, list[Row]] = {}
        journal = read_journal(paths.journal)[0] if paths.journal.exists() else []
        for name, schema in TABLES.items():
            columns = [*schema.key, *(key for key in ("wave", "policy_version", "epochs") if key in schema.arrow.names)]
            parts = [read_part(part, schema, columns).to_pylist() for part in part_files(paths.table(name))]
            newer = {tuple(row[key] for key in schema.key): row for row in _of(journal, name)}
            rows = [row for part in parts for row in part if tuple(row[key] for key in schema.key) not in newer]
            self._rows[name] = [*rows, *newer.values()]

    def of(self, name: str) -> list[Row]:
        return self._rows.get(name, [])

    def trials(self, name: str) -> set[int]:
        return {row["trial_id"] for row in self.of(name)}

    def without_epochs(self) -> set[int]:
        """Trials whose epochs are fewer than their result tells of."""
        counts = Counter(row["trial_id"] for row in self.of("epochs"))
        return {row["trial_id"] for row in self.of("results") if row["epochs"] > counts[row["trial_id"]]}


def _of(journal: Iterable[Entry], name: str) -> list[Row]:
    return [row for entry in journal for row in entry.get(name, [])]
