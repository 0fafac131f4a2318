"""A network in a folder of its own: code for torch alone, weights, architecture, README, and graphs where possible."""

import inspect
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save
from torch import Tensor, nn

from models.architecture import to_json
from models.cell_formula import Cell
from models.conv_net import ConvNet
from models.language_model import LanguageModel
from models.recurrent import Recurrent
from pipeline.errors import DiskError, UserError
from pipeline.export_cell import cell_source, language_model_source
from pipeline.export_conv import conv_names, conv_source
from pipeline.export_graphs import Example, write_graphs
from pipeline.export_text import (
    CELL_USAGE,
    FILES,
    IMAGE_USAGE,
    LANGUAGE_USAGE,
    LAYERS_USAGE,
    LOAD,
    MODULE,
    PREPARE,
    README,
    TIE,
)
from pipeline.files import write_atomically
from pipeline.summary import describe_architecture
from tasks.data import whiten
from tasks.settings import DataSettings

IMPORTS = ("json", "math")  # of the standard library, where the code uses them
UNFINISHED = ".wavenas-unfinished"  # in a folder until its README is there


@dataclass(frozen=True)
class Origin:
    """What the README tells of a network: a heading, and sentences on where it and its weights come from."""

    heading: str
    facts: tuple[str, ...] = ()


@dataclass(frozen=True)
class Content:
    """What makes up a folder: parts of model.py, how it is used, and what lies beside it."""

    parts: list[str]
    names: str  # imported by whoever uses it
    usage: str
    weights: dict[str, Tensor] = field(default_factory=dict)
    words: Sequence[str] = ()
    example: Example | None = None


def image_content(network: ConvNet, images: DataSettings) -> Content:
    """A convolutional network with its weights, and how images are prepared for it."""
    edge = (images.upsample - images.crop) // 2
    prepare = PREPARE.format(side=images.upsample, crop=images.crop, first=edge, last=edge + images.crop)
    names = conv_names(network.architecture)
    weights = {}
    for name, value in network.state_dict().items():
        prefix, _, rest = name.rpartition(".")
        weights[f"{names[prefix]}.{rest}"] = value.contiguous()
    example = Example(
        inputs=(torch.zeros(2, network.in_channels, images.crop, images.crop),),
        batch_dimensions=(0,),
        input_names=("images",),
        output_names=("logits",),
    )
    load = LOAD.format(network="Network", made="Network()", tie="")
    usage = IMAGE_USAGE.format(channels=network.in_channels)
    return Content(
        [conv_source(network), load, prepare, inspect.getsource(whiten)],
        "load, prepare",
        usage,
        weights,
        example=example,
    )


def language_content(cell: Cell, model: LanguageModel, words: Sequence[str]) -> Content:
    """A language model with its weights and its words. Its graphs read one word at a time."""
    tied = model.softmax.weight is model.embedding.weight
    layers, units = len(model.recurrent.layers), model.recurrent.hidden_size
    weights = {name: value.contiguous() for name, value in model.state_dict().items()}
    if tied:
        del weights["softmax.weight"]
    example = Example(
        inputs=(torch.zeros(1, 2, dtype=torch.int64), (torch.zeros(layers, 2, units), torch.zeros(layers, 2, units))),
        batch_dimensions=(1, (1, 1)),
        input_names=("tokens", "h", "c"),
        output_names=("logits", "new_h", "new_c"),
    )
    parts = [*cell_content(cell, with_bias(model.recurrent)).parts, language_model_source(model, tied)]
    load = LOAD.format(network="LanguageModel", made="LanguageModel()", tie=TIE if tied else "")
    return Content([*parts, load], "load", LANGUAGE_USAGE, weights, words, example)


def cell_content(cell: Cell, bias: bool) -> Content:
    """A cell alone, without weights, for layers of any size."""
    return Content([cell_source(cell, bias)], "Cell", CELL_USAGE)


