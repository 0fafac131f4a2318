"""The state of a search between waves. Its checkpoint is the commit of a wave."""

import io
import pickle
from dataclasses import asdict, dataclass
from pathlib import Path

import torch

from pipeline.errors import UserError
from pipeline.files import write_atomically
from pipeline.run_paths import RunPaths
from tasks.records import PolicyState

KEPT = 3


@dataclass(frozen=True)
class SearchState:
    """Waves and samples done, and what the policy has learned from them."""

    waves: int
    samples: int
    policy: PolicyState


def save_checkpoint(paths: RunPaths, state: SearchState) -> None:
    """Write the checkpoint of a wave durably, then drop all but the newest few."""
    paths.checkpoints.mkdir(exist_ok=True)
    content = io.BytesIO()
    torch.save(asdict(state), content)
    write_atomically(paths.checkpoint(state.waves), content.getvalue())
    for old in _checkpoints(paths)[:-KEPT]:
        old.unlink()


def load_checkpoint(paths: RunPaths) -> SearchState | None:
    """The newest checkpoint, or None before the first. Raises UserError naming a file that cannot be read."""
    checkpoints = _checkpoints(paths)
    if not checkpoints:
        return None
    path = checkpoints[-1]
    try:
        data = torch.load(path, weights_only=True)
        return SearchState(data["waves"], data["samples"], PolicyState(**data["policy"]))
    except (RuntimeError, pickle.UnpicklingError, KeyError, TypeError, EOFError, OSError) as error:
        raise UserError(f"{path}: not a checkpoint of this version, or damaged ({error})") from error


def _checkpoints(paths: RunPaths) -> list[Path]:
    return sorted(paths.checkpoints.glob("wave-*.pt"))
