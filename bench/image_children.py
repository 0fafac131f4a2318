"""Training steps of image children as a search trains them, against the same networks written plainly (section 4.1)."""

import statistics
import time
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from bench.machine import machine
from models.conv_architecture import ConvArchitecture
from models.conv_layers import ConvLayer
from models.conv_net import ConvNet
from models.cost import network_cost
from models.presets import figure7
from models.random_policy import sample_uniformly
from models.space import SearchSpace
from tasks.data import augment, random_crops
from tasks.device import autocast, pick_device, pick_precision
from tasks.settings import DataSettings

BATCH, CHANNELS, CLASSES, PIXELS = 16, 3, 10, 32
DEPTHS = (6, 12)  # of two networks drawn by chance


class PlainNet(nn.Module):
    """The network as one writes it first: a list of outputs, concatenated anew for each reader."""

    def __init__(self, architecture: ConvArchitecture) -> None:
        super().__init__()
        self.architecture = architecture
        widths: list[int] = []
        self.convolutions, self.norms = nn.ModuleList(), nn.ModuleList()
        for layer in architecture.layers:
            assert isinstance(layer, ConvLayer), "the plain network has convolutions alone"
            read = sum(widths[source] for source in layer.inputs) or CHANNELS
            size = (layer.filter_height, layer.filter_width)
            padding = (layer.filter_height // 2, layer.filter_width // 2)
            self.convolutions.append(nn.Conv2d(read, layer.num_filters, size, padding=padding, bias=False))
            self.norms.append(nn.BatchNorm2d(layer.num_filters))
            widths.append(layer.num_filters)
        self.classifier = nn.Linear(sum(widths[end] for end in architecture.loose_ends()), CLASSES)

    def forward(self, images: Tensor) -> Tensor:
        """Logits (batch, 10) of images (batch, 3, 32, 32)."""
        outputs: list[Tensor] = []
        for layer, convolution, norm in zip(self.architecture.layers, self.convolutions, self.norms, strict=True):
            inputs = torch.cat([outputs[source] for source in layer.inputs], 1) if layer.inputs else images
            outputs.append(functional.relu(norm(convolution(inputs))))
        ends = torch.cat([outputs[end] for end in self.architecture.loose_ends()], 1)
        return self.classifier(ends.mean((2, 3)))  # type: ignore[no-any-return]


def networks() -> dict[str, ConvArchitecture]:
    """Figure 7's network, and one drawn by chance at each depth."""
    chosen = {"Figure 7": figure7()}
    for depth in DEPTHS:
        path = SearchSpace("models.conv_space:conv_space", {}).paths(depth, 1)[0]
        sample_uniformly([path], seed=depth)
        chosen[f"{depth} layers"] = path.architecture
    return chosen


def measure(
    architectures: dict[str, ConvArchitecture] | None = None, repeats: int = 3, batch: int = BATCH
) -> dict[str, Any]:
    """Seconds of a forward and backward pass, ours and the plain network by turns, on one thread."""
    threads_before = torch.get_num_threads()
    torch.set_num_threads(1)
    device = pick_device()
    precision = pick_precision("auto", device)
    cases = []
    for name, architecture in (architectures or networks()).items():
        torch.manual_seed(0)
        steps = {
            "ours": _step(ConvNet(architecture, CHANNELS, CLASSES), batch, precision, torch.channels_last),
            "plain": _step(PlainNet(architecture), batch, torch.float32, torch.contiguous_format),
        }
        for step in steps.values():
            step()
        seconds: dict[str, list[float]] = {kind: [] for kind in steps}
        for _ in range(repeats):
            for kind, step in steps.items():
                seconds[kind].append(step())
        flops = network_cost(lambda: ConvNet(architecture, CHANNELS, CLASSES), (CHANNELS, PIXELS, PIXELS))[1]  # noqa: B023
        case = {"network": name, "flops": flops, "batch": batch, "peak_gflops": _product_peak(precision)}
        cases.append(case | {"seconds": seconds, "augmentation_seconds": _augmentation_seconds(batch, repeats)})
    torch.set_num_threads(threads_before)
    return {
        "part": "image_children", **machine(), "device": str(device),
        "precision": str(precision).removeprefix("torch."), "cases": cases,
    }  # fmt: skip


def table(measured: dict[str, Any]) -> str:
    """Markdown: images a second, the ratio, and what share of the products' peak and of an epoch's time."""
    columns = "network | ours, images/s | plain, images/s | ours is | of the products' peak | augmentation"
    lines = [f"In {measured['precision']} on {measured['device']}:\n", f"| {columns} |", "|" + "---|" * 6]
    for case in measured["cases"]:
        median = {kind: statistics.median(seconds) for kind, seconds in case["seconds"].items()}
        rates = [
            f"{case['batch'] / median[kind]:,.0f}"
            f" ({case['batch'] / max(seconds):,.0f} to {case['batch'] / min(seconds):,.0f})"
            for kind, seconds in case["seconds"].items()
        ]
        reached = 3 * case["flops"] * case["batch"] / median["ours"] / 1e9 / case["peak_gflops"]
        share = statistics.median(case["augmentation_seconds"]) / median["ours"]
        ratio = f"{median['plain'] / median['ours']:.2f}× as fast"
        lines.append(f"| {case['network']} | {' | '.join(rates)} | {ratio} | {reached:.0%} | {share:.1%} of a step |")
    return "\n".join(lines)


def _step(network: nn.Module, batch: int, precision: torch.dtype, layout: torch.memory_format) -> Callable[[], float]:
    """A function that runs a forward and a backward pass and returns the seconds they take."""
    device = pick_device()
    network = network.to(device, memory_format=layout)  # type: ignore[call-overload]
    images = torch.randn(batch, CHANNELS, PIXELS, PIXELS, device=device).contiguous(memory_format=layout)
    labels = torch.randint(CLASSES, (batch,), device=device)

    def run() -> float:
        network.zero_grad()
        started = time.perf_counter()
        with autocast(device, precision):
            logits = network(images)
        functional.cross_entropy(logits.float(), labels).backward()  # type: ignore[no-untyped-call]
        _finish(device)
        return time.perf_counter() - started

    return run


def _finish(device: torch.device) -> None:
    """Wait for what a GPU has been told to do."""
    if device.type == "cuda":
        torch.cuda.synchronize()


def _augmentation_seconds(batch: int, repeats: int) -> Sequence[float]:
    """Seconds to draw, upsample, crop and flip the images of a batch, as each epoch does."""
    settings, generator, device = DataSettings(), torch.Generator().manual_seed(0), pick_device()
    images = torch.randn(batch, CHANNELS, PIXELS, PIXELS, device=device)

    seconds = []
    for _ in range(repeats + 1):
        started = time.perf_counter()
        augment(images, random_crops(batch, settings, generator, device), settings)
        _finish(device)
        seconds.append(time.perf_counter() - started)
    return seconds[1:]


def _product_peak(precision: torch.dtype, size: int = 1_024, repeats: int = 7) -> float:
    """GFLOP/s of a large matrix product, the best of some."""
    device = pick_device()
    left, right = torch.randn(2, size, size, device=device).to(precision)
    best = float("inf")
    for _ in range(repeats):
        started = time.perf_counter()
        torch.mm(left, right)
        _finish(device)
        best = min(best, time.perf_counter() - started)
    return 2 * size**3 / best / 1e9
