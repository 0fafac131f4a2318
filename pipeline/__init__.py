"""What the driver does: configuration, run folders, tables, waves, reports and the command line.

`load_run` is for notebooks and scripts; what it needs is imported when it is called.
"""

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pipeline.run import Run


def load_run(folder: str | Path) -> "Run":
    """The run in a folder, finished or going on. Raises UserError where there is none."""
    from pipeline.run import Run
    from pipeline.run_folder import open_run

    return Run(*open_run(Path(folder)))