def layers_content(cell: Cell, layers: Recurrent) -> Content:
    """Layers of a cell with their weights. Their graphs read one step at a time."""
    count, inputs, units = len(layers.layers), layers.input_size, layers.hidden_size
    made = f"Cell({inputs}, {units}, num_layers={count})"
    state = torch.zeros(count, 2, units), torch.zeros(count, 2, units)
    example = Example(
        inputs=(torch.zeros(1, 2, inputs), state),
        batch_dimensions=(1, (1, 1)),
        input_names=("inputs", "h", "c"),
        output_names=("outputs", "new_h", "new_c"),
    )
    parts = [cell_source(cell, with_bias(layers)), LOAD.format(network="Cell", made=made, tie="")]
    weights = {name: value.contiguous() for name, value in layers.state_dict().items()}
    return Content(parts, "load", LAYERS_USAGE.format(inputs=inputs, units=units), weights, example=example)


def with_bias(layers: Recurrent) -> bool:
    """Whether recurrent layers have a bias."""
    return any(name.endswith("bias") for name, _ in layers.named_parameters())


def export_network(
    architecture: Any,
    network: nn.Module,
    folder: Path,
    origin: Origin,
    *,
    images: DataSettings | None = None,
    words: Sequence[str] = (),
    graphs: bool = True,
) -> list[Path]:
    """Write the network of an architecture, with its weights, into a new or empty folder; the files written.

    A ConvNet needs `images`, how images are prepared for it; a LanguageModel may have its words. Raises UserError
    for other networks, and for a folder that is not empty or cannot be written to.
    """
    if isinstance(network, ConvNet) and images is not None:
        return write_export(folder, architecture, image_content(network, images), origin, graphs)
    if isinstance(network, LanguageModel):
        return write_export(folder, architecture, language_content(architecture, network, words), origin, graphs)
    raise UserError(f"a {type(network).__name__} cannot be exported: allowed are ConvNet and LanguageModel")


def write_export(folder: Path, architecture: Any, content: Content, origin: Origin, graphs: bool = True) -> list[Path]:
    """Write a folder, the README last."""
    files = {
        "model.py": _module(content, origin.heading).encode(),
        "architecture.json": json.dumps(to_json(architecture), indent=2).encode() + b"\n",
    }
    if content.weights:
        files["weights.safetensors"] = save(content.weights)
    if content.words:
        files["vocabulary.json"] = json.dumps(list(content.words), ensure_ascii=False, indent=0).encode() + b"\n"
    try:
        check_free(folder)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / UNFINISHED).touch()
        for name, data in files.items():
            write_atomically(folder / name, data)
        missing = write_graphs(folder, content.example) if graphs and content.example else {}
        readme = _readme(folder, architecture, content, origin, missing)
        write_atomically(folder / "README.md", readme.encode())
        (folder / UNFINISHED).unlink()
    except OSError as error:
        raise UserError(f"{folder}: cannot be written to: {error.strerror}") from error
    except DiskError as error:
        raise UserError(str(error)) from error
    return sorted(folder.iterdir())


def check_free(folder: Path) -> None:
    """Raise UserError for what is no new or empty folder, nor one whose export was interrupted before its README."""
    free = folder.is_dir() and all(path.name.startswith(".") for path in folder.iterdir())
    if folder.exists() and not free and not (folder / UNFINISHED).exists():
        raise UserError(f"{folder}: exists already; an export goes into a new folder, or an empty one")


def _module(content: Content, heading: str) -> str:
    body = "\n\n".join(content.parts)
    used = sorted(f"import {name}" for name in IMPORTS if f"{name}." in body)
    used += ["from pathlib import Path"] if "Path" in body else []
    ours = ["import torch", "from torch import Tensor, nn"]
    ours += ["from torch.nn import functional"] if "functional." in body else []
    ours += ["", "State = tuple[Tensor, Tensor]  # h and c, each [layers, batch, hidden]"] if "State" in body else []
    imports = "\n".join([*used, "", *ours] if used else ours)
    return MODULE.format(heading=heading, usage=content.usage, imports=imports, body=body)


def _readme(folder: Path, architecture: Any, content: Content, origin: Origin, missing: dict[str, str]) -> str:
    files = [f"- `{name}`: {what}" for name, what in FILES.items() if (folder / name).exists()]
    files += [f"- no `{name}`: {why}" for name, why in missing.items()]
    return README.format(
        heading=origin.heading,
        facts="\n".join(f"- {fact}" for fact in origin.facts),
        names=content.names,
        usage=content.usage,
        files="\n".join(files),
        architecture=describe_architecture(architecture),
    )
