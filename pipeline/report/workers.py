"""What the workers did: when each was busy, and what it cost."""

from collections import Counter, defaultdict
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import PolyCollection

from pipeline.report.plots import BLUE, MANY_POINTS, ORANGE, PAPER, Plot, new_figure
from pipeline.rows import Row
from tasks.records import COUNTED

MANY_WORKERS = 40  # more of them have no line each


def plot_workers(results: Sequence[Row]) -> Plot | None:
    """A line for each worker with its children, and how many were busy at a time; rows are of `results`."""
    rows = [row for row in results if row["seconds"] > 0]
    if not rows:
        return None
    ends = np.array([row["ended_at"].timestamp() for row in rows])
    starts = ends - [row["seconds"] for row in rows]
    begun = starts.min()
    unit, name = (3600.0, "hours") if ends.max() - begun > 7200 else (60.0, "minutes")
    starts, ends = (starts - begun) / unit, (ends - begun) / unit
    workers = list(dict.fromkeys(row["worker"] for row in sorted(rows, key=lambda row: row["ended_at"])))
    lines = len(workers) <= MANY_WORKERS
    height = 0.16 * len(workers) + 0.5 if lines else 0.0
    figure = new_figure(height=2.2 + height)
    if lines:
        timeline, busy = figure.subplots(2, 1, sharex=True, gridspec_kw={"height_ratios": [height, 1.7]})
        _draw_lines(timeline, rows, workers, starts, ends)
    else:
        busy = figure.subplots()
    times, counts = busy_at(starts, ends)
    busy.fill_between(times, counts, step="post", color=BLUE, alpha=0.5, lw=0)
    busy.set(xlabel=f"{name} since the first child began", ylabel="busy workers", ylim=(0, None))
    share = float((ends - starts).sum() / _time_of_workers(rows, starts, ends))
    numbers = [("worker", "trial_id", "status", f"start_{name}", f"end_{name}")] + [
        (row["worker"], row["trial_id"], row["status"], start, end)
        for row, start, end in zip(rows, starts.tolist(), ends.tolist(), strict=True)
    ]
    failed = " Orange children failed." if any(row["status"] not in COUNTED for row in rows) else ""
    each = f"{len(workers)} workers took part; each was" if len(workers) > 1 else "One worker took part; it was"
    caption = (
        f"{each} {share:.0%} busy, on average, between the start of its first child and the end of its last. Each block"
        f" is a child.{failed}"
    )
    return Plot("workers", "What the workers did", caption, figure, numbers)


def _time_of_workers(rows: Sequence[Row], starts: np.ndarray, ends: np.ndarray) -> float:
    """The time that workers were there, each from the start of its first child to the end of its last."""
    first: dict[str, float] = {}
    last: dict[str, float] = {}
    for row, start, end in zip(rows, starts.tolist(), ends.tolist(), strict=True):
        first[row["worker"]] = min(start, first.get(row["worker"], start))
        last[row["worker"]] = max(end, last.get(row["worker"], end))
    return sum(last[worker] - first[worker] for worker in first)


def _draw_lines(axes: Axes, rows: Sequence[Row], workers: list[str], starts: np.ndarray, ends: np.ndarray) -> None:
    place = {worker: number for number, worker in enumerate(workers)}
    boxes, colours = [], []
    for row, start, end in zip(rows, starts.tolist(), ends.tolist(), strict=True):
        low, high = place[row["worker"]] - 0.4, place[row["worker"]] + 0.4
        boxes.append([(start, low), (start, high), (end, high), (end, low)])
        colours.append(BLUE if row["status"] in COUNTED else ORANGE)
    pixels = len(rows) > MANY_POINTS
    axes.add_collection(
        PolyCollection(
            boxes, facecolors=colours, edgecolors=PAPER, linewidths=0.0 if pixels else 0.3, rasterized=pixels
        )
    )
    axes.set(xlim=(0, float(ends.max())), ylim=(len(workers) - 0.4, -0.6))
    axes.set_yticks(range(len(workers)), workers if len(workers) <= 16 else [""] * len(workers), fontsize=8)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)


def busy_at(starts: np.ndarray, ends: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(times, children under way from each time on)."""
    times = np.concatenate([ends, starts])  # at one moment, who ends goes first
    changes = np.concatenate([-np.ones_like(ends), np.ones_like(starts)])
    order = np.argsort(times, kind="stable")
    return times[order], np.cumsum(changes[order])


def cost_rows(
    parts: Sequence[tuple[str, Sequence[Row]]], threads: int, children_per_gpu: int
) -> list[tuple[str, str, str, str]]:
    """What each part of a run cost: (part, trainings, hours of what kind of device, those of them on failed ones).

    A part is its name and its rows of `results` or of a stage's table. A training takes so many CPU threads, or a GPU
    that it shares with others. One that failed does not tell its device: it is taken for what the others had.
    """
    lines = []
    devices = [row["device"] for _, rows in parts for row in rows if row["device"] is not None]
    for name, rows in parts:
        usual = next((row["device"] for row in rows if row["device"] is not None), devices[0] if devices else "cpu")
        hours: dict[str, float] = defaultdict(float)
        lost: dict[str, float] = defaultdict(float)
        for row in rows:
            gpu = not (row["device"] or usual).startswith(("cpu", "CPU"))
            kind, times = ("GPU-hours", 1 / children_per_gpu) if gpu else ("core-hours", threads)
            hours[kind] += times * row["seconds"] / 3600
            lost[kind] += times * row["seconds"] / 3600 * (row["status"] not in COUNTED)
        told = " and ".join(f"{value:,.2f} {kind}" for kind, value in hours.items())
        wasted = " and ".join(f"{value:,.2f} {kind}" for kind, value in lost.items() if value) or "none"
        lines.append((name, f"{len(rows):,}", told or "none", wasted))
    return lines


def failure_rows(results: Sequence[Row]) -> list[tuple[str, str, str]]:
    """Each status but ok: (status, how many, what the first of them told last)."""
    counts = Counter(row["status"] for row in results if row["status"] != "ok")
    lines = []
    for status, count in counts.most_common():
        first = next(row for row in results if row["status"] == status)
        last_line = (first["error"] or "").strip().splitlines()[-1:] or [""]
        lines.append((status, f"{count:,}", f"trial {first['trial_id']}: {last_line[0]}" if last_line[0] else ""))
    return lines
