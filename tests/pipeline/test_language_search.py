"""Searches for recurrent cells, from the command line to the tables."""

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import assert_same_run, type_in
from exported import module_of

from pipeline import load_run
from pipeline.progress import format_reward
from pipeline.run_paths import RunPaths
from pipeline.summary import summarise

WORDS = ["the", "cat", "sat", "on", "a", "mat", "while", "dogs", "ran", "in", "rain"]
SMALL = [
    "search.samples=8", "search.control=none", "space.options.base=2", "data.vocabulary=none", "data.num_train=none",
    "data.num_validation=none", "language.parameters=3000", "language.epochs=2", "language.batch_size=4",
    "language.learning_rate=0.1", "language.init_range=0.2",
    "language.steps=20", "language.clip_norm=5", "cluster.workers=1", "cluster.processes=false",
]  # fmt: skip


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sentences that go on where the one before them ended."""
    folder = tmp_path_factory.mktemp("text")
    lines = [" ".join(WORDS[(start + step) % len(WORDS)] for step in range(5)) for start in range(60)]
    for name, part in (("train", lines), ("valid", lines[:15]), ("test", lines[:15])):
        (folder / f"{name}.txt").write_text("\n".join(part) + "\n")
    return folder


def search(text: Path, folder: Path, *more: str) -> str:
    sets = [part for setting in SMALL for part in ("--set", setting)]
    return type_in("run", "--experiment", "ptb_small", "--data", text, "--run", folder, *sets, *more)


@pytest.fixture(scope="module")
def found(text: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    folder = tmp_path_factory.mktemp("runs") / "cells"
    return folder, search(text, folder)


def test_a_search_rewards_low_perplexities(found: tuple[Path, str]) -> None:
    folder, output = found
    results, epochs = pd.read_parquet(folder / "results"), pd.read_parquet(folder / "epochs")
    ok = results[results.status == "ok"]
    assert len(results) == 8 and len(ok) > 4
    assert (ok.reward - 80 / ok.metric**2).abs().max() < 1e-9
    lowest = epochs.groupby("trial_id").validation_metric.min()
    assert (ok.set_index("trial_id").metric == lowest[ok.trial_id]).all()
    best = ok.loc[ok.metric.idxmin()]
    assert summarise(RunPaths(folder)).ranked[0]["trial_id"] == best.trial_id
    assert f"validation perplexity {best.metric:.2f}, reward {format_reward(best.reward)}" in output
    assert " FLOPs a token" in output and "new h = a" in output
    assert "24,576 architectures" in output


def test_the_same_seed_gives_the_same_tables(found: tuple[Path, str], text: Path, tmp_path: Path) -> None:
    search(text, tmp_path / "again")
    assert_same_run(tmp_path / "again", found[0])


def test_known_cells_are_trained_like_those_of_a_search(text: Path, tmp_path: Path) -> None:
    """The space's own options go when another is named."""
    sets = [part for setting in SMALL if "space" not in setting for part in ("--set", setting)]
    known = ["--space", "models.baseline_space:baseline_space"]
    command = ["run", "--experiment", "ptb_small", "--data", text, "--run", tmp_path / "known", *sets, *known]
    output = type_in(*command)
    results = pd.read_parquet(tmp_path / "known/results").merge(
        pd.read_parquet(tmp_path / "known/samples"), on="trial_id"
    )
    assert set(results.architecture) == {'"lstm"', '"rnn"'} and (results.status == "ok").all()
    assert (results.parameters - 3_000).abs().max() < 300
    assert "2 architectures" in output


def test_the_best_cell_is_trained_in_several_sizes_and_tested_once(found: tuple[Path, str], tmp_path: Path) -> None:
    shutil.copytree(found[0], tmp_path / "run")
    settings = [
        'final.grid={"language.learning_rate"=[0.1,0.05]}', "final.shared_embeddings=[false,true]", "final.epochs=3",
        "cluster.workers=1", "cluster.processes=false",
    ]  # fmt: skip
    sets = [part for setting in settings for part in ("--set", setting)]
    output = type_in("final", tmp_path / "run", "--parameters", "3e3,6e3", *sets)
    table = pd.read_parquet(tmp_path / "run" / "final").sort_values("training", ignore_index=True)
    assert table.step.tolist() == ["grid"] * 2 + ["long"] * 4 + ["test"]
    wanted = [json.loads(settings)["language.parameters"] for settings in table.settings[2:6]]
    assert wanted == [3000, 3000, 6000, 6000] and (table.parameters[2:6] / wanted - 1).abs().max() < 0.1
    epochs = pd.read_parquet(tmp_path / "run" / "final_epochs").groupby("training").validation_metric.min()
    assert table.metric[:6].tolist() == pytest.approx(epochs.tolist())
    test = table.iloc[-1]
    assert test.metric == table.metric[2:6].min() and np.exp(test.test_loss) == pytest.approx(test.test_metric)
    # its test file holds the same lines as its validation file
    assert test.test_metric == pytest.approx(test.metric) and f"Test perplexity {test.test_metric:.2f}" in output


def test_the_best_model_is_exported_with_its_words_and_trained_weights(
    found: tuple[Path, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipeline.export.write_graphs", lambda folder, example: {})
    type_in("export", found[0], "--train", "--to", tmp_path / "best")
    run = load_run(found[0])
    best = run.best()[0]
    words = json.loads((tmp_path / "best/vocabulary.json").read_text())
    assert set(words) == {*WORDS, "<eos>"}
    exported, fresh = module_of(tmp_path / "best").load(), run.build()
    assert sum(weight.numel() for weight in exported.parameters()) == best.parameters
    text = " ".join(WORDS[:5]) + " <eos> " + " ".join(WORDS[1:6])
    tokens = torch.tensor([[words.index(word)] for word in text.split()])
    losses = [
        torch.nn.functional.cross_entropy(model(tokens[:-1])[0].flatten(0, 1), tokens[1:].flatten())
        for model in (exported, fresh)
    ]
    assert losses[0] < losses[1], "it has learned"
    last = run.epochs().query(f"trial_id == {best.trial_id}").validation_metric.iloc[-1]
    assert f"at validation perplexity {last:.2f}." in (tmp_path / "best/README.md").read_text()
