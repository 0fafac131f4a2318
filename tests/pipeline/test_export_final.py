"""Networks of the final stage, exported with what they were trained with and the weights that were kept."""

import math
import re
import runpy
import shutil
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
import torch
from conftest import IN_THIS_PROCESS, type_in, write_table
from exported import module_of
from torch.nn import functional

from models.conv_net import ConvNet
from models.language_model import LanguageModel
from pipeline import load_comparison, load_run
from pipeline.datasets import prepare_data
from pipeline.errors import UserError
from pipeline.run_folder import open_run
from tasks.data import load_images
from tasks.text_data import load_text

README = Path(__file__).parents[2] / "README.md"
EPSILON = 1e-3
GRID = 'final.grid={"child.learning_rate"=[0.05],"child.batch_norm_epsilon"=[0.001]}'
TEXT_SEARCH = [
    "language.hidden_units=4", "language.learning_rate=0.5", "language.init_range=0.1", "search.control=none",
    "data.vocabulary=none", "data.num_train=none", "data.num_validation=none", *IN_THIS_PROCESS,
]  # fmt: skip
TEXT_FINAL = ["final.grid={}", "final.epochs=2", "final.shared_embeddings=[true]", *IN_THIS_PROCESS]


def sets(settings: list[str]) -> list[str]:
    return [f"--set={setting}" for setting in settings]


