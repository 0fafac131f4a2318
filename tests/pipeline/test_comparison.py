"""Policies compared over seeds."""

import math
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import search_table, type_in, write_table

from pipeline.comparison import comparison_text, differences, points_of, top_means
from pipeline.run_paths import RunPaths
from pipeline.table_reference import COMPARISON


def compare(table: Path, folder: Path, *more: str, expected: int = 0) -> str:
    fixed = ["--columns", "width,kind,skip", "--reward", "accuracy", "--samples", "60", "--every", "20", "--seeds", "2"]
    arguments = ["--experiment", "table", "--table", table, *fixed, "--policies", "random,evolution"]
    evolution = ["--set", "evolution.population_size=10", "--set", "evolution.tournament_size=4"]
    return type_in("compare", folder, *arguments, *evolution, *more, expected=expected)


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, str]:
    """A table, a comparison over it, and what was printed. Not to be changed."""
    folder = tmp_path_factory.mktemp("comparison")
    table = write_table(folder)
    return table, folder / "compared", compare(table, folder / "compared")


def test_a_comparison_leaves_searches_a_table_and_plots(done: tuple[Path, Path, str]) -> None:
    _, folder, output = done
    assert {path.name for path in folder.iterdir() if path.is_dir()} >= {"random-0", "random-1", "evolution-0"}
    frame = pd.read_parquet(folder / "comparison.parquet")
    pd.testing.assert_frame_equal(frame, pd.read_csv(folder / "comparison.csv"), check_dtype=False)
    assert list(frame.columns) == [name for name, _, _ in COMPARISON], "as docs/tables.md says"
    assert frame[["top", "models"]].value_counts().to_dict() == {
        (top, models): 1 for top in (1, 5, 15) for models in (20, 40, 60)
    }
    assert (folder / "comparison.png").read_bytes()[1:4] == b"PNG" and "<svg" in (folder / "comparison.svg").read_text()
    assert output.count("finished, in") == 4 and "random against evolution, best 15 of 60 models, 2 seeds" in output


def test_means_are_of_different_networks_by_their_first_training(done: tuple[Path, Path, str]) -> None:
    run = done[1] / "evolution-1"
    merged = pd.read_parquet(run / "results").merge(pd.read_parquet(run / "samples"), on="trial_id")
    first = merged[(merged.trial_id < 40) & (merged.status == "ok")].sort_values("trial_id")
    best = first.drop_duplicates("architecture_hash").metric.nlargest(5)
    means = top_means(RunPaths(run), [20, 40, 60])
    assert means[5, 40] == pytest.approx(best.mean()) and means[1, 40] == pytest.approx(best.max())
    frame = pd.read_parquet(done[1] / "comparison.parquet").set_index(["top", "models"])
    other = [top_means(RunPaths(done[1] / f"evolution-{seed}"), [20, 40, 60])[5, 40] for seed in (0, 1)]
    assert frame.other_metric[5, 40] == pytest.approx(np.mean(other))


def test_finished_searches_are_not_run_again(done: tuple[Path, Path, str], tmp_path: Path) -> None:
    table, folder, _ = done
    shutil.copytree(folder, tmp_path / "compared")
    shutil.rmtree(tmp_path / "compared" / "random-1")
    for path in sorted((tmp_path / "compared" / "evolution-0" / "checkpoints").iterdir())[1:]:
        path.unlink()  # as if it had been killed
    output = compare(table, tmp_path / "compared")
    assert output.count("finished, in") == 2 and "random, seed 1: " in output and "evolution, seed 0: " in output
    frames = [pd.read_parquet(place / "comparison.parquet") for place in (folder, tmp_path / "compared")]
    pd.testing.assert_frame_equal(*frames)


