"""Children that last: trained as ever, then they wait for as long as the environment says."""

import os
import signal
import time
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

from models.conv_space import ConvArchitecture
from tasks import image_child
from tasks.image_child import train_image_child
from tasks.records import Epoch, Training, Trial


def train_and_wait(architecture: ConvArchitecture, trial: Trial) -> Training:
    """The same numbers as without the wait."""
    training = train_image_child(architecture, trial)
    time.sleep(float(os.environ.get("CHILD_SECONDS", "0")))
    return training


def train_in_long_epochs(architecture: ConvArchitecture, trial: Trial) -> Training:
    """Each epoch lasts as long as the environment says; which were begun is noted in a file of the trial."""

    def run_epoch(*arguments: Any) -> Epoch:
        with (folder_of(trial) / f"epochs-{trial.trial_id}").open("a") as file:
            file.write(f"{arguments[4]}\n")
        time.sleep(float(os.environ["CHILD_SECONDS"]))
        epoch = quick(*arguments)
        return replace(epoch, seconds=epoch.seconds + float(os.environ["CHILD_SECONDS"]))

    quick = image_child.run_epoch
    with patch.object(image_child, "run_epoch", run_epoch):
        return train_image_child(architecture, trial)


def folder_of(trial: Trial) -> Path:
    """The folder of the run."""
    assert trial.checkpoint_path
    return Path(trial.checkpoint_path).parent.parent


def die_at_first(architecture: ConvArchitecture, trial: Trial) -> Training:
    """The first time, after the wait, its process is killed; then the same numbers as ever."""
    began = folder_of(trial) / f"began-{trial.trial_id}"
    if not began.exists():
        began.touch()
        time.sleep(float(os.environ["CHILD_SECONDS"]))
        os.kill(os.getpid(), signal.SIGKILL)
    return train_image_child(architecture, trial)
