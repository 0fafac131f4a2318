"""The summary of a run in words and in a few figures."""

from statistics import fmean

from pipeline.configuration import Configuration
from pipeline.progress import format_reward
from pipeline.summary import SearchSummary, compare, metric_text


def sentences(configuration: Configuration, search: SearchSummary, control: SearchSummary) -> list[str]:
    """What happened, for somebody who has not read a word of the paper."""
    best, policy = search.ranked[0], configuration.search.policy
    drew = (
        f"{search.num_trials:,} of {configuration.search.samples:,} networks were designed by the {policy} and trained"
    )
    failed = f"; {search.num_failed:,} of them failed" if search.num_failed else ""
    size = f" with {best['parameters']:,} parameters" if best["parameters"] is not None else ""
    lines = [
        f"{drew}{failed}. The best, trial {best['trial_id']}, reached a {metric_text(configuration, best)}{size}.",
        f"The mean reward was {format_reward(_first_mean(search), 3)} over the first quarter of the trials and"
        f" {format_reward(search.last_mean(), 3)} over the last.",
    ]
    if control.ranked:
        rows = compare(search, control)
        ahead = sum(ours > theirs for _, ours, theirs in rows)
        lines.append(
            f"A {configuration.search.control} search over {control.num_trials:,} networks found at best a"
            f" {metric_text(configuration, control.ranked[0])}; the {policy} is ahead in {ahead} of {len(rows)}"
            " figures. This is one seed each: another seed may tell otherwise."
        )
    return lines


def first_figures(configuration: Configuration, search: SearchSummary, control: SearchSummary) -> list[tuple[str, str]]:
    """(value, what it is), the most important first."""
    best = search.ranked[0]
    name, _, value = metric_text(configuration, best).rpartition(" ")
    figures = [(value, f"best {name}"), (format_reward(best["reward"]), "best reward")]
    if control.ranked:
        figures.append((format_reward(control.top_mean(1)), f"best reward of {configuration.search.control} search"))
    if best["parameters"] is not None:
        figures.append((f"{best['parameters']:,}", "parameters of the best"))
    return [*figures, (f"{search.num_trials:,}", "children"), (f"{search.num_failed:,}", "failed")]


def _first_mean(search: SearchSummary) -> float:
    return fmean(search.rewards[: max(1, len(search.rewards) // 4)])
