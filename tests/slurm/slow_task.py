"""Children that last: trained as ever, then they wait for as long as the environment says."""

import os
import time

from models.conv_space import ConvArchitecture
from tasks.image_child import train_image_child
from tasks.records import Training, Trial


def train_and_wait(architecture: ConvArchitecture, trial: Trial) -> Training:
    """The same numbers as without the wait."""
    training = train_image_child(architecture, trial)
    time.sleep(float(os.environ.get("CHILD_SECONDS", "0")))
    return training
