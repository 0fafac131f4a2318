"""Image children as a search trains them, against the same networks written plainly in float32 (section 4.1)."""

import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils._python_dispatch import TorchDispatchMode

from bench import image_training
from bench.machine import machine
from bench.plain_network import PlainNet
from bench.summary import Finding, finding
from models.conv_architecture import ConvArchitecture
from models.conv_net import ConvNet
from models.cost import network_cost
from models.presets import figure7
from models.random_policy import sample_uniformly
from models.space import SearchSpace
from pipeline.experiments import cifar10_small
from tasks.cuda_graphs import recorded
from tasks.device import autocast, pick_device, pick_precision
from tasks.settings import ChildSettings, DataSettings

CHANNELS, CLASSES = 3, 10
BATCH, PIXELS = ChildSettings().batch_size, DataSettings().crop
AS_FAST = 2.0  # the goal where the processor computes in bfloat16


@dataclass(frozen=True)
class Network:
    """An architecture, and the batches that it is measured with."""

    architecture: ConvArchitecture
    batch: int = BATCH
    pixels: int = PIXELS


def networks() -> dict[str, Network]:
    """Figure 7's network, with a quarter of a batch for the time it takes, and some drawn by chance."""
    small, pixels = cifar10_small().child.batch_size, cifar10_small().data.crop
    return {
        "Figure 7": Network(figure7(), batch=BATCH // 4),
        "12 layers": Network(_by_chance(12, {})),
        "6 layers": Network(_by_chance(6, {})),
        "6 layers as in cifar10_small": Network(small_network(6), small, pixels),
        "4 layers as in cifar10_small": Network(small_network(4), small, pixels),
    }


def small_network(depth: int) -> ConvArchitecture:
    """One of the space of `cifar10_small`."""
    return _by_chance(depth, cifar10_small().space.options)


def _by_chance(depth: int, options: dict[str, Any]) -> ConvArchitecture:
    (path,) = SearchSpace("models.conv_space:conv_space", options).paths(depth, 1)
    sample_uniformly([path], seed=depth)
    architecture: ConvArchitecture = path.architecture
    return architecture


def measure(
    chosen: dict[str, Network] | None = None, repeats: int = 3, least_seconds: float = 3.0, seeds: int = 4
) -> dict[str, Any]:
    """Seconds of a forward and backward pass, ours and the plain network by turns, on one thread; real trainings."""
    threads_before = torch.get_num_threads()
    torch.set_num_threads(1)
    device = pick_device()
    precision = pick_precision("auto", device)
    peak = _product_peak(precision)
    cases = [_compare(name, network, repeats, least_seconds) for name, network in (chosen or networks()).items()]
    training = image_training.measure(small_network(6), seeds)
    torch.set_num_threads(threads_before)
    measured = {
        "part": "image_children", **machine(), "device": str(device), "peak_gflops": peak,
        "precision": str(precision).removeprefix("torch."), "cases": cases, "training": training,
    }  # fmt: skip
    return measured | {"summary": summary(measured)}


def summary(measured: dict[str, Any]) -> list[Finding]:
    """Images a second, against the plain network's and the products' peak; what else there is in a step."""
    goal = AS_FAST if measured["precision"] == "bfloat16" else None
    rows = [finding(f"a large matrix product in {measured['precision']}", [measured["peak_gflops"]], "GFLOP/s")]
    for case in measured["cases"]:
        seconds, batch = case["seconds"], case["batch"]
        what = f"{case['network']}, {batch} images of {case['pixels']}×{case['pixels']}"
        median = {kind: statistics.median(seconds[kind]) for kind in seconds}
        ratio = median["plain"] / median["ours"]
        rates = {kind: [batch / value for value in seconds[kind]] for kind in seconds}
        told = f"{what}: ours in {measured['precision']}"
        reached = [3e-9 * case["flops"] * rate / measured["peak_gflops"] * 100 for rate in rates["ours"]]
        rows += [
            finding(f"{what}: plain in float32", rates["plain"], "images/s"),
            finding(told, rates["ours"], "images/s", ratio=ratio, peer="as fast as plain", at_least=goal),
            finding(f"{what}: share of that product's speed", reached, "%"),
        ]
        if case["concatenation_shares"]:
            shares = [100 * share for share in case["concatenation_shares"]]
            rows.append(finding(f"{what}: share of the concatenations in a step", shares, "%"))
    return rows + image_training.summary(measured["training"])


@contextmanager
def training_step(architecture: ConvArchitecture, batch: int, pixels: int) -> Iterator[Callable[[], float]]:
    """A function that takes a forward and a backward pass as children do, and returns the seconds."""
    device, precision = pick_device(), pick_precision("auto", pick_device())
    network = ConvNet(architecture, CHANNELS, CLASSES).to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    images = _images(batch, pixels).contiguous(memory_format=torch.channels_last)
    with recorded(network, precision, 1, images):
        yield _step(network, images, precision)


def _compare(name: str, network: Network, repeats: int, least_seconds: float) -> dict[str, Any]:
    """Both by turns, so often and so long at least."""
    torch.manual_seed(0)
    architecture, batch, pixels = network.architecture, network.batch, network.pixels
    plain = PlainNet(architecture, CHANNELS, CLASSES).to(pick_device())
    seconds: dict[str, list[float]] = {"ours": [], "plain": []}
    with training_step(architecture, batch, pixels) as ours:
        steps = {"ours": ours, "plain": _step(plain, _images(batch, pixels), torch.float32)}
        for step in steps.values():
            step()
        while len(seconds["ours"]) < repeats or sum(map(sum, seconds.values())) < least_seconds:
            for kind, step in steps.items():
                seconds[kind].append(step())
        shares = _concatenation_shares(ours, repeats)
    flops = network_cost(lambda: ConvNet(architecture, CHANNELS, CLASSES), (CHANNELS, pixels, pixels))[1]
    return {
        "network": name, "flops": flops, "batch": batch, "pixels": pixels, "seconds": seconds,
        "concatenation_shares": shares,
    }  # fmt: skip


def _images(batch: int, pixels: int) -> Tensor:
    return torch.randn(batch, CHANNELS, pixels, pixels, device=pick_device())


def _step(network: nn.Module, images: Tensor, precision: torch.dtype) -> Callable[[], float]:
    """A function that takes a forward and a backward pass and returns the seconds."""
    labels = torch.randint(CLASSES, (len(images),), device=images.device)

    def run() -> float:
        network.zero_grad()
        started = time.perf_counter()
        with autocast(images.device, precision):
            logits = network(images)
        functional.cross_entropy(logits.float(), labels).backward()  # type: ignore[no-untyped-call]
        _finish(images.device)
        return time.perf_counter() - started

    return run


class _Concatenations(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """The seconds that concatenations take."""

    seconds = 0.0

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        started = time.perf_counter()
        result = function(*args, **(kwargs or {}))
        if function is torch.ops.aten.cat.default:
            self.seconds += time.perf_counter() - started
        return result


def _concatenation_shares(step: Callable[[], float], repeats: int) -> list[float]:
    """Of a step's time; a GPU does not wait for what it is told, so there is nothing to see there."""
    shares = []
    for _ in range(repeats if pick_device().type == "cpu" else 0):
        with _Concatenations() as concatenations:  # type: ignore[no-untyped-call]
            seconds = step()
        shares.append(concatenations.seconds / seconds)
    return shares


def _finish(device: torch.device) -> None:
    """Wait for what a GPU has been told to do."""
    if device.type == "cuda":
        torch.cuda.synchronize()


def _product_peak(precision: torch.dtype, repeats: int = 7) -> float:
    """GFLOP/s of a large matrix product, the best of some."""
    device = pick_device()
    size = 1_024 if device.type == "cpu" else 8_192
    left, right = torch.randn(2, size, size, device=device).to(precision)
    seconds: list[float] = []
    for _ in range(repeats):
        started = time.perf_counter()
        torch.mm(left, right)
        _finish(device)
        seconds.append(time.perf_counter() - started)
    return 2e-9 * size**3 / min(seconds)
