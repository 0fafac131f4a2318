"""Drawing a wave and its step of the controller, against a plain controller that takes one architecture at a time."""

import statistics
import time
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from bench.image_children import small_network, training_step
from bench.machine import machine
from bench.summary import Finding, finding
from models.controller import Controller
from models.space import Anchor, Path, SearchSpace
from pipeline.experiments import cifar10_small
from tasks.records import PolicyState, ReduceRequest, SampleRequest
from tasks.settings import ControllerSettings, SpaceSettings
from tasks.waves import reduce_wave, sample_wave

SPACE = SpaceSettings(function="models.conv_space:conv_space")
LARGE = (15, 800)  # depth and size of a wave of the paper's
AS_FAST, SHARE = 20.0, 1.0  # the goals: times as fast as one at a time, percent of the children's time
PLAIN = 4  # architectures that the plain controller takes: its time a piece does not depend on their number


def measure(
    waves: Sequence[int] = (8, 100, 800), depths: Sequence[int] = (6, 15, 39), repeats: int = 3
) -> dict[str, Any]:
    """Seconds to draw waves and to compute and take the step of their rewards, with anchor points, on one thread."""
    threads_before = torch.get_num_threads()
    torch.set_num_threads(1)
    cases = []
    for depth in depths:
        plain = [_plain_seconds(depth) for _ in range(repeats)]
        for count in waves:
            _wave_seconds(depth, min(count, 8))  # not timed
            cases.append(
                {"depth": depth, "wave": count, "plain_seconds_each": plain,
                 "seconds": [_wave_seconds(depth, count) for _ in range(repeats)]}
            )  # fmt: skip
    measured: dict[str, Any] = {"part": "controller", **machine(), "cases": cases, "child": _child_seconds(repeats)}
    torch.set_num_threads(threads_before)
    return measured | {"summary": summary(measured)}


def summary(measured: dict[str, Any]) -> list[Finding]:
    """Milliseconds a wave, how many times faster than one at a time, and what share of its children's time."""
    rows = []
    for case in measured["cases"]:
        together = [sum(pair) for pair in case["seconds"]]
        one = statistics.median(map(sum, case["plain_seconds_each"])) * case["wave"]
        what = f"depth {case['depth']}, a wave of {case['wave']}"
        for name, seconds in zip(("draw", "step"), zip(*case["seconds"], strict=True), strict=True):
            rows.append(finding(f"{what}: {name}", [1e3 * value for value in seconds], "ms"))
        rows.append(
            finding(
                f"{what}: both", [1e3 * value for value in together], "ms", ratio=one / statistics.median(together),
                peer="as fast as one at a time", at_least=AS_FAST if case["wave"] == LARGE[1] else None,
            )
        )  # fmt: skip
        if (case["depth"], case["wave"]) == LARGE:
            child = statistics.median(measured["child"]["seconds"])
            shares = [100 * value / (child * case["wave"]) for value in together]
            told = f"{what}: share of its children's time, at {child:.1f} s a child as in cifar10_small"
            rows.append(finding(told, shares, "%", at_most=SHARE))
    return rows


def _child_seconds(repeats: int) -> dict[str, Any]:
    """What a child of depth 15 is trained for with the settings of `cifar10_small`, from the time of a step."""
    child, data = cifar10_small().child, cifar10_small().data
    steps = child.epochs * ((data.num_train or 0) // child.batch_size)
    with training_step(small_network(LARGE[0]), child.batch_size, data.crop) as step:
        step()
        return {"steps": steps, "seconds": [steps * step() for _ in range(repeats)]}


def _wave_seconds(depth: int, count: int) -> tuple[float, float]:
    state, settings = PolicyState(policy="controller", seed=0), ControllerSettings()
    started = time.perf_counter()
    samples = sample_wave(SampleRequest(state, settings, SPACE, depth, count, seed=1))
    drawn = time.perf_counter()
    rewards = tuple(index % 10 / 10 for index in range(count))
    reduce_wave(ReduceRequest(state, settings, SPACE, depth, tuple(s.tokens for s in samples), rewards))
    return drawn - started, time.perf_counter() - drawn


def _plain_seconds(depth: int) -> tuple[float, float]:
    """Seconds an architecture takes to be drawn, and to have its gradient computed."""
    controller, space = Controller(), SearchSpace(SPACE.function, SPACE.options)
    generator = torch.Generator().manual_seed(1)
    take_one(controller, space.paths(depth, 1)[0], None, generator)  # its choices come into being
    started = time.perf_counter()
    paths = space.paths(depth, PLAIN)
    with torch.no_grad():
        for path in paths:
            take_one(controller, path, None, generator)
    drawn = time.perf_counter()
    for replayed, path in zip(space.paths(depth, PLAIN), paths, strict=True):
        (-take_one(controller, replayed, path.tokens, generator) / PLAIN).backward()  # type: ignore[no-untyped-call]
    return (drawn - started) / PLAIN, (time.perf_counter() - drawn) / PLAIN


def take_one(controller: Controller, path: Path, tokens: Sequence[int] | None, generator: torch.Generator) -> Tensor:
    """The log-probability of one architecture, drawn or replayed, step by step and without batches."""
    total = torch.zeros(())
    inputs = controller.start[0]
    states = [(torch.zeros(controller.hidden_units),) * 2 for _ in controller.cells]
    outputs: list[Tensor] = []
    while (decision := path.decision) is not None:
        hidden = inputs
        for layer, cell in enumerate(controller.cells):
            states[layer] = cell(hidden, states[layer])
            hidden = states[layer][0]
        given = None if tokens is None else tokens[len(path.tokens)]
        if isinstance(decision, Anchor):
            token, log_prob, inputs = _anchor(controller, outputs, hidden, given, generator)
            outputs.append(hidden)
        else:
            controller.ensure(decision)
            log_p = functional.log_softmax(controller.heads[f"choice_{decision.name}"](hidden), dim=0)
            token = int(torch.multinomial(log_p.exp(), 1, generator=generator)) if given is None else given
            log_prob = log_p[token]
            inputs = controller.embeddings[f"choice_{decision.name}"](torch.tensor(token))
        total = total + log_prob
        path.take(token)
    return total


def _anchor(
    controller: Controller, outputs: list[Tensor], current: Tensor, given: int | None, generator: torch.Generator
) -> tuple[int, Tensor, Tensor]:
    token, log_prob, chosen = 0, torch.zeros(()), []
    for index, previous in enumerate(outputs):
        mixed = torch.tanh(controller.anchor_previous(previous) + controller.anchor_current(current))
        probability = torch.sigmoid(controller.anchor_score(mixed)[0])
        taken = bool(torch.rand((), generator=generator) < probability) if given is None else bool(given >> index & 1)
        log_prob = log_prob + torch.log(probability if taken else 1 - probability)
        if taken:
            token |= 1 << index
            chosen.append(previous)
    return token, log_prob, sum(chosen, torch.zeros_like(current)) / (1 + len(chosen))
