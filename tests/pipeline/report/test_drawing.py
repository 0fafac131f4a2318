"""Pictures of architectures, and what is told of workers and failures."""

from datetime import UTC, datetime
from itertools import pairwise

import matplotlib
import numpy as np
import pytest

from models.cell_architecture import CellArchitecture, Node
from models.conv_architecture import ConvArchitecture
from models.conv_layers import ConvLayer, NormLayer, PoolLayer
from models.presets import figure7, nascell
from models.space import Choice, Decisions, SearchSpace
from pipeline.report.draw_cell import cell_figure, node_places
from pipeline.report.draw_network import network_figure
from pipeline.report.plots import STYLE, Plot, inline_svg, save
from pipeline.report.preferences import plot_preferences
from pipeline.report.published import TABLE_1, TABLE_2, TABLE_3
from pipeline.report.workers import busy_at, cost_rows, failure_rows, plot_workers


def texts(figure: object) -> list[str]:
    return [text.get_text() for text in figure.axes[0].texts]  # type: ignore[attr-defined]


def test_the_papers_network_is_drawn_with_all_its_connections() -> None:
    figure = network_figure(figure7())
    arrows = [patch for patch in figure.axes[0].patches if "Arrow" in type(patch).__name__]
    assert len(arrows) == len(figure7().connections()) == 65 + 2  # from the image, and to the classifier
    assert texts(figure)[0] == "image" and texts(figure)[10] == "7×7, 36 filters" and len(texts(figure)) == 17


def test_every_kind_of_layer_is_drawn() -> None:
    layers = (
        ConvLayer(3, 5, 8, stride_height=2),
        PoolLayer("max", 2, 2, inputs=(0,)),
        NormLayer("local_contrast", inputs=(0, 1)),
        NormLayer("batch"),
    )
    shown = texts(network_figure(ConvArchitecture(layers, pool_after=(2,), learning_rate=0.1)))
    assert "3×5, 8 filters, stride 2×1" in shown and "classifier, rate 0.1" in shown
    assert "2×2 max pooling, stride 2" in shown and "local contrast norm" in shown and "batch norm" in shown


def test_the_papers_cell_is_drawn_as_a_tree() -> None:
    places = node_places(nascell())
    assert places[0] == (0, 0) and places[7] == (7, 0) and places[14] == (3.5, 3)
    shown = texts(cell_figure(nascell()))
    assert shown.count("x") == shown.count("h") == 8 and "×\nidentity" in shown and "c +, tanh" in shown
    assert shown.count("new c") == shown.count("new h") == 1


@pytest.mark.parametrize("place", [0, 1, 2])
def test_the_smallest_cell_is_drawn_wherever_c_comes_from(place: int) -> None:
    node = Node("max", "sin")
    assert "max\nsin" in texts(cell_figure(CellArchitecture((node,) * 3, node, place, place % 2)))


def test_names_inside_an_svg_are_its_own_and_colours_those_of_the_page(tmp_path) -> None:  # type: ignore[no-untyped-def]
    with matplotlib.rc_context(STYLE):
        figure = network_figure(figure7())
    saved = save(Plot("one", 'a "title"', "", figure, [("a",), (1,)]), tmp_path)
    assert {path.name for path in saved.files} == {"one.svg", "one.png", "one.csv"}
    assert (tmp_path / "one.csv").read_text() == "a\n1\n" and "var(--ink)" in saved.svg and "#1f2328" not in saved.svg
    assert inline_svg('<?xml?><svg width="10pt" id="a"><use href="#a"/></svg>', saved.plot) == (
        '<svg role="img" aria-label="a &quot;title&quot;" width="10pt" id="one-a"><use href="#one-a"/></svg>'
    )


def test_preferences_are_counted_by_window_and_by_place() -> None:
    space = SearchSpace(
        "models.conv_space:conv_space", {"filter_heights": [1, 3], "filter_widths": [3], "num_filters": [4]}
    )
    early, late = [0, 0, 0, 0, 0, 0, 0, 0], [0, 0, 0, 0, 1, 0, 1, 0]  # late: height 3 and the skip in the second layer
    plot = plot_preferences(space, [{"depth": 2, "tokens": tokens} for tokens in [early] * 20 + [late] * 20])
    assert plot is not None
    shares = {tuple(row[:4]): row[4] for row in plot.numbers[1:]}
    assert [shares["filter_height", "3", "window", n] for n in range(4)] == [0, 0, 0.5, 0.5]
    assert [shares["filter_height", "3", "place", n] for n in range(2)] == [0, 1]
    assert shares["inputs", "1 back", "window", 3] == 1 and np.isnan(shares["inputs", "1 back", "place", 0])
    assert not any(decision == "filter_width" for decision, *_ in shares), "there was no choice"


