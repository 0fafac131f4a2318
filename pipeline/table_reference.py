"""The reference of the tables, docs/tables.md, from their schemas: `python -m pipeline.table_reference`."""

import sys

from pipeline.schemas import SCHEMA_VERSION, TABLES

HEAD = f"""# Tables

Each table of a run is a folder of Parquet files in the run folder, which any reader of Parquet takes as a whole, at any
moment. Schema version {SCHEMA_VERSION}. This page is made from `pipeline/schemas.py` by `make docs/tables.md`.
"""


def table_reference() -> str:
    """Markdown with every table, its key and its columns."""
    parts = [HEAD]
    for schema in TABLES.values():
        key = ", ".join(f"`{name}`" for name in schema.key)
        parts.append(
            f"\n## `{schema.name}`: a row is {schema.row}; key {key}\n\n| column | type | meaning |\n|---|---|---|\n"
        )
        for name, kind, meaning in schema.columns:
            parts.append(f"| `{name}` | {_in_words(str(kind))} | {meaning} |\n")
    return "".join(parts)


def _in_words(kind: str) -> str:
    if kind.startswith("dictionary"):
        return "category"
    return f"list of {kind.split(': ')[1].rstrip('>')}" if kind.startswith("list") else kind


if __name__ == "__main__":
    sys.stdout.write(table_reference())
