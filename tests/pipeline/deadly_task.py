"""A task whose workers die, for the tests of lost workers."""

import os

from models.conv_space import ConvArchitecture
from tasks.image_child import train_image_child
from tasks.records import Training, Trial


def die_unless_first(architecture: ConvArchitecture, trial: Trial) -> Training:
    """Train trial 0; take the process down for any other."""
    if trial.trial_id:
        os._exit(1)
    return train_image_child(architecture, trial)
