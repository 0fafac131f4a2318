"""A long child's own checkpoint, so that it goes on elsewhere when its worker dies or retires."""

import io
import logging
import math
import os
import pickle
import time
from copy import deepcopy
from dataclasses import asdict
from pathlib import Path
from typing import Any, Protocol

import torch

from tasks.records import Epoch, Trial
from tasks.sealed import unseal, write_sealed

log = logging.getLogger(__name__)

RETIRE_AT = "WAVENAS_RETIRE_AT"  # variable with the time, in seconds since 1970, at which a worker on Slurm retires
EPOCHS_LEFT = 2.0  # a child with no time for so many more epochs on its worker is kept after each
EACH_EPOCH = 1e-9  # minutes between checkpoints, for trainings that keep each epoch


class Stateful(Protocol):
    """A network or an optimizer."""

    def state_dict(self) -> dict[str, Any]: ...
    def load_state_dict(self, state_dict: dict[str, Any]) -> Any: ...


class ChildCheckpoint:
    """Keeps what a child has learned after an epoch, but not more often than `child.checkpoint_minutes`.

    Before its worker retires it is kept after each epoch. A child that ends sooner writes nothing. The file holds
    tensors and numbers only.
    """

    def __init__(self, trial: Trial, generator: torch.Generator | None = None, **parts: Stateful) -> None:
        every, self._path = trial.child.checkpoint_minutes, trial.checkpoint_path and Path(trial.checkpoint_path)
        self._seconds = 60 * every if every and self._path else float("inf")
        self._trial = [trial.seed, trial.micro_batches, *trial.tokens]
        self._generator, self._parts = generator, parts
        self._saved_at = time.monotonic()
        self._retire_at = float(os.environ.get(RETIRE_AT, "inf"))

    def restore(self) -> list[Epoch]:
        """Take up a checkpoint of the same trial; the epochs it had. One that cannot be taken up is as good as none."""
        if not self._path or not self._path.is_file():
            return []
        before = {name: deepcopy(part.state_dict()) for name, part in self._parts.items()}
        try:
            whole = io.BytesIO(unseal(self._path.read_bytes()))
            content = torch.load(whole, map_location="cpu", weights_only=True)
            if content["trial"] != self._trial:
                return []
            epochs = [Epoch(**epoch) for epoch in content["epochs"]]
            for name, part in self._parts.items():
                part.load_state_dict(content["parts"][name])
            if self._generator is not None:
                self._generator.set_state(content["generator"])
            return epochs
        except (RuntimeError, pickle.UnpicklingError, KeyError, TypeError, ValueError, EOFError, OSError):
            for name, part in self._parts.items():  # some of which may have been taken up
                part.load_state_dict(before[name])
            return []

    def save_when_due(self, epochs: list[Epoch]) -> None:
        """Write, if it is time: two copies of a child may be at work, and write the same.

        A child whose state cannot be written, as on a full disk, is trained on without.
        """
        if not self._path or math.isinf(self._seconds):
            return
        soon = time.time() + EPOCHS_LEFT * epochs[-1].seconds >= self._retire_at
        if time.monotonic() - self._saved_at < self._seconds and not soon:
            return
        content = {
            "trial": self._trial,
            "parts": {name: part.state_dict() for name, part in self._parts.items()},
            "generator": self._generator.get_state() if self._generator is not None else None,
            "epochs": [asdict(epoch) for epoch in epochs],
        }
        try:
            self._path.parent.mkdir(exist_ok=True)
            write_sealed(self._path, content)
        except OSError as error:
            log.warning("%s: cannot be written: %s", self._path, error.strerror)
        self._saved_at = time.monotonic()
