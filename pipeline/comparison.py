"""Policies compared at the same budget over several seeds, in the manner of Figure 6 (section 4.2)."""

import heapq
import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from statistics import fmean, stdev

import matplotlib
import pandas as pd
from rich.console import Console

from pipeline.checks import check_configuration
from pipeline.configuration import Configuration, setting_differences, to_dict
from pipeline.console import say
from pipeline.driver import resume_run, start_run
from pipeline.errors import UserError
from pipeline.files import write_atomically
from pipeline.interruption import in_good_order
from pipeline.report import remake_report
from pipeline.report.figure_6 import plot_comparison
from pipeline.report.plots import STYLE, save
from pipeline.rows import Row
from pipeline.run_folder import open_run
from pipeline.run_paths import RunPaths
from pipeline.search import is_finished
from pipeline.tables import read_table

TOPS = (1, 5, 15)  # Figure 6: means of so many of the best unique networks
# 97.5% points of Student's t for 1 to 30 degrees of freedom, the last for more too
T_975 = (
    12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160, 2.145, 2.131,
    2.120, 2.110, 2.101, 2.093, 2.086, 2.080, 2.074, 2.069, 2.064, 2.060, 2.056, 2.052, 2.048, 2.045, 2.042,
)  # fmt: skip


@in_good_order()
def run_comparison(
    folder: Path, configuration: Configuration, policies: Sequence[str], seeds: int, every: int | None, console: Console
) -> None:
    """Run the searches that are not finished, each in a run folder in `folder`; write table, plot and words.

    Raises UserError for policies that cannot be compared, and where a folder has a search with other settings.
    """
    if len(policies) < 2 or len(set(policies)) < len(policies):
        raise UserError(f"--policies {','.join(policies)}: allowed are two or more different ones")
    first_seed = configuration.search.seed
    searches = {
        (policy, seed): _search(configuration, policy, seed)
        for seed in range(first_seed, first_seed + seeds)
        for policy in policies
    }
    for search in list(searches.values())[: len(policies)]:
        check_configuration(search)
    for number, ((policy, seed), search) in enumerate(searches.items(), start=1):
        place = _place(folder, policy, seed)
        if _finish(place, search):
            say(console, f"{number} of {len(searches)}: {policy}, seed {seed}: finished, in {place}")
    samples = configuration.search.samples
    points = points_of(samples, every or min(400, math.ceil(samples / 12)))
    better = math.copysign(1.0, configuration.search.reward_power)
    curves = {key: top_means(RunPaths(_place(folder, *key)), points) for key in searches}
    frame = pd.DataFrame([row for other in policies[1:] for row in differences(curves, policies[0], other, better)])
    write_atomically(folder / "comparison.parquet", frame.to_parquet(index=False))
    with matplotlib.rc_context(STYLE):
        save(plot_comparison(frame.to_dict("records")), folder)
    text = comparison_text(frame)
    write_atomically(folder / "comparison.txt", (text + "\n").encode())
    parent = RunPaths(folder.resolve().parent)
    of_run = [parent] if parent.comparison == folder.resolve() else []
    for paths in [*of_run, *(RunPaths(_place(folder, *key)) for key in searches)]:
        remake_report(paths)
    say(console, f"{text}\nTable and plot: {folder}/comparison.parquet, csv, png, svg")


def _search(configuration: Configuration, policy: str, seed: int) -> Configuration:
    if policy not in ("controller", "random", "evolution"):
        raise UserError(f"--policies: {policy!r}: allowed are controller, random and evolution")
    settings = replace(configuration.search, policy=policy, control=None, seed=seed)  # type: ignore[arg-type]
    return replace(configuration, search=settings)


def _place(folder: Path, policy: str, seed: int) -> Path:
    return folder / f"{policy}-{seed}"


def _finish(place: Path, configuration: Configuration) -> bool:
    """Run or resume a search; False where it was finished before."""
    quiet = Console(quiet=True)
    if not RunPaths(place).config.exists():
        start_run(place, configuration, quiet)
        return True
    paths, settled = open_run(place)
    if other := setting_differences(to_dict(replace(settled, cluster=configuration.cluster)), to_dict(configuration)):
        raise UserError(
            f"{place}: a search with other settings: {'; '.join(other)}; choose another folder, or the settings it has"
        )
    if is_finished(paths, settled):
        return False
    resume_run(place, configuration, quiet)
    return True


def points_of(samples: int, every: int) -> list[int]:
    """The numbers of models at which searches are compared, the last of them too."""
    return [*range(every, samples, every), samples]


def top_means(paths: RunPaths, points: Sequence[int]) -> dict[tuple[int, int], float]:
    """By (top, models): the mean metric of the best `top` different networks among the first models of a search.

    A network that was drawn again counts with its first training, so that who draws it often has no luckier a one.
    NaN until so many ended well: a mean of fewer would be another quantity.
    """
    hashes = dict(
        zip(*read_table(paths, "samples", ["trial_id", "architecture_hash"]).to_pydict().values(), strict=True)
    )
    results = read_table(paths, "results", ["trial_id", "status", "reward", "metric"]).to_pylist()
    unique: dict[str, Row] = {}
    means = {}
    for point in points:
        for row in (row for row in results if row["trial_id"] < point and row["status"] == "ok"):
            unique.setdefault(hashes[row["trial_id"]], row)
        ranked = heapq.nlargest(max(TOPS), unique.values(), key=lambda row: float(row["reward"]))
        for top in TOPS:
            enough = len(ranked) >= top
            means[top, point] = fmean(row["metric"] for row in ranked[:top]) if enough else math.nan
    return means


def differences(
    curves: dict[tuple[str, int], dict[tuple[int, int], float]], policy: str, other: str, better: float
) -> list[Row]:
    """Rows of the comparison: how much better a policy is than another, with a 95% interval over the seeds.

    `better` is 1 where a larger metric is better, else -1. A difference is NaN where a seed has none, its interval
    with one seed too.
    """
    seeds = [seed for name, seed in curves if name == policy]
    rows = []
    for top, models in curves[policy, seeds[0]]:
        ours, theirs = ([curves[name, seed][top, models] for seed in seeds] for name in (policy, other))
        gains = [better * (mine - yours) for mine, yours in zip(ours, theirs, strict=True)]
        mean = fmean(gains)
        spread = stdev(gains) / math.sqrt(len(gains)) if len(gains) > 1 and math.isfinite(mean) else math.nan
        half = T_975[min(len(gains) - 2, 29)] * spread
        rows.append(
            {
                "policy": policy, "other": other, "top": top, "models": models, "seeds": len(seeds),
                "policy_metric": fmean(ours), "other_metric": fmean(theirs),
                "difference": mean, "low": mean - half, "high": mean + half,
            }
        )  # fmt: skip
    return rows


def comparison_text(frame: pd.DataFrame) -> str:
    """The end of the searches in words."""
    lines = []
    for row in frame[frame.models == frame.models.max()].itertuples():
        compared = f"{row.policy} against {row.other}, best {row.top} of {row.models} models, {row.seeds} seeds:"
        if not math.isfinite(row.difference):
            lines.append(f"{compared} no figure, since a search has fewer than {row.top} different networks")
            continue
        verdict = "ahead" if row.low > 0 else "behind" if row.high < 0 else "no difference that these seeds tell"
        interval = f"95% interval {row.low:+.4g} to {row.high:+.4g}" if row.seeds > 1 else "one seed, no interval"
        lines.append(
            f"{compared} {row.policy_metric:.5g} against {row.other_metric:.5g}, better by {row.difference:+.4g}"
            f" ({interval}): {verdict}"
        )
    return "\n".join(lines)
