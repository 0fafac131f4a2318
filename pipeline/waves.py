"""A search in waves: K times m children, then one step of the controller with the rewards of them all."""

import time

from pipeline.checkpoints import SearchState, save_checkpoint
from pipeline.recovery import last_state
from pipeline.rows import Row, update_row
from pipeline.search import (
    Search,
    add_results,
    add_samples,
    reduce_request,
    results_to_keep,
    reuse_results,
    sample_request,
)
from tasks.waves import reduce_wave, sample_wave


def run_waves(search: Search) -> SearchState:
    """Run waves until all samples are drawn, from the last checkpoint on. Interrupted at any moment, it can go on."""
    state = last_state(search)
    while state.samples < search.configuration.search.samples:
        state = _run_wave(search, state)
    search.tables.commit()
    return state


def _run_wave(search: Search, state: SearchState) -> SearchState:
    started = time.monotonic()
    samples = _samples_of_wave(search, state)
    results = _results_of_wave(search, state, samples)
    request = reduce_request(search, state.policy, samples, results)
    update = search.tasks.run(f"reduce-{search.key}-{state.waves}", reduce_wave, request)
    row = update_row(
        update.gradient, state.waves, results, search.history.share_of_duplicates(samples),
        wave=state.waves, replica=0, version=update.state.version, staleness=0, seconds=time.monotonic() - started,
    )  # fmt: skip
    search.tables.append({"updates": [row]})
    state = SearchState(state.waves + 1, state.samples + len(samples), update.state)
    save_checkpoint(search.paths, state)
    search.tables.commit_when_due()
    search.progress.wave_ended(row)
    return state


def _samples_of_wave(search: Search, state: SearchState) -> list[Row]:
    """The wave's architectures: those written before the run was interrupted, else drawn and written now."""
    rows = [row for row in search.tables.recent("samples") if row["wave"] == state.waves]
    if rows:
        return rows
    settings = search.configuration.search
    count = min(search.configuration.wave_size, settings.samples - state.samples)
    request = sample_request(search, state.policy, state.waves, state.samples, count)
    drawn = search.tasks.run(f"sample-{search.key}-{state.waves}", sample_wave, request)
    replicas = [index // settings.children_per_replica for index in range(count)]
    return add_samples(search, request, state.waves, state.samples, replicas, drawn)


def _results_of_wave(search: Search, state: SearchState, samples: list[Row]) -> list[Row]:
    """The wave's rows of `results` in sample order; only trials without one are trained, or take another's result."""
    written = [row for row in search.tables.recent("results") if row["wave"] == state.waves]
    recorded = any(row["wave"] == state.waves for row in search.tables.recent("updates"))
    results = results_to_keep(search, written, recorded)
    search.progress.wave_started(state.waves, len(samples), len(results))
    while waiting := [sample for sample in samples if sample["trial_id"] not in results]:
        rows = reuse_results(search, waiting) or _train(search, waiting)
        results |= {row["trial_id"]: row for row in rows}
    return [results[sample["trial_id"]] for sample in samples]


def _train(search: Search, waiting: list[Row]) -> list[Row]:
    """Train the samples that wait, but each architecture once where results are reused."""
    if search.duplicates == "reuse":
        waiting = list({sample["architecture_hash"]: sample for sample in reversed(waiting)}.values())[::-1]
    under_way = {sample["trial_id"]: sample for sample in waiting}
    search.children.train(search.trials_of(waiting))
    rows = []
    while under_way:
        results = search.children.take(search.tasks.wait())
        rows += add_results(search, [(under_way.pop(result.trial_id), result) for result in results])
    return rows
