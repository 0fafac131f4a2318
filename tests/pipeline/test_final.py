"""The final stage of a search: grid, long trainings, and one look at the test split."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import CHANCE_COLUMNS, IN_THIS_PROCESS, type_in
from rich.console import Console
from sklearn.datasets import load_digits

from models.language_model import count_parameters
from models.space import SearchSpace
from pipeline.configuration import override
from pipeline.datasets import prepare_data
from pipeline.errors import UserError
from pipeline.experiments import cifar10_pooling, ptb
from pipeline.final import FinalStage, best_of, finished_search
from pipeline.held_out import evaluate_once, row_of_test
from pipeline.run_folder import open_run
from pipeline.run_paths import RunPaths
from pipeline.stage_settings import IMAGE_GRID, LANGUAGE_GRID
from pipeline.study import Planned, open_study
from pipeline.summary import SearchSummary, summarise
from pipeline.tables import read_table
from tasks.data import ImageSplit, load_images
from tasks.device import pick_precision
from tasks.image_child import build_network, evaluate
from tasks.language_child import hidden_units_of
from tasks.weights import load_weights

SMALL = ['final.grid={"child.learning_rate"=[0.1,0.02]}', "final.epochs=3"]
PRECISION = pick_precision("auto", torch.device("cpu"))


def final(run: Path, *arguments: str, expected: int = 0) -> str:
    sets = [part for setting in [*IN_THIS_PROCESS, *SMALL] for part in ("--set", setting)]
    return type_in("final", run, *sets, *arguments, expected=expected)


def rows(run: Path) -> pd.DataFrame:
    return pd.read_parquet(run / "final").sort_values("training", ignore_index=True)


@pytest.fixture(scope="module")
def done(small_run: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A run after its final stage. Not to be changed."""
    run = tmp_path_factory.mktemp("runs") / "run"
    shutil.copytree(small_run, run)
    shutil.copy(run / "report/report.html", run.parent / "before.html")
    return run, final(run, "--more-filters", "3")


@pytest.fixture
def run(done: tuple[Path, str], tmp_path: Path) -> Path:
    """A copy of it."""
    shutil.copytree(done[0], tmp_path / "run")
    return tmp_path / "run"


def test_the_report_has_what_was_tested(done: tuple[Path, str]) -> None:
    page = (done[0] / "report/report.html").read_text()
    tested = rows(done[0]).test_metric.dropna().item()
    assert "The final stage" in page and f"test accuracy {tested:.2%}" in page
    assert "final stage" not in (done[0].parent / "before.html").read_text()


def test_the_best_of_the_grid_is_trained_for_longer(done: tuple[Path, str]) -> None:
    table = rows(done[0])
    assert table.step.tolist() == ["grid", "grid", "long", "long", "test"]
    best = summarise(open_run(done[0])[0]).ranked[0]
    assert (table.trial_id == best["trial_id"]).all()
    grid = table[table.step == "grid"]
    assert [json.loads(settings)["child.learning_rate"] for settings in grid.settings] == [0.1, 0.02]
    assert (grid.epochs == 2).all() and grid.weights.isna().all()
    chosen = json.loads(grid.loc[grid.metric.idxmax()].settings)
    long = table[table.step == "long"]
    assert [json.loads(settings) for settings in long.settings] == [{**chosen, "child.epochs": 3}] * 2
    assert (long.epochs == 3).all() and long.more_filters.tolist() == [0, 3]
    assert long.parameters.iloc[1] > long.parameters.iloc[0]
    epochs = pd.read_parquet(done[0] / "final_epochs")
    assert epochs.groupby("training").size().tolist() == [2, 2, 3, 3]


def test_the_test_split_stands_in_one_row_alone(done: tuple[Path, str]) -> None:
    table = rows(done[0])
    test = table[table.test_metric.notna()]
    assert len(test) == 1 and test.step.tolist() == ["test"]
    long = table[table.step == "long"]
    assert test.tested.item() == long.training[long.metric.idxmax()]
    assert test.metric.item() == long.metric.max()
    assert f"Test error rate {1 - test.test_metric.item():.2%}" in done[1]
    assert not (done[0] / "test-split").exists()
    assert (done[0] / "report" / "final.txt").read_text().strip() in done[1]


