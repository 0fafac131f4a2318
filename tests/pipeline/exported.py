"""Exported networks, for tests to build, load and compare."""

import importlib.util
import subprocess
import sys
from pathlib import Path
from random import Random
from types import ModuleType
from typing import Any

import onnxruntime
import torch

from models.space import SearchSpace

SPACES = {
    "plain": ("models.conv_space:conv_space", {"num_filters": (2, 3)}, 4),
    "strides": ("models.conv_space:conv_space", {"num_filters": (2, 3), "strides": (1, 2, 3)}, 5),
    "even filters": ("models.conv_space:conv_space", {"num_filters": (2, 3), "filter_heights": (2, 3, 4)}, 4),
    "blocks": ("models.conv_space:conv_space", {"num_filters": (1, 2), "block_size": 3, "pool_after": (2, 4, 9)}, 4),
    "types": ("models.layer_space:layer_space", {"pool_sizes": (2, 3, 5), "pool_strides": (1, 2, 3)}, 6),
    "cells": (
        "models.cell_space:cell_space",
        {
            "combinations": ("add", "elem_mult", "max"),
            "activations": ("identity", "tanh", "sigmoid", "relu", "sin"),
        },
        0,
    ),
}
# Runs model.py where nothing of this project can be imported, and saves what it computes.
ELSEWHERE = """
import importlib.util, sys
sys.meta_path = [finder for finder in sys.meta_path if "editable" not in repr(finder)]
assert not any(importlib.util.find_spec(name) for name in ("models", "tasks", "pipeline", "cluster"))
spec = importlib.util.spec_from_file_location("model", "model.py")
model = importlib.util.module_from_spec(spec)
spec.loader.exec_module(model)
import torch
torch.set_num_threads(1)
inputs = torch.load("inputs.pt", weights_only=True)
with torch.no_grad():
    torch.save(model.load()(*inputs), "outputs.pt")
"""


def drawn(space: str, seed: int) -> Any:
    """A random architecture of one of the spaces."""
    random = Random(seed)
    function, options, depth = SPACES[space]
    path = SearchSpace(function, options).paths(depth, 1)[0]
    while path.decision is not None:
        path.take(random.randrange(path.decision.num_options))
    return path.architecture


def module_of(folder: Path) -> ModuleType:
    """The exported code as a module of this process."""
    spec = importlib.util.spec_from_file_location("exported", folder / "model.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def outputs_elsewhere(folder: Path, *inputs: Any) -> Any:
    """What an exported network computes in a Python that knows nothing of this project."""
    torch.save(inputs, folder / "inputs.pt")
    command = [sys.executable, "-I", "-c", ELSEWHERE]
    ended = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120)
    assert ended.returncode == 0, ended.stderr
    return torch.load(folder / "outputs.pt", weights_only=True)


def run_onnx(folder: Path, **inputs: torch.Tensor) -> list[torch.Tensor]:
    """What ONNX Runtime computes of an exported network's graph."""
    session = onnxruntime.InferenceSession(folder / "model.onnx", providers=["CPUExecutionProvider"])
    values = session.run(None, {name: value.numpy() for name, value in inputs.items()})
    return [torch.from_numpy(value) for value in values]


def assert_well_written(folder: Path) -> None:
    """The code passes the formatter and the linter that this project's own passes."""
    ruff = [sys.executable, "-m", "ruff"]
    path = str(folder / "model.py")
    rules = ["--select", "E,F,W,I,UP,B,C4,SIM,RET,RUF", "--ignore", "RUF001,RUF002,RUF003", "--line-length", "120"]
    for command in (
        [*ruff, "format", "--isolated", "--line-length", "120", "--diff", path],
        [*ruff, "check", "--isolated", *rules, path],
    ):
        ended = subprocess.run(command, capture_output=True, text=True, timeout=60)
        assert ended.returncode == 0, ended.stdout + ended.stderr
