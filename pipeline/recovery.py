"""From which state a search goes on, also where checkpoints are damaged or gone.

The tables alone determine the controller: a step whose checkpoint is lost is taken again, from the newest checkpoint
before it and the rows of later waves. No child is trained again for that, and the numbers are the same.
"""

from pathlib import Path

from pipeline.checkpoints import SearchState, checkpoint_files, load_checkpoint, version_of
from pipeline.configuration import Configuration
from pipeline.errors import DamagedError
from pipeline.run_paths import RunPaths
from pipeline.seals import check_archive
from pipeline.search import Search, first_state, load_history
from pipeline.set_aside import SetAside
from pipeline.tables import read_table


def last_state(search: Search) -> SearchState:
    """The state to go on from, with the rows that it does not stand on reopened, and its history.

    Says so where it is not the newest.
    """
    paths = search.paths
    damaged = [path for path in checkpoint_files(paths) if not is_whole(path)]
    state = replayable_state(paths, search.configuration)
    first_trial = state.first_open * wave_trials(search.configuration)
    search.tables.reopen(
        {"samples": first_trial, "results": first_trial, "epochs": first_trial, "updates": state.waves}
    )
    load_history(search, taken_in(state, search.configuration))
    if damaged:
        aside = SetAside(paths)
        for path in damaged:
            aside.move(path)
        names = ", ".join(path.name for path in damaged)
        search.progress.warn(
            f"Damaged: {names}, set aside in {aside.folder}. Going on from step {state.policy.version};"
            " later steps are taken again from the tables, with the same numbers."
        )
    return state


def replayable_state(paths: RunPaths, configuration: Configuration) -> SearchState:
    """The newest state whose replicas' snapshots can be had too: from a checkpoint, or by taking steps again."""
    state = load_checkpoint(paths)
    while state is not None and (missing := _missing_snapshots(paths, state)):
        state = load_checkpoint(paths, before=min(missing))
    return state or first_state(configuration)


def wave_trials(configuration: Configuration) -> int:
    """Trials of a wave, or of a minibatch of an asynchronous replica; the last may have fewer."""
    search = configuration.search
    return configuration.wave_size if search.mode == "waves" else search.children_per_replica


def taken_in(state: SearchState, configuration: Configuration) -> set[int]:
    """Trials whose rewards a state has learned from."""
    size, samples = wave_trials(configuration), configuration.search.samples
    waves = [*range(state.first_open), *state.early]
    return {trial for wave in waves for trial in range(wave * size, min(samples, (wave + 1) * size))}


def is_whole(path: Path) -> bool:
    """Whether a checkpoint is as it was written."""
    try:
        check_archive(path)
    except DamagedError:
        return False
    return True


def _missing_snapshots(paths: RunPaths, state: SearchState) -> set[int]:
    """Steps whose weights drew children that are under way, and have no whole checkpoint."""
    drawn = read_table(paths, "samples", ["wave", "policy_version"]).to_pylist()
    open_versions = {
        row["policy_version"] for row in drawn if row["wave"] >= state.first_open and row["wave"] not in state.early
    }
    whole = {version_of(path) for path in checkpoint_files(paths) if is_whole(path)}
    return {version for version in open_versions if 0 < version <= state.policy.version} - whole