def test_a_comparison_goes_by_its_name(
    done: tuple[Path, Path, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table, folder, _ = done
    shutil.copytree(folder, tmp_path / "runs" / "mine")
    monkeypatch.chdir(tmp_path)
    output = compare(table, Path("mine"))
    assert "Table and plot: runs/mine/comparison.parquet" in output and not Path("mine").exists()
    assert "--json: allowed with two runs" in type_in("compare", "mine", "--json", expected=2)


def test_a_comparison_is_in_the_reports_of_all_that_belong_to_it(done: tuple[Path, Path, str], tmp_path: Path) -> None:
    table, compared, _ = done
    search_table(table, tmp_path / "run", "--policy", "random", "--set", "search.control=none", "--seed", "5")
    before = (tmp_path / "run/report/report.html").read_text()
    few = ["--samples", "20", "--policies", "random,evolution", "--seeds", "2"]
    few += ["--set", "evolution.population_size=10", "--set", "evolution.tournament_size=4"]
    type_in("compare", tmp_path / "run/compared", "--like", tmp_path / "run", *few)
    assert (tmp_path / "run/compared/random-6").is_dir(), "seeds go on from that of the run"
    reports = [tmp_path / "run/report", *(compared.glob("*/report"))]
    assert "Figure 6" not in before and len(reports) == 5
    for report in reports:
        page = (report / "report.html").read_text()
        assert 'aria-label="Improvement over other policies (Figure 6)"' in page and 'href="comparison.csv"' in page
        assert "2 seeds each; bands are 95% intervals" in page
        frame = pd.read_csv(report / "comparison.csv")
        assert set(frame.other) == {"evolution"}
    refused = type_in("compare", tmp_path / "new", "--like", tmp_path / "run", "--reward", "x", expected=2)
    assert "--like and --reward do not go together" in refused


def test_other_settings_need_another_folder(done: tuple[Path, Path, str]) -> None:
    table, folder, _ = done
    message = compare(table, folder, "--set", "search.reward_power=2", expected=2)
    assert "random-0: a search with other settings" in message
    assert "two or more different ones" in compare(table, folder, "--policies", "random", expected=2)
    assert "'best': allowed are controller" in compare(table, folder, "--policies", "random,best", expected=2)


def test_intervals_are_those_of_students_t() -> None:
    gains = [0.3, 0.1, 0.2, 0.5]
    curves = {("a", seed): {(1, 400): gain} for seed, gain in enumerate(gains)}
    curves |= {("b", seed): {(1, 400): 0.0} for seed in range(4)}
    (row,) = differences(curves, "a", "b", 1.0)
    half = 3.182 * np.std(gains, ddof=1) / 2
    assert (row["low"], row["high"]) == (pytest.approx(0.275 - half), pytest.approx(0.275 + half))
    (worse,) = differences(curves, "a", "b", -1.0)  # of perplexities
    assert worse["difference"] == pytest.approx(-0.275) and worse["high"] == pytest.approx(half - 0.275)
    (alone,) = differences({key: curve for key, curve in curves.items() if key[1] == 0}, "a", "b", 1.0)
    assert math.isnan(alone["low"]) and alone["difference"] == 0.3


def test_where_too_few_ended_well_there_is_no_figure(done: tuple[Path, Path, str], tmp_path: Path) -> None:
    shutil.copytree(done[1], tmp_path / "compared")
    compare(done[0], tmp_path / "compared", "--every", "1")
    frame = pd.read_parquet(tmp_path / "compared" / "comparison.parquet").set_index(["top", "models"])
    assert frame.loc[15].loc[:14, ["policy_metric", "difference", "low", "high"]].isna().all(axis=None)
    assert frame.loc[15].loc[60].notna().all() and (tmp_path / "compared" / "comparison.svg").exists()
    means = top_means(RunPaths(done[1] / "random-0"), [0, 4, 60])
    assert math.isnan(means[1, 0]) and math.isnan(means[5, 4]) and means[1, 4] > 0


def test_a_seed_without_a_figure_leaves_no_difference_and_that_is_said() -> None:
    curves = {(name, seed): {(1, 30): 0.5, (15, 30): 0.4} for name in "ab" for seed in range(2)}
    curves["b", 1] = {(1, 30): 0.4, (15, 30): math.nan}
    rows = differences(curves, "a", "b", 1.0)
    assert rows[0]["difference"] == pytest.approx(0.05) and math.isfinite(rows[0]["low"])
    assert all(math.isnan(rows[1][name]) for name in ("difference", "low", "high", "other_metric"))
    first, second = comparison_text(pd.DataFrame(rows)).splitlines()
    assert "better by +0.05" in first and "no figure" not in first
    assert second == (
        "a against b, best 15 of 30 models, 2 seeds: no figure, since a search has fewer than 15 different networks"
    )


def test_points_end_with_the_search() -> None:
    assert points_of(1_200, 400) == [400, 800, 1_200] and points_of(32, 10) == [10, 20, 30, 32]


def test_a_search_that_fails_is_told_in_a_line(tmp_path: Path) -> None:
    table = write_table(tmp_path)
    output = compare(table, tmp_path / "compared", "--set", "child.task=math:sqrt", expected=1)
    assert "error: SearchStopped: " in output and "Traceback (most" not in output
    assert f"The traceback is in {tmp_path}/compared/random-0/run.log. Nothing that ended is lost." in output
