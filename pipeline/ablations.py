"""Control experiments on the network found (section 4.1): dense connections, no skips, one decision changed.

The paper calls its network a local optimum, since what differs from it is worse. A search's best is the best of many
by chance too, so the network found is trained again, from the seeds that the variants are trained from.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from rich.console import Console

from models.architecture import architecture_hash, to_json
from models.conv_architecture import ConvArchitecture
from models.space import SearchSpace
from pipeline.ablation_summary import ablation_text, in_words
from pipeline.checks import check_configuration
from pipeline.configuration import Configuration
from pipeline.datasets import prepare_data
from pipeline.final import finished_search
from pipeline.perturbations import Perturbation, perturbations
from pipeline.progress import format_seconds
from pipeline.rows import Row
from pipeline.run_paths import RunPaths
from pipeline.search import trial_of
from pipeline.study import Planned, open_study
from pipeline.summary import architecture_of
from tasks.seeds import derive_seed
from tasks.settings import SpaceSettings

REWIRED = {"dense": "models.variants:densely_connected", "no_skips": "models.variants:without_skips"}


@dataclass(frozen=True)
class Variant:
    """A network to be compared with the one found: its name, how a worker decodes it, and the decision changed."""

    kind: str
    space: SpaceSettings
    tokens: tuple[int, ...]
    change: Perturbation | None = None

    @property
    def columns(self) -> Row:
        """What tells its rows from those of other variants."""
        told = ("position", "decision", "before", "after")
        return {"variant": self.kind, **{name: getattr(self.change, name, None) for name in told}}


def run_ablations(folder: Path, configuration: Configuration, console: Console, retry: bool = False) -> None:
    """Train the best network of a finished search and its variants, or go on with that. Raises UserError."""
    paths = RunPaths(folder)
    best = finished_search(paths, configuration).ranked[0]
    check_configuration(configuration)
    data_path = prepare_data(configuration.data, paths.prepared_data)
    variants = variants_of(configuration, best)
    with open_study(paths, configuration, "ablations", console, data_path) as study:
        planned = list(_trainings(paths, configuration, data_path, best, variants))
        study.say(
            f"{len(variants)} networks, each from {configuration.ablations.seeds} seeds, are {len(planned)} trainings;"
            f" the search's took {format_seconds(best['seconds'])}. --perturbations and --seeds make them fewer."
        )
        rows = study.train(planned, retry)
        study.conclude(ablation_text(configuration, rows, rewired_already(configuration, best)))


def variants_of(configuration: Configuration, best: Row) -> list[Variant]:
    """The network found, its rewirings where it is convolutional and they are other networks, and its perturbations."""
    space, tokens = configuration.space, tuple(best["tokens"])
    variants = [Variant("found", space, tokens)]
    if isinstance(architecture_of(configuration, best), ConvArchitecture):
        for kind, function in REWIRED.items():
            rewired = SpaceSettings(function=function, options={"function": space.function, "options": space.options})
            variants.append(Variant(kind, rewired, tokens))
    distinct: dict[str, Variant] = {}
    for variant in variants:
        distinct.setdefault(architecture_hash(_architecture(variant, best["depth"])), variant)
    changes = perturbations(configuration, best, distinct)
    return [*distinct.values(), *(Variant("perturbed", space, change.tokens, change) for change in changes)]


def rewired_already(configuration: Configuration, best: Row) -> list[str]:
    """The rewirings that a convolutional network found has already, so that they are no variants of it."""
    is_network = isinstance(architecture_of(configuration, best), ConvArchitecture)
    kinds = {variant.kind for variant in variants_of(configuration, best)}
    return [kind for kind in REWIRED if is_network and kind not in kinds]


def _architecture(variant: Variant, depth: int) -> object:
    return SearchSpace(variant.space.function, variant.space.options).decode(depth, variant.tokens)


def _trainings(
    paths: RunPaths, configuration: Configuration, data_path: Path, best: Row, variants: Sequence[Variant]
) -> Iterator[Planned]:
    """Each variant as the search trained its children, once from each seed."""
    for repetition in range(configuration.ablations.seeds):
        seed = derive_seed(configuration.search.seed, "ablations", repetition)
        for variant in variants:
            architecture = _architecture(variant, best["depth"])
            sample = {**best, "tokens": variant.tokens, "seed": seed}
            trial = replace(trial_of(configuration, paths, data_path, sample), space=variant.space)
            columns = {
                **variant.columns, "repetition": repetition,
                "architecture": json.dumps(to_json(architecture)),
                "architecture_hash": architecture_hash(architecture),
            }  # fmt: skip
            name = f"trial {best['trial_id']}, {in_words(variant.columns)}, repetition {repetition}"
            yield Planned(name, replace(trial, max_parameters=None, max_flops=None), columns)
