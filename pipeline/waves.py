"""The search: wave after wave of children, and a step of the controller after each."""

import hashlib
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from distributed import Client

from pipeline.checkpoints import SearchState, load_checkpoint, samples_committed, save_checkpoint
from pipeline.configuration import Configuration
from pipeline.history import History
from pipeline.progress import Progress
from pipeline.rows import Row, epoch_rows, result_row, reused_row, sample_row, update_row
from pipeline.run_paths import RunPaths
from pipeline.submit import run_task, train_children
from pipeline.tables import Tables, read_table
from tasks.records import COUNTED, PolicyState, ReduceRequest, SampleRequest, Trial, Update
from tasks.seeds import derive_seed
from tasks.waves import depth_at, reduce_wave, sample_wave


@dataclass(frozen=True)
class Search:
    """What a wave needs: the cluster, the run folder with its tables, the configuration, and who watches."""

    client: Client
    paths: RunPaths
    tables: Tables
    configuration: Configuration
    data_path: Path
    progress: Progress
    history: History

    @property
    def key(self) -> str:
        """Tells this run's tasks from those of others on the same scheduler."""
        return hashlib.sha256(str(self.paths.folder.resolve()).encode()).hexdigest()[:8]


def run_search(search: Search) -> SearchState:
    """Run waves until all samples are drawn, from the last checkpoint on. Interrupted at any moment, it can go on."""
    settings = search.configuration.search
    state = load_checkpoint(search.paths) or SearchState(
        0, 0, PolicyState(policy=settings.policy, seed=derive_seed(settings.seed, "controller"))
    )
    while state.samples < settings.samples:
        state = _run_wave(search, state)
    return state


def _run_wave(search: Search, state: SearchState) -> SearchState:
    started = time.monotonic()
    samples = _samples_of_wave(search, state)
    results = _results_of_wave(search, state, samples)
    update = run_task(
        search.client,
        f"reduce-{search.key}-{state.waves}",
        reduce_wave,
        _reduce_request(search, state, samples, results),
    )
    duplicates = search.history.share_of_duplicates(samples)
    row = update_row(update, state.waves, results, duplicates, time.monotonic() - started)
    search.tables.append({"updates": [row]})
    return _commit(search, state, update, row, len(samples))


def _samples_of_wave(search: Search, state: SearchState) -> list[Row]:
    """The wave's architectures: those written before the run was interrupted, else drawn and written now."""
    rows = [row for row in search.tables.recent("samples") if row["wave"] == state.waves]
    if rows:
        return rows
    configuration, settings = search.configuration, search.configuration.search
    count = min(configuration.wave_size, settings.samples - state.samples)
    depth = depth_at(state.samples, settings)
    request = SampleRequest(
        state=state.policy,
        controller=configuration.controller,
        evolution=configuration.evolution,
        space=configuration.space,
        depth=depth,
        count=count,
        seed=derive_seed(settings.seed, "wave", state.waves),
    )
    samples = run_task(search.client, f"sample-{search.key}-{state.waves}", sample_wave, request)
    rows = [
        sample_row(
            trial_id := state.samples + index, state.waves, index, depth, state.policy.version,
            derive_seed(settings.seed, "trial", trial_id), settings.children_per_replica, sample,
        )
        for index, sample in enumerate(samples)
    ]  # fmt: skip
    search.tables.append({"samples": rows})
    search.history.add_samples(rows)
    return rows


def _results_of_wave(search: Search, state: SearchState, samples: list[Row]) -> list[Row]:
    """The wave's rows of `results` in sample order; only trials without one are trained, or take another's result."""
    results = {row["trial_id"]: row for row in search.tables.recent("results") if row["wave"] == state.waves}
    search.progress.wave_started(state.waves, len(samples), len(results))
    while waiting := [sample for sample in samples if sample["trial_id"] not in results]:
        for row in _reuse(search, waiting) or _train(search, waiting):
            results[row["trial_id"]] = row
            search.progress.child_ended(row)
    return [results[sample["trial_id"]] for sample in samples]


