"""Networks for images as folders of their own."""

import ast
import json
import sys
from pathlib import Path

import pandas as pd
import pytest
import torch
from conftest import type_in
from exported import assert_well_written, drawn, module_of, outputs_elsewhere
from safetensors.torch import load_file

from models.conv_architecture import ConvArchitecture
from models.conv_layers import ConvLayer
from models.conv_net import ConvNet
from models.presets import figure7
from pipeline import load_run
from pipeline.errors import UserError
from pipeline.export import Origin, export_network
from tasks.data import center
from tasks.settings import DataSettings

IMAGES = DataSettings(upsample=13, crop=11)


def export(architecture: ConvArchitecture, folder: Path, images: DataSettings = IMAGES) -> ConvNet:
    """Export a network that has seen a few images, so that its batch norms are not as they were made."""
    torch.manual_seed(1)
    network = ConvNet(architecture, 3, 10, batch_norm_epsilon=1e-3)
    network(torch.randn(8, 3, images.crop, images.crop))
    network.eval()
    export_network(architecture, network, folder, Origin("A network"), images=images, graphs=False)
    return network


@pytest.mark.parametrize("space", ["plain", "strides", "even filters", "blocks", "types"])
@torch.no_grad()
def test_the_code_of_every_kind_of_network_computes_the_same_bits(space: str, tmp_path: Path) -> None:
    for seed in range(6):
        architecture = drawn(space, seed)
        network = export(architecture, tmp_path / str(seed))
        model = module_of(tmp_path / str(seed)).load()
        for size in (11, 8, 1):
            images = torch.randn(3, 3, size, size + 2)
            assert torch.equal(model(images), network(images)), architecture.describe()
        layouts = torch.randn(2, 3, 11, 11).contiguous(memory_format=torch.channels_last)
        assert torch.equal(model(layouts), network(layouts))
        model.train(), network.train()
        images = torch.randn(4, 3, 11, 11)
        assert torch.equal(model(images), network(images))


@pytest.mark.parametrize("space", ["strides", "blocks", "types"])
def test_the_code_is_written_as_our_own_is(space: str, tmp_path: Path) -> None:
    export(drawn(space, 3), tmp_path)
    assert_well_written(tmp_path)


def test_many_inputs_are_laid_out_in_lines(tmp_path: Path) -> None:
    layers = [ConvLayer(1, 1, 1, inputs=tuple(range(number))) for number in range(30)]
    network = export(ConvArchitecture(tuple(layers)), tmp_path)
    assert_well_written(tmp_path)
    images = torch.randn(2, 3, 4, 4)
    assert torch.equal(module_of(tmp_path).load()(images), network(images))


@torch.no_grad()
def test_figure_7_loads_where_this_project_is_unknown(tmp_path: Path) -> None:
    images = torch.randn(2, 3, 11, 11)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    network = export(figure7(), tmp_path)
    expected = network(images)
    torch.set_num_threads(threads)
    assert torch.equal(outputs_elsewhere(tmp_path, images), expected)
    text = (tmp_path / "model.py").read_text()
    assert "self.conv5 = nn.Conv2d(72, 48, (3, 7), padding=(1, 3), bias=False)" in text
    assert "x5 = torch.cat([x3, x4], dim=1)\n        x5 = functional.relu(self.norm5(self.conv5(x5)))" in text
    nodes = list(ast.walk(ast.parse(text)))
    imported = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    imported |= {str(node.module) for node in nodes if isinstance(node, ast.ImportFrom)}
    assert {name.partition(".")[0] for name in imported} - sys.stdlib_module_names == {"torch"}


def test_images_are_prepared_as_for_children(tmp_path: Path) -> None:
    export(drawn("plain", 0), tmp_path)
    images = torch.randint(256, (5, 3, 8, 8), dtype=torch.uint8)
    assert torch.equal(module_of(tmp_path).prepare(images), center(images, IMAGES))


def test_data_beside_the_code_are_whole(tmp_path: Path) -> None:
    architecture = drawn("types", 2)
    network = export(architecture, tmp_path)
    read = ConvArchitecture.from_json(json.loads((tmp_path / "architecture.json").read_text()))
    assert read == architecture
    weights = load_file(tmp_path / "weights.safetensors")
    assert sum(weight.numel() for weight in weights.values()) == sum(
        weight.numel() for weight in network.state_dict().values()
    )
    assert architecture.describe() in (tmp_path / "README.md").read_text()


def test_a_folder_with_files_in_it_is_left_alone(tmp_path: Path) -> None:
    for name in ("mine.txt", "model.py"):
        (tmp_path / name).write_text("mine")
        with pytest.raises(UserError, match="exists already"):
            export(drawn("plain", 0), tmp_path)
        assert [path.name for path in tmp_path.iterdir()] == [name] and (tmp_path / name).read_text() == "mine"
        (tmp_path / name).unlink()


