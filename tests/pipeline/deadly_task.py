"""A task whose workers die, for the tests of lost workers."""

import os
import threading
import time
from pathlib import Path

import torch

from models.conv_space import ConvArchitecture
from tasks.image_child import train_image_child
from tasks.records import Training, Trial


def die_unless_first(architecture: ConvArchitecture, trial: Trial) -> Training:
    """Train trial 0; take the process down for any other."""
    if trial.trial_id:
        os._exit(1)
    return train_image_child(architecture, trial)


def die(architecture: ConvArchitecture, trial: Trial) -> Training:
    """Take the process down."""
    os._exit(1)


def die_once_kept(architecture: ConvArchitecture, trial: Trial) -> Training:
    """Train, but die once what was learned so far has been kept; the next attempt notes what it found."""
    assert trial.checkpoint_path is not None
    kept, died = Path(trial.checkpoint_path), Path(trial.checkpoint_path).with_suffix(".died")
    if died.exists():
        died.write_text(str(len(torch.load(kept, weights_only=True)["epochs"])))
    else:
        threading.Thread(target=_die_when_kept, args=(kept, died), daemon=True).start()
    return train_image_child(architecture, trial)


def _die_when_kept(kept: Path, died: Path) -> None:
    while not kept.exists():
        time.sleep(0.001)
    died.touch()
    os._exit(1)
