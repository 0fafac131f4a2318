"""What a policy has come to prefer, from the architectures that it drew alone."""

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import QuadMesh

from models.space import Anchor, SearchSpace
from pipeline.report.plots import HEAT, Plot, new_figure
from pipeline.rows import Row

WINDOWS = 20  # columns at most
MOST_OPTIONS = 60  # of a decision that is shown
LONGEST = 24  # characters of an option that are shown
Option = tuple[int, str]  # its place among those of its decision, and its name


@dataclass
class Shares:
    """Of one kind of decision: how often each option was chosen, and could be, in each column of a heat map."""

    chosen: Counter[tuple[Option, int]] = field(default_factory=Counter)  # by option and column
    possible: Counter[tuple[Option, int]] = field(default_factory=Counter)

    @property
    def options(self) -> list[Option]:
        """All that could be chosen anywhere, in order."""
        return sorted({option for option, _ in self.possible})

    def add(self, option: Option, column: int, chosen: bool) -> None:
        self.possible[option, column] += 1
        self.chosen[option, column] += chosen

    def matrix(self, options: Sequence[Option], num_columns: int) -> np.ndarray:
        """Shares (options, columns); NaN where an option could not be chosen."""
        shares = [
            [
                self.chosen[option, column] / self.possible[option, column] if self.possible[option, column] else np.nan
                for column in range(num_columns)
            ]
            for option in options
        ]
        return np.array(shares)


def plot_preferences(space: SearchSpace, samples: Sequence[Row]) -> Plot | None:
    """Heat maps for each kind of decision: share of each option over time, and at each place in the last quarter."""
    num_windows = max(1, min(WINDOWS, len(samples) // 10))
    over_time, by_place = _count(space, samples, num_windows)
    if not over_time:
        return None
    heights = [0.55 + 0.19 * len(shares.options) for shares in over_time.values()]
    figure = new_figure(height=0.6 + sum(heights))
    panels = figure.subplots(
        len(over_time), 2, squeeze=False, gridspec_kw={"height_ratios": heights, "width_ratios": [3, 2]}
    )
    numbers: list[Sequence[object]] = [("decision", "option", "axis", "column", "share")]
    for (left, right), (name, shares) in zip(panels, over_time.items(), strict=True):
        num_places = 1 + max(column for _, column in by_place[name].possible)
        options = shares.options
        image = _heat(left, shares, options, num_windows)
        _heat(right, by_place[name], options, num_places)
        left.set(title=name.replace("_", " "))
        left.set_xticks([0, num_windows], ["first", "last"])
        labels = range(1, num_places + 1) if num_places <= 20 else [""] * num_places
        right.set_xticks(np.arange(num_places) + 0.5, labels, fontsize=8)
        right.set_yticks([])
        for axis, table, count in (("window", shares, num_windows), ("place", by_place[name], num_places)):
            for (_, option), row in zip(options, table.matrix(options, count).tolist(), strict=True):
                numbers += [(name, option, axis, column, share) for column, share in enumerate(row)]
    panels[0][1].set(title="by place, last quarter")
    figure.colorbar(
        image, ax=panels.ravel().tolist(), location="bottom", fraction=0.03, aspect=60, label="share", pad=0.02
    )
    caption = (
        "Left: the share of each option in windows of trials, from the first to the last. Right: at each place of the"
        " sequence (layer or node) in the last quarter of the trials. Inputs: how often a layer reads the one so many"
        f" layers before it, where there is one. Decisions between more than {MOST_OPTIONS} options are left out."
    )
    return Plot("preferences", "What the policy has come to prefer", caption, figure, numbers)


def _count(space: SearchSpace, samples: Sequence[Row], num_windows: int) -> tuple[dict[str, Shares], dict[str, Shares]]:
    """Shares by window of samples, and by place in the last quarter of the samples."""
    over_time: dict[str, Shares] = defaultdict(Shares)
    by_place: dict[str, Shares] = defaultdict(Shares)
    for number, sample in enumerate(samples):
        window = number * num_windows // len(samples)
        (path,) = space.paths(sample["depth"], 1)
        places: Counter[str] = Counter()
        for token in sample["tokens"]:
            decision = path.decision
            assert decision is not None, "more tokens than decisions"
            if (decision.count if isinstance(decision, Anchor) else len(decision.values)) > MOST_OPTIONS:
                path.take(token)
                continue
            if isinstance(decision, Anchor):
                taken = [
                    ((distance, f"{distance} back"), token >> decision.count - distance & 1)
                    for distance in range(1, decision.count + 1)
                ]
            else:
                taken = [((index, str(value)), index == token) for index, value in enumerate(decision.values)]
            for option, chosen in taken:
                over_time[decision.name].add(option, window, bool(chosen))
                if 4 * number >= 3 * len(samples):
                    by_place[decision.name].add(option, places[decision.name], bool(chosen))
            places[decision.name] += 1
            path.take(token)
    shown = {}
    for name, shares in over_time.items():
        has_alternative = len(shares.options) > 1 or (1, "1 back") in shares.options
        if has_alternative and name in by_place:
            shown[name] = shares
    return shown, by_place


def _heat(axes: Axes, shares: Shares, options: Sequence[Option], num_columns: int) -> QuadMesh:
    image = axes.pcolormesh(np.ma.masked_invalid(shares.matrix(options, num_columns)), cmap=HEAT, vmin=0, vmax=1)
    axes.invert_yaxis()
    axes.set_yticks(np.arange(len(options)) + 0.5, [name[:LONGEST] for _, name in options], fontsize=9)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    return image
