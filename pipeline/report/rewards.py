"""Rewards over time: every child, moving mean, baseline and best; the control beside the search (Figure 6)."""

import heapq
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes

from pipeline.report.plots import BLUE, GREEN, INK, MANY_POINTS, ORANGE, Plot, legend, new_figure
from pipeline.run_paths import RunPaths
from pipeline.tables import read_table
from tasks.records import COUNTED

WINDOW = 25  # children of the moving mean


@dataclass(frozen=True)
class Rewards:
    """The rewards that count, in order of their trials, and of a controller (trial from which it held, baseline)."""

    name: str
    trials: np.ndarray
    rewards: np.ndarray
    baseline: tuple[tuple[int, float], ...]
    colour: str


def read_rewards(paths: RunPaths, name: str, colour: str) -> Rewards:
    """What a search's tables tell of its rewards."""
    results = read_table(paths, "results", ["trial_id", "wave", "status", "reward"]).to_pylist()
    counted = [row for row in results if row["status"] in COUNTED]
    first = {row["wave"]: row["trial_id"] for row in reversed(results)}  # the lowest trial of a wave
    updates = read_table(paths, "updates", ["wave", "baseline", "entropy"]).to_pylist()
    baseline = [(first[row["wave"]], row["baseline"]) for row in updates if row["wave"] in first]
    learns = any(row["entropy"] is not None for row in updates)
    return Rewards(
        name,
        np.array([row["trial_id"] for row in counted], dtype=np.int64),
        np.array([row["reward"] for row in counted], dtype=np.float64),
        tuple(sorted(baseline[1:])) if learns else (),  # before the first step it is 0
        colour,
    )


def plot_rewards(searches: Sequence[Rewards]) -> Plot:
    """Every reward: a panel for the search, and one beside it for its control."""
    figure = new_figure()
    panels = figure.subplots(1, len(searches), sharey=True, squeeze=False)[0]
    numbers: list[Sequence[object]] = [("search", "trial_id", "reward", "moving_mean", "best_so_far")]
    for axes, search in zip(panels, searches, strict=True):
        means, best = moving_mean(search.rewards), np.maximum.accumulate(search.rewards)
        _draw(axes, search, means, best)
        rows = zip(search.trials.tolist(), search.rewards.tolist(), means.tolist(), best.tolist(), strict=True)
        numbers += [(search.name, *row) for row in rows]
        axes.set(xlabel="trial", title=search.name)
    panels[0].set(ylabel="reward")
    legend(panels[0], loc="lower right")
    caption = f"Every child, the mean of the last {WINDOW}, the best so far and, of a controller, its baseline."
    return Plot("rewards", "Reward over time", caption, figure, numbers)


def _draw(axes: Axes, search: Rewards, means: np.ndarray, best: np.ndarray) -> None:
    pixels = len(search.rewards) > MANY_POINTS
    axes.scatter(
        search.trials,
        search.rewards,
        s=9 if pixels else 18,  # few points are to be seen on dark paper too
        color=search.colour,
        alpha=0.35 if pixels else 0.6,
        linewidths=0,
        rasterized=pixels,
        label="child",
    )
    axes.plot(search.trials, means, color=search.colour, lw=2, label=f"mean of {WINDOW}")
    axes.step(search.trials, best, where="post", color=GREEN, lw=1.4, label="best so far")
    if search.baseline:
        axes.step(*zip(*search.baseline, strict=True), where="post", color=INK, lw=1, ls="--", label="baseline")
    axes.grid(axis="y", alpha=0.25)


def plot_best(searches: Sequence[Rewards]) -> Plot:
    """The mean of the best 5 so far, the search against its control."""
    figure = new_figure(height=2.9)
    axes = figure.subplots()
    numbers: list[Sequence[object]] = [("search", "trial_id", "mean_of_best_5")]
    for search in searches:
        means = best_means(search.rewards.tolist(), 5)
        axes.plot(search.trials, means, color=search.colour, lw=2, label=search.name)
        numbers += [(search.name, trial, mean) for trial, mean in zip(search.trials.tolist(), means, strict=True)]
    axes.set(xlabel="trial", ylabel="reward", title="mean of the best 5 so far")
    axes.grid(axis="y", alpha=0.25)
    legend(axes, loc="lower right")
    return Plot(
        "best", "Mean of the best 5 so far", "What a search is for: the best that it has found.", figure, numbers
    )


def moving_mean(rewards: np.ndarray, window: int = WINDOW) -> np.ndarray:
    """The mean of the last `window` rewards at each, of fewer at the beginning."""
    sums = np.concatenate([[0.0], np.cumsum(rewards)])
    ends = np.arange(1, len(rewards) + 1)
    starts = np.maximum(0, ends - window)
    means: np.ndarray = (sums[ends] - sums[starts]) / (ends - starts)
    return means


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


def searches_of(paths: RunPaths, policy: str, control: str | None) -> list[Rewards]:
    """The search and, where it has begun, its control."""
    searches = [read_rewards(paths, policy, BLUE)]
    if control is not None and paths.control.config.exists():
        searches.append(read_rewards(paths.control, f"{control} search", ORANGE))
    return [search for search in searches if len(search.rewards)]
