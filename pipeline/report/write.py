"""Write the report of a run from its tables alone."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import matplotlib

from models.cell_architecture import CellArchitecture
from models.conv_architecture import ConvArchitecture
from models.space import SearchSpace
from pipeline.configuration import Configuration
from pipeline.files import write_atomically, writing
from pipeline.progress import format_reward, format_seconds
from pipeline.report import page as html
from pipeline.report.after_search import STAGES, stage_sections, trainings_of
from pipeline.report.draw_cell import cell_figure
from pipeline.report.draw_network import network_figure
from pipeline.report.figure_6 import comparison_of, plot_comparison
from pipeline.report.plots import STYLE, Plot, SavedPlot, save
from pipeline.report.preferences import plot_preferences
from pipeline.report.published import comparisons_with_paper
from pipeline.report.rewards import plot_best, plot_rewards, searches_of
from pipeline.report.words import first_figures, sentences
from pipeline.report.workers import cost_rows, failure_rows, plot_workers
from pipeline.rows import Row
from pipeline.run_folder import open_run
from pipeline.run_paths import RunPaths
from pipeline.summary import (
    SearchSummary,
    architecture_of,
    compare,
    describe_architecture,
    metric_text,
    summarise,
    summary_text,
)
from pipeline.tables import read_table
from pipeline.trust import with_trusted_code

SHOWN = 3  # of the best architectures


def write_report(paths: RunPaths, configuration: Configuration) -> list[Path]:
    """Write report.html, summary.txt and the figures; returns them. It can be made again at any time."""
    paths.report.mkdir(exist_ok=True)
    summary, whole = paths.report / "summary.txt", paths.report / "report.html"
    write_atomically(summary, (summary_text(paths, configuration) + "\n").encode())
    name = f"{paths.folder.resolve().name}: experiment {configuration.experiment}"
    saved: list[SavedPlot] = []
    with matplotlib.rc_context(STYLE):
        sections = list(_sections(paths, configuration, saved))
    task = f"children by {configuration.child.task}, space {configuration.space.function}"
    write_atomically(whole, html.page(name, task, sections).encode())
    return [whole, summary, *(path for plot in saved for path in plot.files)]


def _sections(paths: RunPaths, configuration: Configuration, saved: list[SavedPlot]) -> Iterator[tuple[str, str]]:
    """(heading, HTML) of each part of the page; plots are saved and put into `saved` on the way."""

    def drawn(plot: Plot, *, wide: bool = True) -> str:
        saved.append(save(plot, paths.report))
        return html.figure(saved[-1], wide=wide)

    search, control = summarise(paths), summarise(paths.control)
    if search.ranked:
        yield from _what_was_found(paths, configuration, search, control, drawn)
    else:
        yield "", html.preformatted(summary_text(paths, configuration))
    results = read_table(paths, "results").to_pylist()
    if (workers := plot_workers(results)) is not None:
        yield workers.title, drawn(workers)
    yield "Cost and failures", _cost_and_failures(paths, configuration, results)
    if rows := comparison_of(paths):
        yield "Improvement over other policies (Figure 6)", drawn(plot_comparison(rows))
    yield from stage_sections(paths, configuration)
    if search.ranked:
        for table in comparisons_with_paper(paths, configuration, search.ranked[0]):
            yield table.title, html.html_table(table.columns, table.published, table.ours)


def _what_was_found(
    paths: RunPaths, configuration: Configuration, search: SearchSummary, control: SearchSummary, drawn: Any
) -> Iterator[tuple[str, str]]:
    words = "".join(map(html.paragraph, sentences(configuration, search, control)))
    yield "", html.cards(first_figures(configuration, search, control)) + words
    searches = searches_of(paths, configuration.search.policy, configuration.search.control)
    yield (
        "Reward over time",
        drawn(plot_rewards(searches)) + drawn(plot_best(searches)) + _control_table(configuration, search, control),
    )
    best = search.ranked[:SHOWN]
    yield "The best architectures", _best_architectures(configuration, best, drawn)
    if configuration.space.function:  # else it is not ours, and not to be imported
        space = SearchSpace(configuration.space.function, configuration.space.options)
        samples = read_table(paths, "samples", ["trial_id", "depth", "tokens"]).to_pylist()
        if (preferences := plot_preferences(space, samples)) is not None:
            yield preferences.title, drawn(preferences)


def _control_table(configuration: Configuration, search: SearchSummary, control: SearchSummary) -> str:
    if not control.ranked:
        return ""
    rows = [(name, format_reward(ours), format_reward(theirs)) for name, ours, theirs in compare(search, control)]
    return html.html_table(("reward", configuration.search.policy, str(configuration.search.control)), rows)


def _best_architectures(configuration: Configuration, best: tuple[Row, ...], drawn: Any) -> str:
    """The best drawn side by side, cells one below the other; in words where they cannot be drawn."""
    parts, words = [], []
    for rank, row in enumerate(best, start=1):
        architecture = architecture_of(configuration, row)
        caption = f"{rank}. Trial {row['trial_id']}: {metric_text(configuration, row)}{_size(row)}"
        numbers = [("trial_id", "reward", "metric", "parameters", "flops", "architecture_hash")]
        numbers += [tuple(row[name] for name in numbers[0])]
        words.append(html.paragraph(caption) + html.preformatted(describe_architecture(architecture)))
        if isinstance(architecture, ConvArchitecture):
            plot = Plot(f"best_{rank}", caption, caption, network_figure(architecture), numbers)
            parts.append(drawn(plot, wide=False))
        elif isinstance(architecture, CellArchitecture):
            parts.append(drawn(Plot(f"best_{rank}", caption, caption, cell_figure(architecture), numbers)))
    if not parts:
        return "".join(words)
    details = f"<details><summary>In words</summary>{''.join(words)}</details>"
    narrow = isinstance(architecture_of(configuration, best[0]), ConvArchitecture)
    return (html.side_by_side(parts) if narrow else "".join(parts)) + details


def _size(row: Row) -> str:
    parameters = f", {row['parameters']:,} parameters" if row["parameters"] is not None else ""
    return parameters + (f", {row['flops']:,} FLOPs" if row["flops"] is not None else "")


def _cost_and_failures(paths: RunPaths, configuration: Configuration, results: list[Row]) -> str:
    parts: list[tuple[str, list[Row]]] = [(configuration.search.policy, results)]
    parts.append((f"{configuration.search.control} search", read_table(paths.control, "results").to_pylist()))
    parts += [(name, trainings_of(paths, table)) for table, name in STAGES.items()]
    begun = [part for part in parts if part[1]]
    costs = cost_rows(begun, configuration.child.threads, configuration.cluster.children_per_gpu)
    cost = html.html_table(("part", "trainings", "cost", "of it on failed ones"), costs)
    lasted = [row["seconds"] for row in results if row["seconds"]]
    mean = f"A child took {format_seconds(sum(lasted) / len(lasted))} on average." if lasted else ""
    failures = [(name, *row) for name, rows in parts[:2] for row in failure_rows(rows)]
    table = html.html_table(("part", "outcome", "children", "the first of them"), failures) if failures else ""
    return cost + html.paragraph(mean if failures else f"{mean} No child failed, diverged or was too large.") + table


def remake_report(paths: RunPaths) -> list[Path]:
    """Write the report of a run again, and return its files; none where the folder holds no run, as of a transfer."""
    if not paths.config.exists():
        return []
    paths, configuration = open_run(paths.folder)
    with writing(paths.report):
        return write_report(paths, with_trusted_code(paths, configuration))