def long_trainings(run: Path) -> list[tuple[Planned, dict[str, Any]]]:
    """The long trainings as they are planned, with their rows."""
    paths, configuration = open_run(run)
    configuration = override(configuration, [*SMALL, "final.more_filters=[3]"])
    data_path = prepare_data(configuration.data, paths.prepared_data)
    stage = FinalStage(configuration, paths, finished_search(paths, configuration))
    known = {row["fingerprint"]: row for row in read_table(paths, "final").to_pylist()}
    grid = list(stage.grid(data_path))
    best, _ = best_of(grid, [known[training.fingerprint] for training in grid])
    return [(training, known[training.fingerprint]) for training in stage.long(best, data_path)]


def test_the_figure_is_that_of_the_kept_weights_on_images_that_no_child_saw(done: tuple[Path, str]) -> None:
    """Computed again by hand."""
    test = rows(done[0]).iloc[-1]
    training = next(training for training, row in long_trainings(done[0]) if row["training"] == test.tested)
    trial = training.trial
    architecture = SearchSpace(trial.space.function, trial.space.options).decode(trial.depth, trial.tokens)
    network = build_network(architecture, trial, load_images(trial.data_path, trial.data, torch.device("cpu")))
    load_weights(str(done[0] / test.weights), network)
    bundled, trained_on = load_digits(), np.load(Path(trial.data_path) / "images.npy")
    images = np.rint(bundled.images[len(trained_on) :, None] * (255 / 16)).astype(np.uint8)
    assert len(images) == 360
    split = ImageSplit(torch.from_numpy(images), torch.from_numpy(bundled.target[len(trained_on) :]))
    loss, accuracy = evaluate(network, split, trial.data, PRECISION)
    assert (test.test_loss, test.test_metric) == (pytest.approx(loss), pytest.approx(accuracy))


def test_kept_weights_are_those_of_the_epoch_that_gives_the_metric(done: tuple[Path, str]) -> None:
    for training, row in long_trainings(done[0]):
        trial = training.trial
        architecture = SearchSpace(trial.space.function, trial.space.options).decode(trial.depth, trial.tokens)
        data = load_images(trial.data_path, trial.data, torch.device("cpu"))
        network = build_network(architecture, trial, data)
        load_weights(str(done[0] / row["weights"]), network)
        assert evaluate(network, data.validation, trial.data, PRECISION)[1] == row["metric"]


