"""What can be seen to be wrong with a configuration before anything starts."""

import json
from dataclasses import fields
from importlib.util import find_spec
from random import Random
from textwrap import shorten

from cluster.open import check_cluster
from models.architecture import architecture_hash, to_json
from models.space import Choice, Path, SearchSpace, load_function
from pipeline.configuration import Configuration
from pipeline.errors import UserError
from pipeline.foreign_code import find_own_modules, in_place_of_ours, module_of
from pipeline.trust import foreign_code
from tasks.settings import (
    IMAGE_TASK,
    LANGUAGE_TASK,
    TRANSLATION_TASK,
    ChildSettings,
    DataSettings,
    LanguageSettings,
    depth_at,
)

TRIED = 20  # architectures drawn of a space, at its first depth and at its last
# The other settings in child are of images.
OF_ANY_CHILD = ("task", "timeout_minutes", "grace_minutes", "checkpoint_minutes", "precision", "threads")
OF_IMAGES = ("split_seed", "upsample", "crop", "flip")  # in data


def check_configuration(configuration: Configuration) -> None:
    """Raise UserError, with the value and what is allowed."""
    find_own_modules()
    _check_folder(configuration)
    try:
        check_cluster(configuration.cluster)
        SearchSpace(configuration.space.function, configuration.space.options).check_options()
        if configuration.child.task not in (IMAGE_TASK, LANGUAGE_TASK):  # which load torch, for workers to do
            _check_task(configuration.child.task)
    except Exception as error:  # importing a user's module may raise anything
        raise UserError(str(error) if isinstance(error, ValueError) else f"{type(error).__name__}: {error}") from error
    _check_combinations(configuration)
    _check_unread(configuration)
    _try_space(configuration)


def _check_folder(configuration: Configuration) -> None:
    """Refuse a user's own module that is not looked for, since one beside it has the name of a package of ours."""
    if (path := in_place_of_ours()) is None:
        return
    for name in foreign_code(configuration):
        if find_spec(module_of(name)) is None:
            raise UserError(
                f"{path}: has the name of a package of WaveNAS, so that {name} is not looked for beside it;"
                " rename it, or begin in another folder"
            )


def _check_task(name: str) -> None:
    try:
        load_function(name)
    except ValueError as error:
        raise ValueError(f"child.task = {error}") from error


def _check_combinations(configuration: Configuration) -> None:
    search, data, child, cluster = configuration.search, configuration.data, configuration.child, configuration.cluster
    if search.control == search.policy:
        raise UserError(f"search.control = {search.control!r} is the policy itself")
    evolving = "evolution" in (search.policy, search.control)
    if evolving and configuration.evolution.population_size >= search.samples:
        raise UserError(
            f"evolution.population_size = {configuration.evolution.population_size}: evolution begins once so many"
            f" children were drawn by chance; allowed is less than search.samples = {search.samples}"
        )
    if search.mode == "waves" and search.gradients_per_step != 1:
        raise UserError(
            f"search.gradients_per_step = {search.gradients_per_step}: a wave is one step of the controller; allowed is"
            ' 1, or any number with search.mode = "async"'
        )
    if data.crop > data.upsample:
        raise UserError(f"data.crop = {data.crop}: allowed is at most data.upsample = {data.upsample}")
    if data.dataset == "digits" and data.folder is not None:
        raise UserError(f"data.folder = {data.folder!r}: the digits come with scikit-learn and need no folder")
    if (search.max_parameters or search.max_flops) and child.task not in (IMAGE_TASK, LANGUAGE_TASK):
        raise UserError(f"search.max_parameters and max_flops are not for child.task = {child.task!r}")
    if not cluster.processes and cluster.workers != 1 and data.dataset != "table":
        raise UserError(
            "cluster.processes = false needs cluster.workers = 1: threads would share torch's random numbers"
        )


def _check_unread(configuration: Configuration) -> None:
    """Refuse data that a task of ours cannot train on, and settings that it would not look at."""
    task, dataset = configuration.child.task, configuration.data.dataset
    if task == LANGUAGE_TASK:
        unread = {"child": [field.name for field in fields(ChildSettings) if field.name not in OF_ANY_CHILD]}
        unread["data"] = list(OF_IMAGES)
    elif task == IMAGE_TASK:
        unread = {"language": [field.name for field in fields(LanguageSettings)], "data": ["symbols", "vocabulary"]}
    elif task == TRANSLATION_TASK:
        unread = {"child": [field.name for field in fields(ChildSettings) if field.name not in OF_ANY_CHILD]}
        unread["language"] = [field.name for field in fields(LanguageSettings)]
        unread["data"] = [field.name for field in fields(DataSettings) if field.name != "dataset"]
    else:
        return
    if (task != IMAGE_TASK) != (dataset == "text"):
        raise UserError(f"child.task = {task!r} cannot be trained on data.dataset = {dataset!r}")
    for section, names in unread.items():
        settings = getattr(configuration, section)
        for name in names:
            if (value := getattr(settings, name)) != getattr(type(settings)(), name):
                raise UserError(f"{section}.{name} = {value!r} means nothing to child.task = {task!r}")


def _try_space(configuration: Configuration) -> None:
    """Draw a few architectures: a space that cannot be walked is the user's to mend, before workers are started."""
    space = SearchSpace(configuration.space.function, configuration.space.options)
    search = configuration.search
    chance, sizes = Random(0), dict[str, int]()
    try:
        for depth in {depth_at(0, search), depth_at(search.samples - 1, search)}:
            for path in space.paths(depth, TRIED):
                _walk(path, chance, sizes)
                architecture_hash(path.architecture)
                json.dumps(to_json(path.architecture))  # as tables and reports have it
    except Exception as error:
        options = f", space.options = {shorten(str(space.options), 300)}" if space.options else ""
        raise UserError(f"space {configuration.space.function}{options}: {type(error).__name__}: {error}") from error


def _walk(path: Path, chance: Random, sizes: dict[str, int]) -> None:
    """Complete a path by chance. `sizes` are those of choices met: one choice has one softmax of the controller."""
    while (decision := path.decision) is not None:
        if isinstance(decision, Choice):
            size = sizes.setdefault(decision.name, len(decision.values))
            if size != len(decision.values):
                raise ValueError(
                    f"choice {decision.name!r} has {len(decision.values)} values here and {size} elsewhere"
                )
        path.take(chance.randrange(decision.num_options))
