"""The state of a search between steps of its policy. Its checkpoint is the commit of a step."""

import io
import math
import pickle
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from models.evolution import Individual
from pipeline.errors import UserError
from pipeline.files import write_atomically
from pipeline.run_paths import RunPaths
from tasks.records import Moments, PolicyState

KEPT = 3


@dataclass(frozen=True)
class SearchState:
    """Waves and samples whose rewards the policy has learned from, and what it has learned.

    Replicas end in any order: `early` are the numbers of waves that were taken in before one with a lower number.
    """

    waves: int
    samples: int
    policy: PolicyState
    early: tuple[int, ...] = ()

    @property
    def first_open(self) -> int:
        """The lowest number of a wave that has not been taken in."""
        return self.waves - len(self.early)


def save_checkpoint(paths: RunPaths, state: SearchState, in_use: Collection[int] = ()) -> None:
    """Write the checkpoint of a step durably, then drop all but the newest few and the versions in use."""
    paths.checkpoints.mkdir(exist_ok=True)
    content = io.BytesIO()
    torch.save(_to_plain(state), content)
    write_atomically(paths.checkpoint(state.policy.version), content.getvalue())
    needed = {paths.checkpoint(version) for version in in_use}
    for old in _checkpoints(paths)[:-KEPT]:
        if old not in needed:
            old.unlink()


def load_checkpoint(paths: RunPaths) -> SearchState | None:
    """The newest checkpoint, or None before the first. Raises UserError naming a file that cannot be read."""
    checkpoints = _checkpoints(paths)
    return _load(checkpoints[-1]) if checkpoints else None


def load_policy(paths: RunPaths, version: int) -> PolicyState:
    """The policy as it was after a number of steps that replicas under way still use."""
    return _load(paths.checkpoint(version)).policy


def _load(path: Path) -> SearchState:
    try:
        return _from_plain(torch.load(path, weights_only=True))
    except (RuntimeError, pickle.UnpicklingError, KeyError, TypeError, EOFError, OSError) as error:
        raise UserError(f"{path}: not a checkpoint of this version, or damaged ({error})") from error


def samples_committed(paths: RunPaths) -> int:
    """Samples whose rewards have been taken in for good."""
    state = load_checkpoint(paths)
    return state.samples if state else 0


def _checkpoints(paths: RunPaths) -> list[Path]:
    return sorted(paths.checkpoints.glob("step-*.pt"))


def _to_plain(state: SearchState) -> dict[str, Any]:
    """A state as numbers, strings and a few tensors: the arrays of each kind one after the other in one tensor."""
    policy, moments = state.policy, state.policy.moments
    return {
        "waves": state.waves,
        "samples": state.samples,
        "early": list(state.early),
        "policy": policy.policy,
        "seed": policy.seed,
        "version": policy.version,
        "baseline": (policy.baseline_sum, policy.baseline_weight),
        "population": [(individual.tokens, individual.reward) for individual in policy.population],
        "shapes": {name: tuple(weight.shape) for name, weight in policy.parameters.items()},
        "parameters": _joined(list(policy.parameters.values())),
        "steps": {name: moment.step for name, moment in moments.items()},
        "exp_avg": _joined([moment.exp_avg for moment in moments.values()]),
        "exp_avg_sq": _joined([moment.exp_avg_sq for moment in moments.values()]),
    }


def _from_plain(data: dict[str, Any]) -> SearchState:
    shapes, steps = data["shapes"], data["steps"]
    moment_shapes = {name: shapes[name] for name in steps}
    exp_avg, exp_avg_sq = _parted(data["exp_avg"], moment_shapes), _parted(data["exp_avg_sq"], moment_shapes)
    policy = PolicyState(
        policy=data["policy"],
        seed=data["seed"],
        version=data["version"],
        parameters=_parted(data["parameters"], shapes),
        moments={name: Moments(step, exp_avg[name], exp_avg_sq[name]) for name, step in steps.items()},
        baseline_sum=data["baseline"][0],
        baseline_weight=data["baseline"][1],
        population=tuple(Individual(tuple(tokens), reward) for tokens, reward in data["population"]),
    )
    return SearchState(data["waves"], data["samples"], policy, tuple(data["early"]))


def _joined(arrays: list[np.ndarray]) -> torch.Tensor:
    return torch.from_numpy(np.concatenate([array.ravel() for array in arrays] or [np.empty(0, np.float32)]))


def _parted(joined: torch.Tensor, shapes: dict[str, tuple[int, ...]]) -> dict[str, np.ndarray]:
    sizes = [math.prod(shape) for shape in shapes.values()]
    parts = torch.split(joined, sizes)
    return {name: part.numpy().reshape(shape) for (name, shape), part in zip(shapes.items(), parts, strict=True)}
