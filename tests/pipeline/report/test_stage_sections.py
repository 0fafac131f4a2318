"""What the report tells of stages, costs and large runs, on runs that are made up."""

import json
import re
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from made_up import add_comparison, add_stage, made_up_run, stage_row

from models.architecture import to_json
from models.space import SearchSpace
from pipeline.configuration import Configuration, override
from pipeline.experiments import cifar10, cifar10_pooling, digits, ptb
from pipeline.report import remake_report
from pipeline.report.figure_6 import comparison_of, plot_comparison
from pipeline.report.plots import MANY_POINTS
from pipeline.report.published import comparisons_with_paper
from pipeline.report.workers import busy_at, cost_rows, plot_workers
from pipeline.run_paths import RunPaths
from pipeline.tables import Tables, read_table


def page_of(paths: RunPaths) -> str:
    remake_report(paths)
    return (paths.report / "report.html").read_text()


def ours(page: str) -> list[list[str]]:
    """The cells of the rows that stand out."""
    rows = re.findall(r'<tr class="ours">(.*?)</tr>', page)
    return [re.findall(r"<td[^>]*>(.*?)</td>", row) for row in rows]


def final_rows(configuration: Configuration, metric: float, trial: int) -> list[dict[str, object]]:
    fixed = {"settings": "{}", "more_filters": 0, "tested": None, "test_loss": None, "test_metric": None}
    test = {"step": "test", "trial_id": trial, "tested": 0, "test_loss": 0.3, "test_metric": metric}
    return [
        stage_row("final", 0, configuration, **{**fixed, "step": "long", "trial_id": trial}),
        stage_row("final", 1, configuration, **{**fixed, **test}),
    ]


def test_table_1_has_the_network_that_was_tested(tmp_path: Path) -> None:
    """Its depth is its own, whatever the best child of the search has."""
    configuration = override(cifar10(), ["cluster.children_per_gpu=4", "search.control=none"])
    paths = made_up_run(tmp_path / "run", configuration, 40, depth=6)
    add_stage(paths, "final", final_rows(configuration, 0.9635, trial=3))
    page = page_of(paths)
    rows = ours(page)
    assert ["this run, test", "6", "4.2M", "3.65"] in rows and "Table 1: test error on CIFAR-10" in page
    (table,) = comparisons_with_paper(paths, configuration, {"trial_id": 4, "parameters": 10, "metric": 0.9})
    assert [row[1] for row in table.ours] == ["6", "6"]
    own = override(configuration, ["child.task=test_drawing:words"])
    assert not list(comparisons_with_paper(paths, own, {"trial_id": 4, "parameters": 10, "metric": -3.2}))
    assert "test accuracy 96.35%" in page
    assert "<td>final stage</td>" in page and f"{40 * 10 / 3600 / 4:.2f} GPU-hours" in page


def test_tables_2_and_3_have_our_rows(tmp_path: Path) -> None:
    paths = made_up_run(tmp_path / "run", override(ptb(), ["search.control=none"]), 20, depth=1)
    add_stage(paths, "final", final_rows(ptb(), 64.04, trial=3))
    of_cell = {"architecture": "{}", "repetition": 0, "settings": "{}", "data": "x", "test_opened_at": None}
    cells = [
        stage_row("transfer_characters", n, ptb(), cell=cell, validation_bits=1.3, test_bits=1.2 + n / 10, **of_cell)
        for n, cell in enumerate(("trial 3", "LSTM"))
    ]
    add_stage(paths, "transfer_characters", cells)
    rows = ours(page_of(paths))
    assert ["this run, test", "4.2M", "64.0"] in rows
    assert ["this run, trial 3", "4.2M", "1.200"] in rows and ["this run, LSTM", "4.2M", "1.300"] in rows


def test_a_worker_is_idle_between_its_own_first_and_last_child_alone() -> None:
    from datetime import UTC, datetime

    def row(worker: str, end: float) -> dict[str, object]:
        ended_at = datetime.fromtimestamp(1_000_000 + end, UTC)
        return {"worker": worker, "seconds": 10.0, "ended_at": ended_at, "status": "ok", "trial_id": 0}

    replaced = [row("a", 10), row("a", 20), row("b", 86_400), row("b", 86_420)]  # b a day later, idle for 10 of 30 s
    plot = plot_workers(replaced)
    assert plot is not None and "80% busy" in plot.caption


def test_children_that_follow_each_other_are_not_busy_at_once() -> None:
    times, counts = busy_at(np.array([0.0, 1.0, 2.0]), np.array([1.0, 2.0, 3.0]))
    assert counts.max() == 1 and counts[-1] == 0 and times.tolist() == [0, 1, 1, 2, 2, 3]


def test_costs_count_a_gpu_once_for_the_children_that_share_it() -> None:
    rows = [
        {"device": "NVIDIA H100", "seconds": 3600.0, "status": "ok"},
        {"device": None, "seconds": 3600.0, "status": "failed"},  # it does not tell where
    ]
    assert cost_rows([("controller", rows)], threads=2, children_per_gpu=4) == [
        ("controller", "2", "0.50 GPU-hours", "0.25 GPU-hours")
    ]
    on_cores = [{"device": "cpu", "seconds": 3600.0, "status": "ok"}]
    assert cost_rows([("final stage", on_cores)], threads=2, children_per_gpu=4)[0][2] == "2.00 core-hours"
    lost = [{"device": None, "seconds": 3600.0, "status": "lost_worker"}]
    assert cost_rows([("controller", rows), ("random", lost)], 2, 4)[1] == (
        "random", "1", "0.25 GPU-hours", "0.25 GPU-hours",
    )  # fmt: skip


def test_a_network_of_blocks_has_the_layers_of_all_of_them(tmp_path: Path) -> None:
    configuration = override(cifar10_pooling(), ["search.control=none"])
    paths = made_up_run(tmp_path / "run", configuration, 8, depth=13)
    samples = read_table(paths, "samples").to_pylist()
    space = SearchSpace(configuration.space.function, configuration.space.options)
    for row in samples:
        row["architecture"] = json.dumps(to_json(space.decode(13, row["tokens"])))
    with closing(Tables(paths)) as tables:
        tables.reopen({"samples": 0})
        tables.append({"samples": samples})
        tables.commit()
    (table,) = comparisons_with_paper(paths, configuration, {"trial_id": 0, "parameters": 10, "metric": 0.9})
    assert [row[1] for row in table.ours] == ["39"], "as many as the paper's"


@pytest.mark.slow
def test_a_report_of_the_papers_size_is_a_page_that_a_browser_takes(tmp_path: Path) -> None:
    count = 12_800
    paths = made_up_run(tmp_path / "run", override(digits(), ["search.control=none"]), count)
    add_comparison(paths)
    page = page_of(paths)
    assert count > MANY_POINTS and f"{count:,} of {count:,} networks" in page
    assert page.count("<image ") >= 2, "children are pixels"
    assert len(page) < 4_000_000
    assert len((paths.report / "rewards.csv").read_text().splitlines()) == count + 1


def test_figure_6_says_how_many_seeds_it_stands_on(tmp_path: Path) -> None:
    paths = RunPaths(tmp_path)
    add_comparison(paths)
    rows = comparison_of(paths)
    assert "3 seeds each; bands are 95% intervals" in plot_comparison(rows).caption
    assert "1 seed each; one seed tells no interval" in plot_comparison([{**row, "seeds": 1} for row in rows]).caption
