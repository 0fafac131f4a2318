"""The graph of an exported network, as torch.export and as ONNX, for what runs networks without Python code."""

import importlib.util
import shutil
import warnings
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import nn
from torch.utils._pytree import tree_map

TORCH_GRAPH, ONNX_GRAPH = "model.pt2", "model.onnx"


@dataclass(frozen=True)
class Example:
    """Inputs to trace a network with, names of what goes in and out, and which dimension of each input is the batch."""

    inputs: tuple[Any, ...]
    batch_dimensions: tuple[Any, ...]  # nested as the inputs are
    input_names: tuple[str, ...]
    output_names: tuple[str, ...]


def write_graphs(folder: Path, example: Example) -> dict[str, str]:
    """Write the graphs of the network in `folder` that can be; for each of the others why it is not there.

    What is written there has to load: where it does not, the error is raised as it is.
    """
    model = _import(folder / "model.py").load()
    try:
        program = _trace(model, example)
        torch.export.save(program, folder / TORCH_GRAPH)
    except Exception as error:  # noqa: BLE001  (whatever torch cannot trace, the rest of the folder stands)
        return dict.fromkeys((TORCH_GRAPH, ONNX_GRAPH), f"torch.export cannot trace this network: {_in_short(error)}")
    if absent := [name for name in ("onnx", "onnxscript") if importlib.util.find_spec(name) is None]:
        return {ONNX_GRAPH: f"{' and '.join(absent)} not installed; pip install 'wavenas[onnx]' does that"}
    try:
        _write_onnx(program, folder / ONNX_GRAPH, example)
    except Exception as error:  # noqa: BLE001  (as above)
        return {ONNX_GRAPH: f"torch.onnx cannot translate this network: {_in_short(error)}"}
    return {}


def _trace(model: nn.Module, example: Example) -> torch.export.ExportedProgram:
    batch = torch.export.Dim("batch")
    varying = tree_map(lambda dimension: {dimension: batch}, example.batch_dimensions)
    return torch.export.export(model, example.inputs, dynamic_shapes=varying)


def _write_onnx(program: torch.export.ExportedProgram, path: Path, example: Example) -> None:
    inputs, outputs = list(example.input_names), list(example.output_names)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(program, f=path, input_names=inputs, output_names=outputs, external_data=False, verbose=False)


def _import(path: Path) -> ModuleType:
    """The module in a file that this project wrote, without leaving compiled code beside it."""
    spec = importlib.util.spec_from_file_location("exported_model", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    shutil.rmtree(path.parent / "__pycache__", ignore_errors=True)
    return module


def _in_short(error: Exception) -> str:
    return f"{type(error).__name__}: {str(error).strip().splitlines()[0] if str(error).strip() else ''}"