def test_the_same_command_again_changes_nothing(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline.study.open_cluster", None)  # none is needed
    monkeypatch.setattr("pipeline.held_out.read_test_split", None)
    before = rows(run)
    output = final(run, "--more-filters", "3")
    pd.testing.assert_frame_equal(rows(run), before)
    assert "Its test split was opened for training" in output and "Test error rate" in output


def test_what_is_trained_after_the_test_is_not_tested(run: Path) -> None:
    before = rows(run)
    assert "it is not opened again" in final(run, "--more-filters", "3,5")
    after = rows(run)
    pd.testing.assert_frame_equal(after.iloc[: len(before)], before)
    assert after.step.tolist()[len(before) :] == ["long"] and after.more_filters.iloc[-1] == 5


@pytest.mark.parametrize("status", ["ok", None])
def test_the_test_split_is_not_opened_twice(status: str | None, run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether there is a figure, or the driver died before it could write it down."""
    opened: list[object] = []
    monkeypatch.setattr("pipeline.held_out.read_test_split", opened.append)
    training, row = long_trainings(run)[0]
    with open_study(*open_run(run), "final", Console(quiet=True)) as study:
        study.record({**study.rows[-1], "status": status, "ended_at": 0})
        with pytest.raises(UserError, match=r"its test split was opened for training \d.*; it is not opened twice"):
            evaluate_once(study, training, row)
    assert not opened


@pytest.mark.parametrize("reason", [UserError("cannot be read"), KeyboardInterrupt("cannot be read")])
def test_that_it_is_opened_is_durable_before_it_is_read(
    reason: BaseException, run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a power cut would have it: the journal is copied while the split is read."""
    training, row = long_trainings(run)[0]
    shutil.rmtree(run / "final")
    (run / "final.jsonl").unlink()
    copy = run.parent / "copy"

    def read(*_: object) -> None:
        shutil.copytree(run, copy)
        raise reason

    monkeypatch.setattr("pipeline.held_out.read_test_split", read)
    paths, configuration = open_run(run)
    with open_study(paths, configuration, "final", Console(quiet=True)) as study:
        row = {**row, "training": 0, "ended_at": 0}
        study.record(row)
        with pytest.raises(type(reason), match="cannot be read"):
            evaluate_once(study, training, row)
        assert study.rows[-1]["status"] == "failed" and row_of_test(study.rows) is None, "there is no figure"
    with open_study(RunPaths(copy), configuration, "final", Console(quiet=True)) as study:
        assert row_of_test(study.rows) is not None, "what a power cut leaves"


def test_settings_that_do_not_fit_are_errors(run: Path) -> None:
    assert "are for recurrent cells" in final(run, "--parameters", "25e6", expected=2)
    assert "'x' is not a whole number" in final(run, "--more-filters", "x", expected=2)
    assert "allowed are settings of child" in final(run, "--set", 'final.grid={"data.crop"=[8]}', expected=2)
    assert "language.epochs = 5 means nothing" in final(run, "--set", 'final.grid={"language.epochs"=[5]}', expected=2)
    assert "unknown key child.rate" in final(run, "--set", 'final.grid={"child.rate"=[5]}', expected=2)
    assert "allowed for a run that has begun" in final(run, "--set", "child.epochs=9", expected=2)


def planned_for_text(folder: Path, *settings: str) -> list[Planned]:
    """The long trainings of a cell that `ptb` might find, after the first point of its grid."""
    configuration = override(ptb(), settings)
    row = {"trial_id": 7, "depth": 1, "tokens": (0,) * 34, "architecture": None}
    stage = FinalStage(configuration, RunPaths(folder), SearchSummary(1, 0, (1.0,), (row,)))
    stage.check()
    return list(stage.long(next(stage.grid(folder)), folder))


@pytest.mark.parametrize("units", [[], ["language.hidden_units=650"]], ids=["by parameters", "by hidden units"])
def test_cells_are_trained_in_the_sizes_asked_for(units: list[str], tmp_path: Path) -> None:
    """Table 2: 25M, 32M and 54M parameters, without and with shared embeddings, whatever the search's own size."""
    cell = SearchSpace("models.cell_space:cell_space", {}).decode(1, (0,) * 34)
    sizes = []
    for training in planned_for_text(tmp_path, *units):
        language = training.trial.language
        hidden, tied = hidden_units_of(cell, 10_000, language), language.shared_embeddings
        sizes.append((round(count_parameters(cell, 10_000, hidden, tied=tied) / 1e6), tied))
    assert sizes == [(size, tied) for size in (25, 32, 54) for tied in (False, True)]


def test_shared_embeddings_have_no_size_of_their_own(tmp_path: Path) -> None:
    refused = r"language.embedding_size = 128: shared embeddings have as many units as a layer"
    with pytest.raises(UserError, match=refused):
        planned_for_text(tmp_path, "language.embedding_size=128")
    with pytest.raises(UserError, match=refused):
        planned_for_text(tmp_path, 'final.grid={"language.embedding_size"=[128]}')
    assert len(planned_for_text(tmp_path, "language.embedding_size=128", "final.shared_embeddings=[false]")) == 3


def test_the_grids_are_over_what_the_paper_names() -> None:
    """Sections 4.1 and 4.2."""
    assert set(IMAGE_GRID) == {
        "child.learning_rate", "child.weight_decay", "child.batch_norm_epsilon", "child.decay_at"
    }  # fmt: skip
    dropouts = {"language.output_dropout", "language.recurrent_dropout"}
    schedule = {"language.learning_rate", "language.init_range", "language.constant_epochs"}
    assert set(LANGUAGE_GRID) == dropouts | schedule
    assert all(len(set(map(repr, values))) == 2 for values in (*IMAGE_GRID.values(), *LANGUAGE_GRID.values()))
    assert cifar10_pooling().final.more_filters == (40,), "Table 1"


def test_a_search_has_to_be_finished(run: Path) -> None:
    sorted((run / "checkpoints").iterdir())[-1].unlink()
    assert "6 of 6 children ended; the search has to be finished first: " in final(run, expected=2)


@pytest.mark.parametrize("harm", ["gone", "damaged"])
def test_weights_that_are_lost_before_the_test_are_trained_again(harm: str, run: Path) -> None:
    before = rows(run)
    tested = before[before.step == "test"].iloc[0]
    with open_study(*open_run(run), "final", Console(quiet=True)) as study:  # as if no figure had come of it
        study.record({**study.rows[-1], "status": "failed", "test_metric": None, "test_loss": None, "ended_at": 0})
    weights = run / before[before.training == tested.tested].iloc[0].weights
    weights.unlink()
    if harm == "damaged":
        weights.write_bytes(b"x" * 1_000)
    assert "are gone or damaged: it is trained again" in final(run, "--more-filters", "3")
    chance = [name for name in CHANCE_COLUMNS if name in before.columns]
    pd.testing.assert_frame_equal(rows(run).drop(columns=chance), before.drop(columns=chance))