def _reuse(search: Search, waiting: list[Row]) -> list[Row]:
    """Rows for the samples whose architecture has a result already, where such are to be reused."""
    if search.configuration.search.duplicates != "reuse":
        return []
    known = [(sample, search.history.reusable(sample)) for sample in waiting]
    rows = [reused_row(sample["trial_id"], sample["wave"], source) for sample, source in known if source]
    if rows:
        search.tables.append({"results": rows})
    return rows


def _train(search: Search, waiting: list[Row]) -> Iterator[Row]:
    """Train the samples that wait, but each architecture once where results are reused; a row as each child ends."""
    duplicates = search.configuration.search.duplicates
    if duplicates == "reuse":
        waiting = list({sample["architecture_hash"]: sample for sample in reversed(waiting)}.values())[::-1]
    samples = {sample["trial_id"]: sample for sample in waiting}
    trials = [_trial(search, sample) for sample in waiting]
    for result, attempts in train_children(search.client, search.key, trials):
        sample = samples[result.trial_id]
        averaged_with = search.history.original(sample) if duplicates == "average" else None
        row = result_row(result, sample["wave"], attempts, averaged_with)
        search.tables.append({"results": [row], "epochs": epoch_rows(result)})
        search.history.add_result(sample, row)
        yield row


def _reward(search: Search, sample: Row, result: Row) -> float:
    """What the policy is rewarded with for a child."""
    if search.configuration.search.duplicates == "average":
        return search.history.mean_reward(sample)
    return float(result["reward"])


def _trial(search: Search, sample: Row) -> Trial:
    configuration = search.configuration
    return Trial(
        trial_id=sample["trial_id"],
        seed=sample["seed"],
        depth=sample["depth"],
        tokens=tuple(sample["tokens"]),
        space=configuration.space,
        child=configuration.child,
        language=configuration.language,
        data=configuration.data,
        data_path=str(search.data_path),
        reward_power=configuration.search.reward_power,
        reward_scale=configuration.search.reward_scale,
        max_parameters=configuration.search.max_parameters,
        max_flops=configuration.search.max_flops,
    )


def _reduce_request(search: Search, state: SearchState, samples: list[Row], results: list[Row]) -> ReduceRequest:
    counted = [(sample, row) for sample, row in zip(samples, results, strict=True) if row["status"] in COUNTED]
    return ReduceRequest(
        state=state.policy,
        controller=search.configuration.controller,
        evolution=search.configuration.evolution,
        space=search.configuration.space,
        depth=samples[0]["depth"],
        tokens=tuple(tuple(sample["tokens"]) for sample, _ in counted),
        rewards=tuple(_reward(search, sample, row) for sample, row in counted),
    )


def _commit(search: Search, state: SearchState, update: Update, row: Row, count: int) -> SearchState:
    """Make a wave final: rows in Parquet, then the checkpoint, then the journal is emptied."""
    committed = SearchState(state.waves + 1, state.samples + count, update.state)
    search.tables.publish()
    save_checkpoint(search.paths, committed)
    search.tables.commit()
    search.progress.wave_ended(row)
    return committed


def is_finished(paths: RunPaths, configuration: Configuration) -> bool:
    """Whether the last wave of a search has been committed."""
    return samples_committed(paths) >= configuration.search.samples


def rewards_so_far(paths: RunPaths) -> list[float]:
    """Rewards of the children that took part in the gradient, in order of their trials."""
    rows = read_table(paths, "results", ["status", "reward"]).to_pylist()
    return [row["reward"] for row in rows if row["status"] in COUNTED]


def load_history(paths: RunPaths, configuration: Configuration) -> History:
    """What the tables of a run tell of the architectures it has drawn."""
    keep_results = configuration.search.duplicates != "retrain"
    history = History(keep_results)
    samples = read_table(paths, "samples", ["trial_id", "architecture_hash"]).to_pylist()
    history.add_samples(samples)
    if keep_results:
        results = {row["trial_id"]: row for row in read_table(paths, "results").to_pylist()}
        for sample in samples:
            if sample["trial_id"] in results:
                history.add_result(sample, results[sample["trial_id"]])
    return history
