"""What a search needs, and what its waves and its asynchronous replicas have in common."""

import hashlib
from collections.abc import Container, Sequence
from dataclasses import dataclass
from pathlib import Path

from pipeline.checkpoints import SearchState, samples_committed
from pipeline.children import Children
from pipeline.configuration import Configuration
from pipeline.failures import FailureWatch
from pipeline.history import History
from pipeline.progress import Progress
from pipeline.rows import Row, epoch_rows, result_row, reused_row, sample_row
from pipeline.run_paths import RunPaths
from pipeline.submit import Tasks
from pipeline.tables import Tables, read_table
from tasks.records import COUNTED, PolicyState, ReduceRequest, Sample, SampleRequest, Trial, TrialResult
from tasks.seeds import derive_seed
from tasks.settings import depth_at


@dataclass(frozen=True)
class Search:
    """The tasks on the cluster, the run folder with its tables, the configuration, and who watches."""

    tasks: Tasks
    paths: RunPaths
    tables: Tables
    configuration: Configuration
    data_path: Path
    progress: Progress
    history: History
    children: Children
    failures: FailureWatch

    @property
    def key(self) -> str:
        """Tells this run's tasks from those of others on the same scheduler."""
        return run_key(self.paths)

    def trials_of(self, samples: Sequence[Row]) -> list[Trial]:
        return [trial_of(self.configuration, self.paths, self.data_path, sample) for sample in samples]

    @property
    def duplicates(self) -> str:
        return self.configuration.search.duplicates


def run_key(paths: RunPaths) -> str:
    """A short name of a run folder."""
    return hashlib.sha256(str(paths.folder.resolve()).encode()).hexdigest()[:8]


def first_state(configuration: Configuration) -> SearchState:
    """Before anything was drawn."""
    settings = configuration.search
    return SearchState(0, 0, PolicyState(policy=settings.policy, seed=derive_seed(settings.seed, "controller")))


def sample_request(search: Search, policy: PolicyState, wave: int, first_trial: int, count: int) -> SampleRequest:
    """Draw a wave whose first trial has a number."""
    configuration = search.configuration
    return SampleRequest(
        state=policy,
        controller=configuration.controller,
        evolution=configuration.evolution,
        space=configuration.space,
        depth=depth_at(first_trial, configuration.search),
        count=count,
        seed=derive_seed(configuration.search.seed, "wave", wave),
    )


def add_samples(
    search: Search,
    request: SampleRequest,
    wave: int,
    first_trial: int,
    replicas: Sequence[int],
    drawn: Sequence[Sample],
) -> list[Row]:
    """Write a wave's architectures, each drawn by a replica."""
    rows = [
        sample_row(
            first_trial + index, wave, replica, index, request.depth, request.state.version,
            derive_seed(search.configuration.search.seed, "trial", first_trial + index), sample,
        )
        for index, (replica, sample) in enumerate(zip(replicas, drawn, strict=True))
    ]  # fmt: skip
    search.tables.append({"samples": rows})
    search.history.add_samples(rows)
    return rows


def add_results(search: Search, ended: Sequence[tuple[Row, TrialResult]]) -> list[Row]:
    """Write how children ended, all at once: their samples and results. Raises SearchStopped where too many failed."""
    rows = []
    for sample, result in ended:
        averaged_with = search.history.original(sample) if search.duplicates == "average" else None
        rows.append(result_row(result, sample["wave"], averaged_with))
    epochs = [row for _, result in ended for row in epoch_rows(result)]
    search.tables.append({"results": rows, "epochs": epochs})
    for (sample, _), row in zip(ended, rows, strict=True):
        search.paths.child_checkpoint(row["trial_id"]).unlink(missing_ok=True)
        if search.duplicates == "reuse":
            search.history.add_result(sample, row)
        search.progress.child_ended(row)
    search.failures.take(rows)
    return rows


