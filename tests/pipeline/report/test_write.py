"""The report of a run: its page, its figures, and how a browser shows it."""

import csv
import html.parser
import shutil
from pathlib import Path

import numpy as np
import pytest
from matplotlib.image import imread

from pipeline.report import write_report
from pipeline.report.page import html_table
from pipeline.report.rewards import best_means, moving_mean
from pipeline.run_folder import open_run
from pipeline.summary import summarise

PLOTS = {"rewards", "best", "best_1", "best_2", "best_3", "preferences", "workers"}


@pytest.fixture(scope="module")
def report(finished_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report folder of a copy of a finished run."""
    folder = tmp_path_factory.mktemp("report") / "finished"
    shutil.copytree(finished_run, folder, ignore=shutil.ignore_patterns("report", ".lock*"))
    write_report(*open_run(folder))
    return folder / "report"


def test_the_report_is_made_from_the_tables_alone(report: Path) -> None:
    names = {path.name for path in report.iterdir()}
    assert names == {"report.html", "summary.txt"} | {
        f"{name}.{kind}" for name in PLOTS for kind in ("svg", "png", "csv")
    }
    for name in PLOTS:
        pixels = imread(report / f"{name}.png")
        assert pixels.shape[0] > 200 and pixels.std() > 0.03, f"{name} is an empty picture"


class Reader(html.parser.HTMLParser):
    """Collects what a page asks for from elsewhere, its ids, and tags that are not closed."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[str] = []
        self.ids: list[str] = []
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        given = dict(attributes)
        self.asked += [str(given[name]) for name in ("src", "href", "xlink:href", "data") if name in given]
        self.ids += [str(given["id"])] if "id" in given else []
        if tag not in ("meta", "link", "br", "img"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_startendtag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attributes)
        if self.open and self.open[-1] == tag:
            self.open.pop()


def test_the_page_is_whole_and_asks_for_nothing_from_elsewhere(report: Path) -> None:
    page = Reader()
    page.feed((report / "report.html").read_text())
    assert page.open == [] and len(page.ids) == len(set(page.ids))
    inside = [asked for asked in page.asked if asked.startswith(("#", "data:"))]
    files = [asked for asked in page.asked if asked not in inside]
    assert all((report / name).is_file() for name in files) and len(files) == 3 * len(PLOTS)
    assert all(asked[1:] in page.ids for asked in inside if asked.startswith("#"))


def test_the_page_says_what_the_tables_say(report: Path) -> None:
    page = (report / "report.html").read_text()
    search = summarise(open_run(report.parent)[0])
    best = search.ranked[0]
    assert f"The best, trial {best['trial_id']}, reached a validation accuracy {best['metric']:.2%}" in page
    assert f"{best['parameters']:,} parameters" in page and "No child failed" in page
    with (report / "rewards.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [float(row["reward"]) for row in rows] == list(search.rewards)
    assert float(rows[-1]["best_so_far"]) == max(search.rewards)


def test_shares_of_options_add_up_to_one(report: Path) -> None:
    with (report / "preferences.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row["decision"] == "num_filters"]
    for axis in ("window", "place"):
        for column in {row["column"] for row in rows if row["axis"] == axis}:
            shares = [float(row["share"]) for row in rows if (row["axis"], row["column"]) == (axis, column)]
            assert len(shares) == 3 and np.isclose(sum(shares), 1)


def test_means_are_those_of_plain_loops() -> None:
    rewards = np.random.default_rng(0).random(50)
    plain = [np.mean(sorted(rewards[: count + 1])[-5:]) for count in range(50)]
    assert np.allclose(best_means(rewards.tolist(), 5), plain)
    assert np.allclose(moving_mean(rewards, 7), [rewards[max(0, n - 6) : n + 1].mean() for n in range(50)])


def test_what_is_written_in_a_table_is_text() -> None:
    assert "<script>" not in html_table(["a"], [["<script>"]])
