"""What the driver does: configuration, run folders, tables, waves, reports and the command line.

`load_run` and `load_comparison` are for notebooks and scripts; what they need is imported when they are called.
"""

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd

    from pipeline.run import Run


def load_run(folder: str | Path) -> "Run":
    """The run in a folder, finished or going on. Raises UserError where there is none."""
    from pipeline.run import Run
    from pipeline.run_folder import open_run

    return Run(*open_run(Path(folder)))


def load_comparison(folder: str | Path) -> "pd.DataFrame":
    """What `wavenas compare` found: a row for each pair of policies, top and number of models.

    Its columns are policy, other, top, models, seeds, policy_metric, other_metric, difference, low and high; NaN is no
    figure. The searches are runs in the folder. Raises UserError where there is no comparison.
    """
    from pipeline.run import read_comparison

    return read_comparison(Path(folder))