def results_to_keep(search: Search, results: Sequence[Row], recorded: bool) -> dict[int, Row]:
    """Rows of `results` by trial, of a wave that is to be taken in.

    Trials that failed in an earlier session are dropped: what made them fail may be mended by now, so they are trained
    again. Unless the wave's step is recorded in `updates`, and is to be taken again with the same numbers.
    """
    kept = {row["trial_id"]: row for row in results if recorded or row["status"] in COUNTED}
    search.progress.children_again([row for row in results if row["trial_id"] not in kept])
    return kept


def reuse_results(search: Search, samples: Sequence[Row]) -> list[Row]:
    """Write rows for the samples whose architecture has a result already, where such are to be reused."""
    if search.duplicates != "reuse":
        return []
    known = [(sample, search.history.reusable(sample)) for sample in samples]
    rows = [reused_row(sample["trial_id"], sample["wave"], source) for sample, source in known if source]
    if rows:
        search.tables.append({"results": rows})
    for row in rows:
        search.progress.child_ended(row)
    return rows


def trial_of(configuration: Configuration, paths: RunPaths, data_path: Path, sample: Row) -> Trial:
    """The child of a row of `samples`."""
    return Trial(
        trial_id=sample["trial_id"],
        seed=sample["seed"],
        depth=sample["depth"],
        tokens=tuple(sample["tokens"]),
        space=configuration.space,
        child=configuration.child,
        language=configuration.language,
        data=configuration.data,
        data_path=str(data_path),
        reward_power=configuration.search.reward_power,
        reward_scale=configuration.search.reward_scale,
        max_parameters=configuration.search.max_parameters,
        max_flops=configuration.search.max_flops,
        checkpoint_path=str(paths.child_checkpoint(sample["trial_id"]).resolve()),
    )


def reduce_request(
    search: Search, policy: PolicyState, samples: Sequence[Row], results: Sequence[Row]
) -> ReduceRequest:
    """The tokens and rewards of the children that count, in sample order.

    A reward that is averaged does not depend on which other children happen to have ended, but on whose gradients were
    taken in before: so a step that has to be taken again has the same rewards.
    """
    counted = [(sample, row) for sample, row in zip(samples, results, strict=True) if row["status"] in COUNTED]
    if search.duplicates == "average":
        for sample, row in counted:
            search.history.add_result(sample, row)
    return ReduceRequest(
        state=policy,
        controller=search.configuration.controller,
        evolution=search.configuration.evolution,
        space=search.configuration.space,
        depth=samples[0]["depth"],
        tokens=tuple(tuple(sample["tokens"]) for sample, _ in counted),
        rewards=tuple(_reward(search, sample, row) for sample, row in counted),
    )


def _reward(search: Search, sample: Row, result: Row) -> float:
    """What the policy is rewarded with for a child."""
    return search.history.mean_reward(sample) if search.duplicates == "average" else float(result["reward"])


def all_taken_in(paths: RunPaths, configuration: Configuration) -> bool:
    """Whether the last step of a search has its checkpoint."""
    return samples_committed(paths) >= configuration.search.samples


def is_finished(paths: RunPaths, configuration: Configuration) -> bool:
    """Whether a search is over and its tables are whole: after a kill its last rows may be in the journal alone."""
    in_journal = paths.journal.exists() and paths.journal.stat().st_size
    return all_taken_in(paths, configuration) and not in_journal


def rewards_so_far(paths: RunPaths) -> list[float]:
    """Rewards of the children that took part in the gradient, in order of their trials."""
    rows = read_table(paths, "results", ["status", "reward"]).to_pylist()
    return [row["reward"] for row in rows if row["status"] in COUNTED]


def load_history(search: Search, taken_in: Container[int]) -> None:
    """What the tables of a run tell of the architectures it has drawn; means are over trials whose rewards are in."""
    history, average = search.history, search.duplicates == "average"
    samples = read_table(search.paths, "samples", ["trial_id", "architecture_hash"]).to_pylist()
    history.add_samples(samples)
    if search.duplicates != "retrain":
        results = {row["trial_id"]: row for row in read_table(search.paths, "results").to_pylist()}
        for sample in samples:
            if sample["trial_id"] in results and (not average or sample["trial_id"] in taken_in):
                history.add_result(sample, results[sample["trial_id"]])