@pytest.fixture(scope="module")
def images(small_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run whose final stage trained the network as found and with 3 filters more. Not to be changed."""
    run = tmp_path_factory.mktemp("runs") / "images"
    shutil.copytree(small_run, run)
    type_in("final", run, "--more-filters", "3", *sets([GRID, "final.epochs=3", *IN_THIS_PROCESS]))
    return run


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run for text whose final stage has a tied cell of another size than the search's. Not to be changed."""
    folder = tmp_path_factory.mktemp("text")
    for split in ("train", "valid", "test"):
        lines = ("".join(f"{chr(97 + (7 * line + place**2) % 20)} " for place in range(6)) for line in range(30))
        (folder / f"{split}.txt").write_text("\n".join(lines))
    run = folder / "text"
    command = ["run", "--experiment", "ptb_small", "--run", run, "--data", folder, "--samples", "4"]
    type_in(*command, *sets(TEXT_SEARCH))
    type_in("final", run, "--parameters", "1500", *sets(TEXT_FINAL))
    return run


@pytest.fixture(autouse=True)
def without_graphs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Graphs take seconds, and have tests of their own."""
    monkeypatch.setattr("pipeline.export.write_graphs", lambda folder, example: {})


def long_trainings(run: Path) -> pd.DataFrame:
    table = pd.read_parquet(run / "final")
    return table[table.step == "long"].set_index("training")


@torch.no_grad()
def test_networks_for_images_have_the_epsilon_and_the_filters_they_were_trained_with(
    images: Path, tmp_path: Path
) -> None:
    rows = long_trainings(images)
    assert rows.more_filters.tolist() == [0, 3]
    paths, configuration = open_run(images)
    data = load_images(
        str(prepare_data(configuration.data, paths.prepared_data)), configuration.data, torch.device("cpu")
    )
    for number, row in rows.iterrows():
        type_in("export", images, "--training", number, "--to", tmp_path / str(number))
        module = module_of(tmp_path / str(number))
        model, inputs = module.load(), module.prepare(data.validation.images)
        found = load_run(images).architecture(row.trial_id)
        wider = tuple(replace(layer, num_filters=layer.num_filters + row.more_filters) for layer in found.layers)
        found = replace(found, layers=wider)
        ours, other = ConvNet(found, 1, 10, EPSILON).eval(), ConvNet(found, 1, 10).eval()
        for network in (ours, other):
            network.load_state_dict(torch.load(images / row.weights, weights_only=True))
        assert torch.equal(model(inputs), ours(inputs)) and not torch.equal(model(inputs), other(inputs))
        right = (model(inputs).argmax(1) == data.validation.labels).double().mean().item()
        assert right == pytest.approx(row.metric, abs=0.1), "validated in bfloat16, where the processor computes in it"
        assert torch.equal(load_run(images).build(training=int(str(number)))(inputs), ours(inputs))


def test_the_readme_tells_the_figure_of_the_test_where_it_is_known(images: Path, tmp_path: Path) -> None:
    table = pd.read_parquet(images / "final")
    test = table[table.step == "test"].iloc[0]
    type_in("export", images, "--final", "--to", tmp_path / "final")
    readme = (tmp_path / "final/README.md").read_text()
    assert f"# Training {test.tested:.0f} of the final stage of images" in readme
    assert f"Test error rate {1 - test.test_metric:.2%}" in readme and "batch_norm_epsilon 0.001" in readme
    (other,) = set(long_trainings(images).index) - {test.tested}
    type_in("export", images, "--training", other, "--to", tmp_path / "other")
    assert "It was not tested." in (tmp_path / "other/README.md").read_text()


@torch.no_grad()
def test_a_tied_cell_of_another_size_predicts_as_it_was_trained_to(text: Path, tmp_path: Path) -> None:
    (row,) = long_trainings(text).reset_index().to_dict("records")
    type_in("export", text, "--final", "--to", tmp_path / "cell")
    model = module_of(tmp_path / "cell").load()
    assert model.softmax.weight is model.embedding.weight and model.softmax.in_features != 4
    assert sum(weight.numel() for weight in model.parameters()) == row["parameters"]
    paths, configuration = open_run(text)
    tokens = load_text(str(prepare_data(configuration.data, paths.prepared_data)), torch.device("cpu")).validation
    columns = tokens[: len(tokens) // 20 * 20]
    ours = load_run(text).build(training=row["training"])
    assert isinstance(ours, LanguageModel)
    torch.testing.assert_close(model(columns.view(-1, 20))[0], ours(columns.view(-1, 20))[0], rtol=1e-5, atol=1e-6)
    logits, _ = model(tokens[:-1, None])  # in one column: close to the 20 that it was validated in
    perplexity = math.exp(functional.cross_entropy(logits[:, 0], tokens[1:]))
    assert perplexity == pytest.approx(row["metric"], rel=0.05)


def test_the_tables_of_stages_are_frames(images: Path, small_run: Path) -> None:
    run = load_run(images)
    pd.testing.assert_frame_equal(run.final(), pd.read_parquet(images / "final"))
    assert set(run.final().step) == {"grid", "long", "test"} and str(run.final().tested.dtype) == "Int64"
    for empty in (
        load_run(small_run).final(),
        run.ablations(),
        run.transfers("characters"),
        run.transfers("translation"),
    ):
        assert empty.empty and {"training", "metric", "weights"} <= set(empty.columns)
    with pytest.raises(ValueError, match="task 'speech': allowed are characters, translation"):
        run.transfers("speech")
    with pytest.raises(ValueError, match="name one of them"):
        run.build(0, training=1)
    with pytest.raises(ValueError, match="do not go together"):
        run.export("new", train=True, final=True)
    with pytest.raises(UserError, match="no comparison there"):
        load_comparison(images)


def test_the_readmes_example_of_what_comes_after_a_search_runs(
    images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    compared = ["compare", tmp_path / "runs/digits-compared", "--experiment", "table", "--table", write_table(tmp_path)]
    few = ["--samples", "20", "--seeds", "1", "--policies", "random,evolution", "--set=evolution.population_size=5"]
    type_in(*compared, "--columns", "width,kind,skip", "--reward", "accuracy", *few)
    (tmp_path / "runs/digits-1").symlink_to(images)
    section = README.read_text().partition("\n## After the search\n")[2].partition("\n## ")[0]
    (code,) = re.findall(r"^```python\n(.*?)^```$", section, re.DOTALL | re.MULTILINE)
    (tmp_path / "example.py").write_text(code)
    monkeypatch.chdir(tmp_path)
    left = runpy.run_path("example.py")
    printed = capsys.readouterr().out
    assert "long" in printed and "test_metric" in printed and "evolution" in printed and "Empty" not in printed
    assert isinstance(left["network"], ConvNet) and (tmp_path / "tested/model.py").is_file()


def test_what_cannot_be_exported_is_told(images: Path, small_run: Path, tmp_path: Path) -> None:
    to = ["--to", tmp_path / "new"]
    kept = long_trainings(images)
    weights = images / kept.weights.iloc[0]
    for arguments, message in (
        ([images, "--training", 0, *to], "no final training 0 that kept its weights; allowed are 1, 2"),
        ([small_run, "--training", 0, *to], "no final training 0 that kept its weights; there is none yet"),
        ([small_run, "--final", *to], "no final training has been tested"),
        ([images, "--final", "--trial", 0, *to], "do not go together"),
        ([images, "--final", "--training", 1, *to], "do not go together"),
        (["--preset", "figure7", "--final", *to], "not for a preset"),
        ([images, "--weights", weights, *to], f"the weights of a final training; --training {kept.index[0]} exports"),
    ):
        assert message in " ".join(type_in("export", *arguments, expected=2).split()), message
    assert not (tmp_path / "new").exists()
