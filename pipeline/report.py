"""The report of a run: plots, and a summary in words."""

import heapq
from collections.abc import Sequence
from pathlib import Path

import matplotlib
import numpy as np

matplotlib.use("Agg")
from matplotlib import pyplot as plt
from matplotlib.axes import Axes

from models.conv_space import ConvArchitecture
from pipeline.configuration import Configuration
from pipeline.draw import draw_architecture
from pipeline.files import write_atomically
from pipeline.run_paths import RunPaths
from pipeline.summary import architecture_of, metric_text, summarise, summary_text
from pipeline.tables import read_table

CONTROLLER, RANDOM, BASELINE = "#0b6e8a", "#c8741a", "#444444"


def write_report(paths: RunPaths, configuration: Configuration) -> list[Path]:
    """Write the report from the tables alone; returns its files. It can be made again at any time."""
    paths.report.mkdir(exist_ok=True)
    written = [paths.report / "summary.txt"]
    write_atomically(written[0], (summary_text(paths, configuration) + "\n").encode())
    search = summarise(paths)
    if not search.ranked:
        return written
    written.append(_plot_rewards(paths, configuration))
    best = search.ranked[0]
    architecture = architecture_of(configuration, best)
    if isinstance(architecture, ConvArchitecture):
        title = f"Best of {search.num_trials}: trial {best['trial_id']}, {metric_text(configuration, best)}"
        written.append(draw_architecture(architecture, title, paths.report / "best_architecture.png"))
    return written


def _plot_rewards(paths: RunPaths, configuration: Configuration) -> Path:
    figure, (over_time, best) = plt.subplots(1, 2, figsize=(11, 4.2), layout="constrained")
    runs: list[tuple[str, RunPaths, str]] = [(configuration.search.policy, paths, CONTROLLER)]
    if summarise(paths.control).rewards:
        runs.append((f"{configuration.search.control} search", paths.control, RANDOM))
    for name, run, colour in runs:
        rewards = np.array(summarise(run).rewards)
        _plot_run(over_time, best, name, rewards, colour)
    updates = read_table(paths, "updates", ["baseline"]).to_pylist()
    starts = np.arange(len(updates)) * configuration.wave_size
    if configuration.search.policy == "controller" and len(updates) > 1:
        over_time.step(
            starts[1:], [row["baseline"] for row in updates][1:], where="post", color=BASELINE, lw=1, label="baseline"
        )
    over_time.set(xlabel="children", ylabel="reward", title="Every child, and the mean of the last 25")
    best.set(xlabel="children", ylabel="reward", title="Mean of the best 5 so far")
    for axes in (over_time, best):
        axes.legend(loc="lower right", frameon=False)
        axes.spines[["top", "right"]].set_visible(False)
    path = paths.report / "rewards.png"
    figure.savefig(path, dpi=130)
    plt.close(figure)
    return path


def _plot_run(over_time: Axes, best: Axes, name: str, rewards: np.ndarray, colour: str) -> None:
    children = np.arange(1, len(rewards) + 1)
    over_time.scatter(children, rewards, s=8, color=colour, alpha=0.35, linewidths=0)
    window = min(25, len(rewards))
    moving = np.convolve(rewards, np.ones(window) / window, mode="valid")
    over_time.plot(children[window - 1 :], moving, color=colour, lw=2, label=name)
    best.plot(children, best_means(rewards.tolist(), 5), color=colour, lw=2, label=name)


def best_means(rewards: Sequence[float], count: int) -> list[float]:
    """After each reward, the mean of the best `count` so far."""
    top: list[float] = []
    means = []
    for reward in rewards:
        if len(top) < count:
            heapq.heappush(top, reward)
        else:
            heapq.heappushpop(top, reward)
        means.append(sum(top) / len(top))
    return means
