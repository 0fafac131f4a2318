"""What came of the control experiments: each variant against the network found, trained anew from the same seeds."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import fmean, stdev

from pipeline.configuration import Configuration
from pipeline.rows import Row

IN_WORDS = {
    "found": "the network found",
    "dense": "all layers densely connected",
    "no_skips": "no skip connections",
    "perturbed": "one decision changed",
}


@dataclass(frozen=True)
class Compared:
    """A variant: the metrics of its trainings that ended well, and by how much their mean is better than that of
    the network found, where both have one."""

    kind: str
    name: str
    metrics: tuple[float, ...]
    better_by: float | None

    @property
    def mean(self) -> str:
        if not self.metrics:
            return "none ended well"
        spread = f" ± {stdev(self.metrics):.4f} of a seed" if len(self.metrics) > 1 else ""
        return f"{fmean(self.metrics):.4f}{spread} ({len(self.metrics)} trainings)"


def in_words(row: Row) -> str:
    """A variant by the columns of its rows: what it is, and of one decision changed which, from what to what."""
    if row["position"] is None:
        return IN_WORDS[row["variant"]]
    change = f"{row['decision']} (token {row['position']}) from {row['before']} to {row['after']}"
    return f"{IN_WORDS[row['variant']]}, {change}"


def compared_variants(configuration: Configuration, rows: Sequence[Row]) -> list[Compared]:
    """The network found first, then its variants in the order of their trainings; rows are of table `ablations`."""
    metrics: dict[tuple[str, str], list[float]] = {("found", IN_WORDS["found"]): []}
    for row in rows:
        ended = metrics.setdefault((row["variant"], in_words(row)), [])
        ended += [row["metric"]] if row["status"] == "ok" else []
    found = metrics["found", IN_WORDS["found"]]
    sign = math.copysign(1.0, configuration.search.reward_power)  # 1 where a larger metric is better
    return [
        Compared(*key, tuple(values), sign * (fmean(values) - fmean(found)) if values and found else None)
        for key, values in metrics.items()
    ]


def ablation_text(configuration: Configuration, rows: Sequence[Row], already: Sequence[str] = ()) -> str:
    """The variants against the network found, in words; it has some of them `already`."""
    found, *variants = compared_variants(configuration, rows)
    if not found.metrics:
        return "The network found did not end well, so that there is nothing to compare with."
    lines = [f"{found.name}: mean {found.mean}", *(f"{IN_WORDS[kind]}: that is the network found" for kind in already)]
    for variant in variants:
        if variant.better_by is None:
            lines.append(f"{variant.name}: {variant.mean}")
        else:
            lines.append(f"{variant.name}: mean {variant.mean}, {difference_text(variant.better_by)}")
    return "\n".join([*lines, *perturbed_text(variants)])


def difference_text(better_by: float) -> str:
    if better_by == 0:
        return "as good"
    return f"{abs(better_by):.4g} {'better' if better_by > 0 else 'worse'}"


def perturbed_text(variants: Sequence[Compared]) -> Iterator[str]:
    """A line on the networks with one decision changed, if any ended well."""
    changes = [v.better_by for v in variants if v.kind == "perturbed" and v.better_by is not None]
    if changes:
        worse = sum(change < 0 for change in changes)
        yield (
            f"{worse} of {len(changes)} networks with one decision changed are worse than the network found,"
            f" by {-fmean(changes):.4g} in the mean of all; a local optimum has none that is better"
        )