def test_an_export_that_was_interrupted_is_made_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr("pipeline.export._readme", lambda *_: 1 / 0)  # what is written last
        with pytest.raises(ZeroDivisionError):
            export(drawn("plain", 0), tmp_path)
    assert (tmp_path / "model.py").exists()
    export(drawn("plain", 0), tmp_path)
    assert (tmp_path / "README.md").exists()
    with pytest.raises(UserError, match="exists already"):
        export(drawn("plain", 0), tmp_path)


def test_other_networks_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="a Linear cannot be exported: allowed are ConvNet and LanguageModel"):
        export_network(None, torch.nn.Linear(1, 1), tmp_path / "linear", Origin("Linear"))


@pytest.fixture
def without_graphs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Graphs take seconds, and have tests of their own."""
    monkeypatch.setattr("pipeline.export.write_graphs", lambda folder, example: {})


@pytest.mark.usefixtures("without_graphs")
def test_the_best_of_a_run_is_exported_as_its_training_begins(finished_run: Path, tmp_path: Path) -> None:
    type_in("export", finished_run, "--to", tmp_path / "best")
    run = load_run(finished_run)
    images = torch.randn(2, 1, 8, 8)
    ours = run.build().eval()
    assert torch.equal(module_of(tmp_path / "best").load()(images), ours(images))
    readme = (tmp_path / "best/README.md").read_text()
    best = run.best()[0]
    assert f"# Trial {best.trial_id} of finished" in readme and "has learned nothing yet" in readme
    assert f"validation accuracy {best.metric:.2%}, {best.parameters:,} parameters" in readme


@pytest.mark.usefixtures("without_graphs")
def test_training_again_gives_the_numbers_of_the_search(finished_run: Path, tmp_path: Path) -> None:
    type_in("export", finished_run, "--trial", 3, "--train", "--to", tmp_path / "trained")
    last = load_run(finished_run).epochs().query("trial_id == 3").validation_metric.iloc[-1]
    told = f"after the 2 epochs of training that the search gives, at validation accuracy {last:.2%}."
    assert told in (tmp_path / "trained/README.md").read_text()
    weights = tmp_path / "trained/weights.safetensors"
    fresh = load_run(finished_run).build(3).state_dict()["layers.0.0.weight"]
    assert not torch.equal(load_file(weights)["conv1.weight"], fresh)
    assert pd.read_parquet(finished_run / "results").trial_id.is_unique and not (finished_run / "children").exists()


@pytest.mark.usefixtures("without_graphs")
def test_weights_come_from_a_file(finished_run: Path, tmp_path: Path) -> None:
    run = load_run(finished_run)
    state = {name: torch.rand_like(value.float()).to(value.dtype) for name, value in run.build(0).state_dict().items()}
    torch.save(state, tmp_path / "trained.pt")
    torch.save({"parts": {"network": state}, "epochs": []}, tmp_path / "checkpoint.pt")
    for name in ("trained", "checkpoint"):
        type_in("export", finished_run, "--trial", 0, "--weights", tmp_path / f"{name}.pt", "--to", tmp_path / name)
        kept = load_file(tmp_path / name / "weights.safetensors")
        assert torch.equal(kept["conv2.weight"], state["layers.1.0.weight"])


def test_mistakes_are_told(finished_run: Path, tmp_path: Path) -> None:
    to = ["--to", tmp_path / "new"]
    torch.save({"conv": torch.zeros(1)}, tmp_path / "other.pt")
    (tmp_path / "text.pt").write_text("text")
    for arguments, message in (
        ([finished_run, "--trial", 20, *to], "no trial 20; it has 0 to 19"),
        ([finished_run, "--preset", "figure7", *to], "one of them, and not both"),
        (to, "one of them, and not both"),
        (["--preset", "figure8", *to], "unknown preset 'figure8'; allowed: figure7, nascell"),
        (["--preset", "nascell", "--train", *to], "not for a preset"),
        ([finished_run, "--train", "--weights", tmp_path / "other.pt", *to], "do not go together"),
        ([finished_run, "--weights", tmp_path / "other.pt", *to], "not the weights of trial"),
        ([finished_run, "--weights", tmp_path / "text.pt", *to], "cannot be read as weights"),
        ([finished_run, "--weights", tmp_path / "none.pt", *to], "no such file"),
        ([finished_run, "--to", finished_run], "exists already"),
    ):
        assert message in type_in("export", *arguments, expected=2)
    assert not (tmp_path / "new").exists()