def words(depth: int) -> Decisions:
    """Long names, and as many places as the first one says."""
    count = yield Choice("count", (1, 2))
    for _ in range(count):
        yield Choice("operation", tuple(f"a_name_of_an_operation_that_is_long_{size}" for size in (3, 5, 7)))
    yield Choice("id", tuple(range(10_000)))
    return count


def test_options_are_told_apart_by_more_than_what_is_shown_of_their_names() -> None:
    samples = [{"depth": 1, "tokens": tokens} for tokens in [[1, 0, 1, 9]] * 30 + [[0, 2, 9]] * 10]
    plot = plot_preferences(SearchSpace(f"{__name__}:words", {}), samples)
    assert plot is not None
    shares = {(row[0], row[1][-1], *row[2:4]): row[4] for row in plot.numbers[1:]}
    assert [shares["operation", size, "window", 0] for size in "357"] == [0.5, 0.5, 0]
    assert [shares["operation", size, "place", 0] for size in "357"] == [0, 0, 1]
    assert "id" not in {row[0] for row in plot.numbers[1:]}, "nobody looks at 10,000 rows"


def row(trial: int, status: str = "ok", end: float = 10.0, device: str | None = "cpu", worker: str = "a"):  # type: ignore[no-untyped-def]
    at = datetime.fromtimestamp(end, UTC)
    error = None if status == "ok" else "Traceback\nValueError: out of luck\n"
    told = {"trial_id": trial, "status": status, "seconds": 5.0, "ended_at": at}
    return {**told, "device": device, "worker": worker, "error": error}


def test_busy_workers_are_counted() -> None:
    times, counts = busy_at(np.array([0.0, 1.0]), np.array([2.0, 3.0]))
    assert times.tolist() == [0, 1, 2, 3] and counts.tolist() == [1, 2, 1, 0]


def test_the_timeline_tells_how_busy_the_workers_were() -> None:
    plot = plot_workers([row(0, end=5), row(1, end=20), row(2, "failed", end=10, worker="b")])
    assert plot is not None and "each was 60% busy" in plot.caption, (
        "a for 10 of 20 seconds, b, which came later, for 5 of 5"
    )
    assert "2 workers took part" in plot.caption and "Orange" in plot.caption
    alone = plot_workers([row(0)])
    assert alone is not None and alone.caption.startswith("One worker took part; it was 100% busy")
    many = plot_workers([row(n, end=10, worker=str(n)) for n in range(60)])
    assert many is not None and len(many.figure.axes) == 1
    assert plot_workers([{**row(0), "seconds": 0.0}]) is None


def test_costs_and_failures_are_told_by_class() -> None:
    rows = [row(0), row(1, "failed"), row(2, "lost", device=None), row(3, "failed")]
    assert cost_rows([("mine", rows)], 36, 1) == [("mine", "4", "0.20 core-hours", "0.15 core-hours")]
    on_gpus = [{**row(0, device="cuda:0"), "seconds": 7200.0}] * 2
    assert cost_rows([("mine", on_gpus)], 2, 4) == [("mine", "2", "1.00 GPU-hours", "none")], (
        "four children share a GPU"
    )
    assert failure_rows(rows)[0] == ("failed", "2", "trial 1: ValueError: out of luck")


def test_the_papers_tables_are_whole() -> None:
    assert [row[-1] for row in TABLE_1[-4:]] == ["5.50", "6.01", "4.47", "3.65"] and len(TABLE_1) == 23
    assert [row[-1] for row in TABLE_2[-3:]] == ["67.9", "64.0", "62.4"] and len(TABLE_2) == 22
    assert [row[-1] for row in TABLE_3] == ["1.250", "1.233", "1.219", "1.243", "1.228", "1.214"]
    ours = [row[2] for row in TABLE_1[-4:]]
    assert ours == ["4.2M", "2.5M", "7.1M", "37.4M"] and not any(a == b for a, b in pairwise(TABLE_1))
