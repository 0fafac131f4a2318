"""The reference of the tables, docs/tables.md, from their schemas: `python -m pipeline.table_reference`."""

import sys

from pipeline.schemas import SCHEMA_VERSION, TABLES

HEAD = f"""# Tables

Each table of a run is a folder of Parquet files in the run folder, which any reader of Parquet takes as a whole, at any
moment. Schema version {SCHEMA_VERSION}. This page is made from `pipeline/schemas.py` by `make docs/tables.md`.

Types are those that pandas reads. `Int64` is a whole number that is missing in some rows, in Parquet an int64.
"""
COMPARISON = (
    ("policy", "string", "policy that is compared with another"),
    ("other", "string", "the other policy"),
    ("top", "int64", "so many of the best different networks are meant"),
    ("models", "int64", "children that each search had trained by then"),
    ("seeds", "int64", "searches of each policy"),
    ("policy_metric", "double", "mean metric of the best `top` networks, over the seeds"),
    ("other_metric", "double", "the same of the other policy"),
    (
        "difference",
        "double",
        "by how much the policy is better, upwards better; missing where a search has too few networks",
    ),
    ("low", "double", "lower end of its 95% interval over the seeds; missing with one seed"),
    ("high", "double", "upper end of it"),
)


def table_reference() -> str:
    """Markdown with every table, its key and its columns."""
    parts = [HEAD]
    for schema in TABLES.values():
        key = ", ".join(f"`{name}`" for name in schema.key)
        parts.append(
            f"\n## `{schema.name}`: a row is {schema.row}; key {key}\n\n| column | type | meaning |\n|---|---|---|\n"
        )
        for name, kind, meaning in schema.columns:
            told = "Int64" if name in schema.sparse else _in_words(str(kind))
            parts.append(f"| `{name}` | {told} | {meaning} |\n")
    parts.append(
        "\n## `comparison.parquet`: a file in the folder of a comparison; a row is a pair of policies at a point\n"
    )
    parts.append("\n| column | type | meaning |\n|---|---|---|\n")
    parts += [f"| `{name}` | {kind} | {meaning} |\n" for name, kind, meaning in COMPARISON]
    return "".join(parts)


def _in_words(kind: str) -> str:
    if kind.startswith("dictionary"):
        return "category"
    return f"list of {kind.split(': ')[1].rstrip('>')}" if kind.startswith("list") else kind


if __name__ == "__main__":
    sys.stdout.write(table_reference())
