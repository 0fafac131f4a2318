"""Figure 6: how much better the best networks of one policy are than those of others, over the models trained."""

from collections.abc import Sequence

import numpy as np
import pyarrow.parquet as pq

from pipeline.report.plots import BLUE, GREEN, MUTED, ORANGE, Plot, legend, new_figure
from pipeline.rows import Row
from pipeline.run_paths import RunPaths

COLOURS = (BLUE, ORANGE, GREEN)


def plot_comparison(rows: Sequence[Row]) -> Plot:
    """A panel for each policy compared with; rows are those of comparison.parquet. Draw it within STYLE."""
    policy, seeds = rows[0]["policy"], rows[0]["seeds"]
    others = list(dict.fromkeys(row["other"] for row in rows))
    tops = list(dict.fromkeys(row["top"] for row in rows))
    figure = new_figure(height=3.6)
    panels = figure.subplots(1, len(others), sharey=True, squeeze=False)[0]
    for axes, other in zip(panels, others, strict=True):
        for top, colour in zip(tops, COLOURS, strict=True):
            line = [row for row in rows if (row["other"], row["top"]) == (other, top)]
            models = [row["models"] for row in line]
            means, lows, highs = (
                np.array([row[name] for row in line], dtype=np.float64)  # missing: NaN
                for name in ("difference", "low", "high")
            )
            axes.plot(models, means, color=colour, lw=2, marker="o", ms=3, label=f"best {top}")
            axes.fill_between(models, lows, highs, color=colour, alpha=0.18, linewidth=0)
        axes.axhline(0, color=MUTED, lw=1, ls="--")
        axes.set(xlabel="models", title=f"{policy} − {other}")
    panels[0].set(ylabel="better by, in the metric")
    legend(panels[0])
    bands = "; bands are 95% intervals over the seeds" if seeds > 1 else "; one seed tells no interval"
    caption = (
        f"By how much the mean metric of the best {', '.join(map(str, tops[:-1]))} and {tops[-1]} different networks"
        f" of the {policy} is better than that of others after so many models,"
        f" {seeds} seed{'s' * (seeds != 1)} each{bands}."
    )
    numbers = [tuple(rows[0]), *(tuple(row.values()) for row in rows)]
    return Plot("comparison", "Improvement over other policies (Figure 6)", caption, figure, numbers)


def comparison_of(paths: RunPaths) -> list[Row]:
    """Rows of the comparison in a run's folder `compared`, or else of that which the run is a search of."""
    for folder in (paths.comparison, paths.folder.resolve().parent):
        table = folder / "comparison.parquet"
        if table.is_file():
            rows: list[Row] = pq.read_table(table).to_pylist()
            return rows
    return []
