"""A search of a small table whose children take a while: what faults strike, and what it comes to without."""

from pathlib import Path

from conftest import write_table
from drivers import drive

NUM_CHILDREN = 96


def start_command(folder: Path, table: Path, *more: str) -> list[str | Path]:
    """What starts it."""
    columns = ["--columns", "width,kind,skip", "--reward", "accuracy", "--samples", str(NUM_CHILDREN)]
    task = ["--set", "child.task=fault_tasks:take_a_while"]
    return ["run", "--experiment", "table", "--table", table, *columns, *task, "--run", folder, *more]


def search_undisturbed(folder: Path) -> Path:
    """The run that nothing struck; its table lies beside it as table.parquet."""
    output = folder / "output.txt"
    assert drive(start_command(folder / "run", write_table(folder)), output) == 0, output.read_text()
    return folder / "run"
