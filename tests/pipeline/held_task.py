"""A task that waits, for the tests of runs that are interrupted in the midst of a wave."""

import os
import time
from pathlib import Path

from models.conv_space import ConvArchitecture
from tasks.image_child import train_image_child
from tasks.records import Training, Trial


def held_from_12(architecture: ConvArchitecture, trial: Trial) -> Training:
    """Train; trials from 12 on once the file is there that WAVENAS_TEST_GO names."""
    while trial.trial_id >= 12 and not Path(os.environ["WAVENAS_TEST_GO"]).exists():
        time.sleep(0.05)
    return train_image_child(architecture, trial)
