"""What a search has still to train."""

from collections import Counter
from collections.abc import Collection
from functools import partial
from statistics import fmean

from models.random_policy import sample_uniformly
from models.space import SearchSpace
from pipeline.configuration import Configuration
from pipeline.time_left import ToCome
from tasks.settings import IMAGE_TASK, depth_at

DRAWN = 6  # networks by chance at a depth, to learn what one costs
CHANNELS, CLASSES = 3, 10


def children_to_come(configuration: Configuration, ended: Collection[int]) -> ToCome:
    """The children of a search without the trials that ended, and those of the control that comes after it."""
    search = configuration.search
    left = Counter(depth_at(trial, search) for trial in range(search.samples) if trial not in ended)
    control = Counter(depth_at(trial, search) for trial in range(search.samples)) if search.control else Counter()
    wave = configuration.wave_size if search.mode == "waves" else None
    return ToCome(left, control, wave, flops_by_depth(configuration))


def flops_by_depth(configuration: Configuration) -> dict[int, float]:
    """FLOPs of networks for images that are drawn by chance, for each depth of a search; empty where it is one depth.

    Children of other tasks are taken to cost the more the deeper they are.
    """
    search = configuration.search
    changes = (*range(0, search.samples, search.depth_every), search.samples - 1)
    depths = sorted({depth_at(trial, search) for trial in changes})
    if len(depths) == 1 or configuration.child.task != IMAGE_TASK or not configuration.space.function:
        return {}
    space = SearchSpace(configuration.space.function, configuration.space.options)
    return {depth: _flops(space, depth, configuration.data.crop) for depth in depths}


def _flops(space: SearchSpace, depth: int, pixels: int) -> float:
    from models.conv_net import ConvNet  # looking at a run does without torch
    from models.cost import network_cost

    paths = space.paths(depth, DRAWN)
    sample_uniformly(paths, seed=0)
    builders = [partial(ConvNet, path.architecture, CHANNELS, CLASSES) for path in paths]
    return fmean(network_cost(build, (CHANNELS, pixels, pixels))[1] for build in builders)
