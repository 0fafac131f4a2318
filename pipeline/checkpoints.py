"""The state of a search between steps of its policy. Its checkpoint is the commit of a step."""

import io
import json
import math
import zipfile
import zlib
from collections.abc import Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from models.evolution import Individual
from pipeline.errors import DamagedError, UserError
from pipeline.files import write_atomically, writing
from pipeline.run_paths import RunPaths
from pipeline.seals import check_archive
from tasks.records import Moments, PolicyState
from tasks.sealed import seal

KEPT = 3
UNREADABLE = (  # what numpy, zipfile and json raise for files that are something else
    zipfile.BadZipFile, zlib.error, LookupError, TypeError, ValueError, AttributeError, OSError, EOFError,
    RecursionError, MemoryError, NotImplementedError,
)  # fmt: skip


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
    """Write the checkpoint of a step durably, then drop all but the newest few and the versions in use.

    Raises DiskError; the checkpoints before it are then still there.
    """
    with writing(paths.checkpoints):
        paths.checkpoints.mkdir(exist_ok=True)
    content = io.BytesIO()
    np.savez(content, **_to_arrays(state))
    write_atomically(paths.checkpoint(state.policy.version), seal(content.getvalue()))
    needed = {paths.checkpoint(version) for version in in_use}
    with writing(paths.checkpoints):
        for old in checkpoint_files(paths)[:-KEPT]:
            if old not in needed:
                old.unlink()


def load_checkpoint(paths: RunPaths, before: int | None = None) -> SearchState | None:
    """The newest checkpoint that is whole, of fewer than `before` steps, or None where there is none.

    Raises UserError naming a file that is of another version.
    """
    for path in reversed(checkpoint_files(paths)):
        if before is None or version_of(path) < before:
            with suppress(DamagedError):
                return read_checkpoint(path)
    return None


def load_policy(paths: RunPaths, version: int) -> PolicyState:
    """The policy as it was after a number of steps that replicas under way still use. Raises DamagedError."""
    return read_checkpoint(paths.checkpoint(version)).policy


def read_checkpoint(path: Path) -> SearchState:
    """A state as it was saved. Raises DamagedError where its checksum does not match, else UserError."""
    try:
        content = check_archive(path)
        with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
            return _from_arrays(arrays)
    except FileNotFoundError as error:
        raise DamagedError(f"{path}: no such file, though a replica's children were drawn from it") from error
    except UNREADABLE as error:
        raise UserError(f"{path}: not a checkpoint of this version ({error})") from error


def checkpoint_files(paths: RunPaths) -> list[Path]:
    """The checkpoints, the oldest first."""
    return sorted((path for path in paths.checkpoints.glob("step-*.npz") if path.stem[5:].isdecimal()), key=version_of)


def version_of(path: Path) -> int:
    """Steps that the policy of a checkpoint had taken."""
    return int(path.stem.removeprefix("step-"))


def samples_committed(paths: RunPaths) -> int:
    """Samples whose rewards have been taken in for good."""
    state = load_checkpoint(paths)
    return state.samples if state else 0


def _to_arrays(state: SearchState) -> dict[str, Any]:
    """The arrays of each kind one after the other in one, and all else as JSON."""
    policy, moments = state.policy, state.policy.moments
    told = {
        "waves": state.waves,
        "samples": state.samples,
        "early": list(state.early),
        "policy": policy.policy,
        "seed": policy.seed,
        "version": policy.version,
        "baseline": [policy.baseline_sum, policy.baseline_weight],
        "population": [[list(individual.tokens), individual.reward] for individual in policy.population],
        "shapes": {name: list(weight.shape) for name, weight in policy.parameters.items()},
        "steps": {name: moment.step for name, moment in moments.items()},
    }
    return {
        "state": np.array(json.dumps(told)),
        "parameters": _joined(list(policy.parameters.values())),
        "exp_avg": _joined([moment.exp_avg for moment in moments.values()]),
        "exp_avg_sq": _joined([moment.exp_avg_sq for moment in moments.values()]),
    }


def _from_arrays(arrays: Mapping[str, np.ndarray]) -> SearchState:
    told = json.loads(str(arrays["state"]))
    shapes, steps = {name: tuple(shape) for name, shape in told["shapes"].items()}, told["steps"]
    moment_shapes = {name: shapes[name] for name in steps}
    exp_avg, exp_avg_sq = (_parted(arrays[name], moment_shapes) for name in ("exp_avg", "exp_avg_sq"))
    policy = PolicyState(
        policy=told["policy"],
        seed=told["seed"],
        version=told["version"],
        parameters=_parted(arrays["parameters"], shapes),
        moments={name: Moments(step, exp_avg[name], exp_avg_sq[name]) for name, step in steps.items()},
        baseline_sum=told["baseline"][0],
        baseline_weight=told["baseline"][1],
        population=tuple(Individual(tuple(tokens), reward) for tokens, reward in told["population"]),
    )
    return SearchState(told["waves"], told["samples"], policy, tuple(told["early"]))


def _joined(arrays: list[np.ndarray]) -> np.ndarray:
    return np.concatenate([array.ravel() for array in arrays] or [np.empty(0, np.float32)])


def _parted(joined: np.ndarray, shapes: dict[str, tuple[int, ...]]) -> dict[str, np.ndarray]:
    ends = np.cumsum([math.prod(shape) for shape in shapes.values()])
    parts = np.split(joined, ends)[:-1]  # nothing is left after the last
    return {name: part.reshape(shape) for (name, shape), part in zip(shapes.items(), parts, strict=True)}
