"""Forward and backward passes of a searched cell against a plain one and torch.nn.LSTM (section 4.2's sizes)."""

import statistics
import time
from collections.abc import Sequence
from contextlib import ExitStack
from typing import Any

import torch
from torch import Tensor, nn

from bench.machine import machine
from bench.summary import Finding, finding
from models.cell_architecture import CellArchitecture, Node
from models.presets import nascell
from models.recurrent import Recurrent, build_cell
from tasks.cuda_graphs import recorded
from tasks.device import autocast, pick_device, pick_precision

BATCH, STEPS, LAYERS = 20, 35, 2  # Zaremba et al. 2014
SHARE = 0.5  # of what dropout drops
GOALS = {"plain": 5.0, "torch_lstm": 1.0}  # how many times as fast as these ours is to be
NAMES = {
    "ours": "our cell",
    "ours_dropout": "our cell with dropout",
    "plain": "plain cell",
    "torch_lstm": "torch.nn.LSTM",
    "ours_lstm": "our LSTM",
}


class PlainCell(nn.Module):
    """A cell as one writes it first: two nn.Linear a leaf, step by step, node by node, gradients by autograd."""

    def __init__(self, cell: CellArchitecture, units: int) -> None:
        super().__init__()
        self.cell, self.units = cell, units
        self.from_input = nn.ModuleList(nn.Linear(units, units, bias=False) for _ in range(cell.base))
        self.from_hidden = nn.ModuleList(nn.Linear(units, units, bias=False) for _ in range(cell.base))

    def forward(self, inputs: Tensor) -> Tensor:
        """Outputs [time, batch, units] of inputs of that shape, from a state of zeros."""
        hidden = state = inputs.new_zeros(inputs.shape[1], self.units)
        outputs = []
        for step in inputs:
            hidden, state = self._step(step, hidden, state)
            outputs.append(hidden)
        return torch.stack(outputs)

    def _step(self, step: Tensor, hidden: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        cell, new_state = self.cell, state
        values: list[Tensor] = []
        for index, node in enumerate(cell.nodes):
            if index < cell.base:
                before = _combine(node, self.from_input[index](step), self.from_hidden[index](hidden))
            else:
                left, right = cell.children(index)
                before = _combine(node, values[left], values[right])
            if index == cell.cell_index:
                new_state = before
            values.append(_activate(node, before))
            if index == cell.previous_cell_index:
                values[-1] = _activate(cell.inject, _combine(cell.inject, values[-1], state))
        return values[-1], new_state


def measure(
    units: Sequence[int] = (400, 650), threads: Sequence[int] = (1, 2), repeats: int = 5, batch: int = BATCH
) -> dict[str, Any]:
    """Seconds of forward and backward passes, all kinds by turns so that a disturbance meets all alike.

    The LSTMs have as many parameters as the cell, which takes about √2 times the units. All are measured in float32,
    and under autocast where a search would train in bfloat16.
    """
    device = pick_device()
    precisions = dict.fromkeys((torch.float32, pick_precision("auto", device)))
    cases = []
    threads_before = torch.get_num_threads()
    for num_threads in threads if device.type == "cpu" else (1,):
        torch.set_num_threads(num_threads)
        for size in units:
            modules = _modules(size, batch, device)
            for precision in precisions:
                seconds = _by_turns(modules, precision, repeats)
                peak = _product_peak(size, batch, device, precision)
                name = str(precision).removeprefix("torch.")
                case = {"threads": num_threads, "units": size, "precision": name, "peak_gflops": peak}
                cases.append({**case, "seconds": seconds})
    torch.set_num_threads(threads_before)
    shape = {"batch": batch, "steps": STEPS, "layers": LAYERS}
    measured = {"part": "recurrent", **machine(), "device": str(device), **shape, "cases": cases}
    return measured | {"summary": summary(measured)}


def summary(measured: dict[str, Any]) -> list[Finding]:
    """Our cell, in the precision that a search would train it in, against the others in the faster of theirs."""
    rows = []
    cases = measured["cases"]
    for threads, units in dict.fromkeys((case["threads"], case["units"]) for case in cases):
        alike = [case["seconds"] for case in cases if (case["threads"], case["units"]) == (threads, units)]
        ours = statistics.median(map(sum, alike[-1]["ours"]))
        for kind, goal in GOALS.items():
            fastest = min((seconds[kind] for seconds in alike), key=lambda pairs: statistics.median(map(sum, pairs)))
            milliseconds = [1e3 * sum(pair) for pair in fastest]
            ratio = statistics.median(milliseconds) / 1e3 / ours
            told = f"{NAMES[kind]}, {units} units, threads: {threads}"
            rows.append(finding(told, milliseconds, "ms", ratio=ratio, peer="of our cell's time", at_least=goal))
    return rows


def _by_turns(
    modules: dict[str, tuple[nn.Module, Tensor]], precision: torch.dtype, repeats: int
) -> dict[str, list[list[float]]]:
    """Seconds forward and backward of each module, after a pass that warms up; ours as a search has them trained."""
    seconds: dict[str, list[list[float]]] = {kind: [] for kind in modules}
    with ExitStack() as stack:
        for module, inputs in modules.values():
            if isinstance(module, Recurrent):
                stack.enter_context(recorded(module, precision, 1, inputs))
        for repeat in range(repeats + 1):
            for kind, (module, inputs) in modules.items():
                with autocast(pick_device(), precision):
                    measured = _pass(module, inputs)
                if repeat:
                    seconds[kind].append(measured)
    return seconds


def table(measured: dict[str, Any]) -> str:
    """Markdown: medians, spreads, and how many times faster our cell is, over medians."""
    where = "threads | units | precision"
    lines = [
        f"| {where} | kind | ms, median (min to max) | of it forward | tokens/s | GFLOP/s | our cell is |",
        "|" + "---|" * 9,
    ]
    batch = measured["batch"]
    for case in measured["cases"]:
        ours = statistics.median(sum(pair) for pair in case["seconds"]["ours"])
        where = f"{case['threads']} | {case['units']} | {case['precision']}"
        for kind, pairs in case["seconds"].items():
            totals = [sum(pair) for pair in pairs]
            median, forward = statistics.median(totals), statistics.median(pair[0] for pair in pairs)
            flops = 6 * LAYERS * STEPS * 2 * batch * 8 * case["units"] ** 2
            spread = f"{1e3 * median:.0f} ({1e3 * min(totals):.0f} to {1e3 * max(totals):.0f})"
            numbers = f"{1e3 * forward:.0f} | {batch * STEPS / median:,.0f} | {flops / median / 1e9:.0f}"
            ratio = "" if kind == "ours" else f"{median / ours:.2f}× as fast"
            lines.append(f"| {where} | {NAMES[kind]} | {spread} | {numbers} | {ratio} |")
        lines.append(f"| {where} | its largest product alone | | | | {case['peak_gflops']:.0f} | |")
    return "\n".join(lines)


def _modules(units: int, batch: int, device: torch.device) -> dict[str, tuple[nn.Module, Tensor]]:
    """What is compared, each with its inputs [time, batch, its units]."""
    torch.manual_seed(0)
    cell, wide = nascell(), round(units * 2**0.5)
    dropouts = {"input_dropout": SHARE, "recurrent_dropout": SHARE}
    modules: dict[str, tuple[nn.Module, int]] = {
        "ours": (build_cell(cell, units, units, LAYERS), units),
        "ours_dropout": (build_cell(cell, units, units, LAYERS, **dropouts), units),  # type: ignore[arg-type]
        "plain": (nn.Sequential(*(PlainCell(cell, units) for _ in range(LAYERS))), units),
        "torch_lstm": (nn.LSTM(wide, wide, LAYERS), wide),
        "ours_lstm": (build_cell("lstm", wide, wide, LAYERS), wide),
    }
    return {
        kind: (module.to(device), torch.randn(STEPS, batch, size, device=device, requires_grad=True))
        for kind, (module, size) in modules.items()
    }


def _pass(module: nn.Module, inputs: Tensor) -> list[float]:
    """The seconds of a forward and of a backward pass, whose gradient for each output is the same number."""
    gradient = torch.randn((), device=inputs.device)

    def now() -> float:
        if inputs.is_cuda:
            torch.cuda.synchronize()
        return time.perf_counter()

    module.zero_grad()
    inputs.grad = None
    started = now()
    outputs = module(inputs)
    outputs = outputs[0] if isinstance(outputs, tuple) else outputs
    middle = now()
    outputs.backward(gradient.to(outputs.dtype).expand_as(outputs))
    return [middle - started, now() - middle]


def _product_peak(units: int, batch: int, device: torch.device, precision: torch.dtype, repeats: int = 9) -> float:
    """GFLOP/s of W x for all leaves and steps at once, the best of some: what the rest can at most attain."""
    inputs = torch.randn(STEPS * batch, units, device=device, dtype=precision)
    weight = torch.randn(8 * units, units, device=device, dtype=precision)
    outputs = inputs.new_empty(STEPS * batch, 8 * units)
    best = float("inf")
    for _ in range(repeats):
        started = time.perf_counter()
        torch.mm(inputs, weight.T, out=outputs)
        if device.type == "cuda":
            torch.cuda.synchronize()
        best = min(best, time.perf_counter() - started)
    return 2 * STEPS * batch * 8 * units**2 / best / 1e9


def _combine(node: Node, left: Tensor, right: Tensor) -> Tensor:
    if node.combination == "add":
        return left + right
    return left * right if node.combination == "elem_mult" else torch.maximum(left, right)


def _activate(node: Node, value: Tensor) -> Tensor:
    functions = {"tanh": torch.tanh, "sigmoid": torch.sigmoid, "relu": torch.relu, "sin": torch.sin}
    return value if node.activation == "identity" else functions[node.activation](value)
