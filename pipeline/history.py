"""What a search knows of the architectures it has drawn: which were drawn before, and what they earned."""

from collections.abc import Iterable, Sequence
from statistics import fmean

from pipeline.rows import Row
from tasks.records import COUNTED


class History:
    """By the hash of what an architecture computes: its first trial and the results that are to be reused."""

    def __init__(self) -> None:
        self._first: dict[str, int] = {}
        self._results: dict[str, dict[int, Row]] = {}

    def add_samples(self, samples: Iterable[Row]) -> None:
        for sample in samples:
            first = self._first.get(sample["architecture_hash"], sample["trial_id"])
            self._first[sample["architecture_hash"]] = min(first, sample["trial_id"])

    def add_result(self, sample: Row, result: Row) -> None:
        if result["status"] in COUNTED:
            self._results.setdefault(sample["architecture_hash"], {})[result["trial_id"]] = result

    def original(self, sample: Row) -> int | None:
        """The first trial of the same architecture, or None where this is the first."""
        first = self._first[sample["architecture_hash"]]
        return first if first != sample["trial_id"] else None

    def share_of_duplicates(self, samples: Sequence[Row]) -> float:
        """Of a wave: how many of its architectures had been drawn before."""
        return fmean(self.original(sample) is not None for sample in samples)

    def reusable(self, sample: Row) -> Row | None:
        """The first result of the same architecture, where there is one."""
        results = self._results.get(sample["architecture_hash"])
        return results[min(results)] if results else None

    def mean_reward(self, sample: Row) -> float:
        """The mean reward of the same architecture over the results of this trial and those before it."""
        results = self._results[sample["architecture_hash"]]
        return fmean(row["reward"] for trial_id, row in results.items() if trial_id <= sample["trial_id"])
