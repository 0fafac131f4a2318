"""Exported networks as graphs, run by torch.export and ONNX Runtime."""

from pathlib import Path

import pytest
import torch
from exported import drawn

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


@torch.no_grad()
def test_graphs_of_images_take_any_number_of_them(tmp_path: Path) -> None:
    network = ConvNet(EVERY_LAYER, 3, 10).eval()
    export_network(EVERY_LAYER, network, tmp_path, Origin("A network"), images=DataSettings(upsample=10, crop=9))
    for count in (1, 5):
        images = torch.randn(count, 3, 9, 9)
        graph = torch.export.load(tmp_path / "model.pt2").module()
        torch.testing.assert_close(graph(images), network(images))
        for output in run_onnx(tmp_path, images=images):
            torch.testing.assert_close(output, network(images), rtol=1e-4, atol=1e-5)
    assert not (tmp_path / "__pycache__").exists()


@pytest.mark.slow
@torch.no_grad()
def test_graphs_of_text_take_a_word_and_the_state(tmp_path: Path) -> None:
    cell = drawn("cells", 5)
    model = LanguageModel(cell, 20, 8, init_range=0.5).eval()
    export_network(cell, model, tmp_path, Origin("A model"))
    tokens, state = torch.randint(20, (1, 3)), (torch.randn(2, 3, 8), torch.randn(2, 3, 8))
    logits, (hidden, last) = model(tokens, state)
    graph = torch.export.load(tmp_path / "model.pt2").module()
    torch.testing.assert_close(graph(tokens, state), (logits, (hidden, last)))
    outputs = run_onnx(tmp_path, tokens=tokens, h=state[0], c=state[1])
    for output, expected in zip(outputs, (logits, hidden, last), strict=True):
        torch.testing.assert_close(output, expected, rtol=1e-4, atol=1e-5)


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


def run_onnx(folder: Path, **inputs: torch.Tensor) -> list[torch.Tensor]:
    runtime = pytest.importorskip("onnxruntime", reason="the extra onnx is not installed: no runtime to try a graph in")
    session = runtime.InferenceSession(folder / "model.onnx", providers=["CPUExecutionProvider"])
    values = session.run(None, {name: value.numpy() for name, value in inputs.items()})
    return [torch.from_numpy(value) for value in values]
