"""What a search found, from its tables."""

import json
from dataclasses import dataclass
from decimal import Decimal
from statistics import fmean
from typing import Any

from models.architecture import to_json
from models.space import SearchSpace
from models.space_size import space_size
from pipeline.configuration import Configuration
from pipeline.progress import format_reward
from pipeline.rows import Row
from pipeline.run_paths import RunPaths
from pipeline.tables import read_table
from tasks.records import COUNTED
from tasks.settings import IMAGE_TASK, LANGUAGE_TASK, depth_at


@dataclass(frozen=True)
class SearchSummary:
    """The counted rewards of a search in order of its trials, and its trials best first."""

    num_trials: int
    num_failed: int
    rewards: tuple[float, ...]
    ranked: tuple[Row, ...]  # rows of results joined with samples, ok ones, each architecture once

    def top_mean(self, count: int) -> float:
        """Mean reward of the best `count` unique architectures (Figure 6)."""
        return fmean(row["reward"] for row in self.ranked[:count]) if self.ranked else 0.0

    def last_mean(self, share: float = 0.25) -> float:
        """Mean reward of the last quarter: what the policy draws in the end."""
        return fmean(self.rewards[-max(1, round(share * len(self.rewards))) :]) if self.rewards else 0.0


def summarise(paths: RunPaths) -> SearchSummary:
    """Read a search's tables."""
    columns = ["trial_id", "wave", "status", "reward", "metric", "parameters", "flops", "seconds"]
    results = read_table(paths, "results", columns).to_pylist()
    drawn = read_table(
        paths, "samples", ["trial_id", "depth", "tokens", "architecture", "architecture_hash"]
    ).to_pylist()
    samples = {row["trial_id"]: row for row in drawn}
    counted = [row for row in results if row["status"] in COUNTED]
    joined = [
        {**row, **samples[row["trial_id"]]} for row in counted if row["status"] == "ok" and row["trial_id"] in samples
    ]
    best: dict[str, Row] = {}
    for row in sorted(joined, key=lambda row: (-row["reward"], row["trial_id"])):
        best.setdefault(row["architecture_hash"], row)
    return SearchSummary(
        len(results), len(results) - len(counted), tuple(row["reward"] for row in counted), tuple(best.values())
    )


def architecture_of(configuration: Configuration, row: Row) -> Any:
    """The architecture of a row that has depth, tokens and JSON; as its space has it, or else as the JSON has it."""
    if not configuration.space.function:
        return json.loads(row["architecture"])
    space = SearchSpace(configuration.space.function, configuration.space.options)
    return space.decode(row["depth"], row["tokens"])


def describe_architecture(architecture: Any) -> str:
    """In words where the architecture can tell, else as JSON."""
    if hasattr(architecture, "describe"):
        return str(architecture.describe())
    return json.dumps(to_json(architecture), indent=2)


def compare(search: SearchSummary, control: SearchSummary) -> list[tuple[str, float, float]]:
    """Figures of a search and of its control over the same number of children."""
    return [
        ("best reward", search.top_mean(1), control.top_mean(1)),
        ("mean of the 5 best", search.top_mean(5), control.top_mean(5)),
        ("mean of the 15 best", search.top_mean(15), control.top_mean(15)),
        ("mean of all", fmean(search.rewards or (0.0,)), fmean(control.rewards or (0.0,))),
        ("mean of the last quarter", search.last_mean(), control.last_mean()),
    ]


def size_text(configuration: Configuration) -> str | None:
    """How many architectures of the first depth there are, or None where the space cannot be counted."""
    depth = depth_at(0, configuration.search)
    size = space_size(SearchSpace(configuration.space.function, configuration.space.options), depth)
    if size is None:
        return None
    number = f"{size:,}" if size < 1e6 else f"{Decimal(size):.1e}".replace("e+", "e")
    return f"{number} architectures of {depth} layers" if depth > 1 else f"{number} architectures"


def summary_text(paths: RunPaths, configuration: Configuration) -> str:
    """The best architectures in words and the comparison with random search where one was made."""
    search = summarise(paths)
    if not search.ranked:
        return (
            f"{search.num_trials} children ended, none of them well: see the column error of {paths.table('results')}"
        )
    best = search.ranked[0]
    lines = [
        f"{search.num_trials} children, {search.num_failed} failed. The best is trial {best['trial_id']}:"
        f" {metric_text(configuration, best)}, reward {format_reward(best['reward'])}{_cost(configuration, best)}",
        "",
        describe_architecture(architecture_of(configuration, best)),
        "",
        "Runners-up: " + ", ".join(_in_short(configuration, row) for row in search.ranked[1:4]),
    ]
    control = summarise(paths.control)
    if control.ranked:
        names = (configuration.search.policy, configuration.search.control or "")
        lines += ["", *_comparison_lines(search, control, names)]
    return "\n".join(lines)


def _comparison_lines(search: SearchSummary, control: SearchSummary, names: tuple[str, str]) -> list[str]:
    rows = compare(search, control)
    lines = [f"{'reward':26}{names[0]:>12}{names[1]:>12}"]
    lines += [f"{name:26}{format_reward(ours):>12}{format_reward(theirs):>12}" for name, ours, theirs in rows]
    ahead = sum(ours > theirs for _, ours, theirs in rows)
    lines.append(f"{names[0]} is ahead of {names[1]} in {ahead} of these {len(rows)} figures; one seed each.")
    return lines


def metric_text(configuration: Configuration, row: Row) -> str:
    """The metric of a row of results by its name."""
    if configuration.data.dataset == "table":
        return f"{configuration.data.reward} {row['metric']:.6g}"
    if configuration.child.task == IMAGE_TASK:
        return f"validation accuracy {row['metric']:.2%}"
    if configuration.child.task == LANGUAGE_TASK:
        return f"validation perplexity {row['metric']:.2f}"
    return f"metric {row['metric']:.6g}"


def test_text(configuration: Configuration, metric: float) -> str:
    """A figure of the test split by its name."""
    if configuration.child.task == LANGUAGE_TASK:
        return f"Test perplexity {metric:.2f}"
    return f"Test error rate {1 - metric:.2%} (accuracy {metric:.2%})"


def _in_short(configuration: Configuration, row: Row) -> str:
    return f"trial {row['trial_id']} ({metric_text(configuration, row)}{_cost(configuration, row, with_flops=False)})"


def _cost(configuration: Configuration, row: Row, with_flops: bool = True) -> str:
    parameters = f", {row['parameters']:,} parameters" if row["parameters"] is not None else ""
    example = "a token" if configuration.child.task == LANGUAGE_TASK else "an image"
    flops = f", {row['flops']:,} FLOPs {example}" if row["flops"] is not None and with_flops else ""
    return parameters + flops
