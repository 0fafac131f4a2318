"""Exported networks as graphs, run by torch.export and ONNX Runtime."""

from pathlib import Path

import pytest
import torch
from exported import drawn, run_onnx

from models.cell_architecture import CellArchitecture, Node
from models.conv_architecture import ConvArchitecture
from models.conv_layers import ConvLayer, NormLayer, PoolLayer
from models.conv_net import ConvNet
from models.language_model import LanguageModel
from pipeline.export import Origin, export_network
from pipeline.export_graphs import Example, write_graphs
from tasks.settings import DataSettings

EVERY_LAYER = ConvArchitecture(
    (
        ConvLayer(3, 5, 4, stride_height=2),
        NormLayer("local_contrast", inputs=(0,)),
        PoolLayer("average", 2, 1, inputs=(0,)),
        PoolLayer("max", 3, 2, inputs=(0, 1)),
        ConvLayer(2, 3, 4, inputs=(2, 3), batch_norm=False),
        NormLayer("batch", inputs=(4,)),
    ),
    pool_after=(4,),
)


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> tuple[ConvNet, Path]:
    """A network with every kind of layer, and the folder that it was exported into."""
    torch.manual_seed(1)
    network, folder = ConvNet(EVERY_LAYER, 3, 10).eval(), tmp_path_factory.mktemp("images")
    export_network(EVERY_LAYER, network, folder, Origin("A network"), images=DataSettings(upsample=10, crop=9))
    return network, folder


@pytest.mark.parametrize("count", [1, 5])
@torch.no_grad()
def test_graphs_of_images_take_any_number_of_them(images: tuple[ConvNet, Path], count: int) -> None:
    network, folder = images
    given = torch.randn(count, 3, 9, 9, generator=torch.Generator().manual_seed(2))
    torch.testing.assert_close(torch.export.load(folder / "model.pt2").module()(given), network(given))
    assert not (folder / "__pycache__").exists()


@pytest.mark.parametrize("count", [1, 5])
@torch.no_grad()
def test_onnx_graphs_of_images_take_any_number_of_them(images: tuple[ConvNet, Path], count: int) -> None:
    network, folder = images
    given = torch.randn(count, 3, 9, 9, generator=torch.Generator().manual_seed(2))
    (output,) = run_onnx(folder, images=given)
    torch.testing.assert_close(output, network(given), rtol=1e-4, atol=1e-5)


SMALL_CELL = CellArchitecture(
    (Node("add", "tanh"), Node("elem_mult", "relu"), Node("add", "sigmoid")), Node("add", "tanh"), 1, 0
)


@pytest.fixture(
    scope="module",
    params=[SMALL_CELL, pytest.param(drawn("cells", 5), marks=pytest.mark.slow)],
    ids=["small", "base 8"],
)
def text(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[LanguageModel, Path]:
    """A language model, and the folder that it was exported into."""
    torch.manual_seed(1)
    model, folder = LanguageModel(request.param, 20, 8, init_range=0.5).eval(), tmp_path_factory.mktemp("text")
    export_network(request.param, model, folder, Origin("A model"))
    return model, folder


@torch.no_grad()
def test_graphs_of_text_take_a_word_and_the_state(text: tuple[LanguageModel, Path]) -> None:
    model, folder = text
    torch.manual_seed(2)
    tokens, state = torch.randint(20, (1, 3)), (torch.randn(2, 3, 8), torch.randn(2, 3, 8))
    graph = torch.export.load(folder / "model.pt2").module()
    torch.testing.assert_close(graph(tokens, state), model(tokens, state), rtol=1e-4, atol=1e-4)


@torch.no_grad()
def test_onnx_graphs_of_text_take_a_word_and_the_state(text: tuple[LanguageModel, Path]) -> None:
    model, folder = text
    torch.manual_seed(2)
    tokens, state = torch.randint(20, (1, 3)), (torch.randn(2, 3, 8), torch.randn(2, 3, 8))
    logits, last = model(tokens, state)
    outputs = run_onnx(folder, tokens=tokens, h=state[0], c=state[1])
    torch.testing.assert_close(tuple(outputs), (logits, *last), rtol=1e-4, atol=1e-4)


def test_code_that_does_not_load_is_an_error_and_no_missing_graph(tmp_path: Path) -> None:
    (tmp_path / "model.py").write_text("def load():\n    raise RuntimeError('size mismatch')\n")
    with pytest.raises(RuntimeError, match="size mismatch"):
        write_graphs(tmp_path, Example((torch.zeros(2, 3),), (0,), ("images",), ("logits",)))


def test_what_cannot_be_traced_is_told(tmp_path: Path) -> None:
    code = (
        "import torch\n\nclass Odd(torch.nn.Module):\n    def forward(self, images):\n        return images.tolist()\n"
    )
    (tmp_path / "model.py").write_text(f"{code}\n\ndef load():\n    return Odd()\n")
    missing = write_graphs(tmp_path, Example((torch.zeros(2, 3),), (0,), ("images",), ("logits",)))
    assert set(missing) == {"model.pt2", "model.onnx"} and "cannot trace" in missing["model.pt2"]
    assert [path.name for path in tmp_path.iterdir()] == ["model.py"]


def test_a_missing_package_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    architecture = ConvArchitecture((ConvLayer(1, 1, 1),))
    images = DataSettings(upsample=4, crop=4)
    export_network(architecture, ConvNet(architecture, 1, 2), tmp_path, Origin("A network"), images=images)
    readme = (tmp_path / "README.md").read_text()
    assert "no `model.onnx`: onnx and onnxscript not installed; pip install 'wavenas[onnx]' does that" in readme
    assert "- `model.pt2`" in readme
