"""Whether a run folder is whole: every file as it was written, and the tables in agreement with each other."""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.checkpoints import SearchState, checkpoint_files, read_checkpoint
from pipeline.configuration import Configuration, from_dict
from pipeline.errors import DamagedError, UserError
from pipeline.journal import read_journal
from pipeline.linked_rows import LinkedRows
from pipeline.recovery import replayable_state, taken_in
from pipeline.run_commands import command
from pipeline.run_folder import FORMAT, is_running, open_run
from pipeline.run_paths import RunPaths
from pipeline.schemas import TABLES
from pipeline.seals import check_archive, read_json
from pipeline.tables import part_files, read_part

SHOWN = 5  # numbers of rows named in a finding


@dataclass(frozen=True)
class Finding:
    """What was looked at, and what is wrong with it if anything; `damaged` is a file that is not as it was written."""

    what: str
    problem: str | None = None
    damaged: Path | None = None


def verify_run(folder: Path) -> Iterator[Finding]:
    """All that can be checked about a run. Raises UserError where there is none, or a driver is at work on it."""
    paths = run_at_rest(folder)
    configuration = None
    for search in searches_of(paths):
        files = list(examine_files(search))
        yield from files
        configuration = configuration or (open_run(folder)[1] if files[0].problem is None else None)
        if configuration is not None and not any(finding.problem for finding in files):
            yield from examine_tables(search, configuration)


def refuse_damage(paths: RunPaths) -> None:
    """Raise DamagedError where rows cannot be read. For checkpoints the tables make up, children's are begun anew, and
    a search looks at no weights."""
    made_up_for = (paths.checkpoints, paths.children, paths.kept_weights)
    for finding in examine_files(paths):
        if finding.damaged is not None and finding.damaged.parent not in made_up_for:
            repair = command("repair", paths.folder)
            raise DamagedError(f"{finding.what}: {finding.problem}; `{repair}` sets aside what is damaged")


def runs_in(folder: Path) -> list[Path]:
    """The folder of a run, or those of the searches in a comparison's."""
    paths = RunPaths(folder)
    if paths.config.exists() or paths.config_copy.exists():
        return [folder]
    return sorted(config.parent for config in folder.glob("*/config.json")) or [folder]


def run_at_rest(folder: Path) -> RunPaths:
    """A run folder without a driver. Raises UserError."""
    paths = RunPaths(folder)
    if not paths.config.exists() and not paths.config_copy.exists():
        raise UserError(f"{folder}: no run there (looked for {paths.config})")
    if is_running(paths):
        raise UserError(f"{folder}: a driver is at work on this run; what it writes cannot be judged meanwhile")
    return paths


def searches_of(paths: RunPaths) -> list[RunPaths]:
    """The run folder, and that of its control if it has one."""
    return [paths, paths.control] if paths.control.config_copy.exists() or paths.control.config.exists() else [paths]


def examine_files(paths: RunPaths) -> Iterator[Finding]:
    """Look at each file of a search by itself."""
    for path in (paths.config, paths.config_copy):
        yield _look(path, _check_config)
    if paths.changes.exists():
        yield _look(paths.changes, read_json)
    for journal in (paths.journal, *map(paths.stage_journal, TABLES)):
        if journal.exists():
            yield _look(journal, read_journal)
    for name, schema in TABLES.items():
        for part in part_files(paths.table(name)):
            yield _look(part, lambda part, schema=schema: read_part(part, schema))
    for checkpoint in checkpoint_files(paths):
        yield _look(checkpoint, read_checkpoint)
    for folder in (paths.children, paths.kept_weights):
        for archive in sorted(folder.glob("*.pt")):
            yield _look(archive, check_archive)


def examine_tables(paths: RunPaths, configuration: Configuration) -> Iterator[Finding]:
    """Look at the tables of a search, whose files are whole, and at its newest checkpoint beside them."""
    tables = LinkedRows(paths)
    for name, schema in TABLES.items():
        counts = Counter(tuple(row[key] for key in schema.key) for row in tables.of(name))
        repeated = [key[0] for key, count in counts.items() if count > 1]
        yield Finding(f"{name}: {len(counts):,} rows", _named("more than one row for", schema.key[0], repeated))
    drawn, ended = tables.trials("samples"), tables.trials("results")
    yield Finding("every result is of a sample", _named("no sample for", "trial", ended - drawn))
    yield Finding("every epoch is of a sample", _named("no sample for", "trial", tables.trials("epochs") - drawn))
    yield Finding("every epoch of a result is there", _named("epochs lack of", "trial", tables.without_epochs()))
    waves = Counter(row["wave"] for row in tables.of("updates"))
    twice = [wave for wave, count in waves.items() if count > 1]
    yield Finding("every wave is taken in once", _named("more than one update for", "wave", twice))
    yield from _examine_state(tables, replayable_state(paths, configuration), configuration)


def _examine_state(tables: LinkedRows, state: SearchState, configuration: Configuration) -> Iterator[Finding]:
    what = f"step {state.policy.version}, from which it goes on"
    updates = {row["update"]: row for row in tables.of("updates")}
    yield Finding(
        f"{what}: its updates are there", _named("no row for", "update", set(range(state.waves)) - set(updates))
    )
    known = taken_in(state, configuration)
    for name in ("samples", "results"):
        yield Finding(f"{what}: its {name} are there", _named("no row for", "trial", known - tables.trials(name)))
    last = updates.get(state.waves - 1)
    other = None
    if last is not None and last["policy_version"] != state.policy.version:
        other = f"update {last['update']} was step {last['policy_version']}"
    yield Finding(f"{what}: is that of its last update", other)


def _check_config(path: Path) -> Configuration:
    content = read_json(path)
    if content.get("format") != FORMAT:
        raise UserError(f"{path}: format {content.get('format')!r}, where this version reads {FORMAT}")
    return from_dict(content.get("configuration", {}), str(path))


def _look(path: Path, check: Any) -> Finding:
    """Whether a file passes its check."""
    try:
        check(path)
    except OSError as error:
        return Finding(str(path), f"cannot be read: {error.strerror}")
    except UserError as error:
        problem = str(error).removeprefix(f"{path}: ").removeprefix(f"{path}, ")
        return Finding(str(path), problem, path if isinstance(error, DamagedError) else None)
    return Finding(str(path))


def _named(problem: str, kind: str, numbers: Iterable[int]) -> str | None:
    """A problem with the first few of the numbers that have it, or None where none has."""
    found = sorted(numbers)
    if not found:
        return None
    more = f" and {len(found) - SHOWN:,} more" if len(found) > SHOWN else ""
    return f"{problem} {kind} {', '.join(map(str, found[:SHOWN]))}{more}"
