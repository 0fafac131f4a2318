"""Set aside what is damaged in a run, and make what is left consistent. Nothing is deleted.

What is replaced is first copied, and then renamed over: a kill or a full disk at any moment loses nothing, and the
same command goes on.

What the newest checkpoint stands on is never touched, but for damaged files: rows that are lost there are gone for
good, and the controller stands. Of later waves, what hangs in the air is set aside too, and resuming does it again.
"""

from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from pipeline.configuration import Configuration
from pipeline.errors import UserError
from pipeline.files import write_atomically
from pipeline.journal import journal_line, read_journal, whole_lines
from pipeline.linked_rows import LinkedRows
from pipeline.recovery import replayable_state, taken_in, wave_trials
from pipeline.run_folder import driver_lock, open_run
from pipeline.run_paths import RunPaths
from pipeline.schemas import TABLES
from pipeline.set_aside import SetAside
from pipeline.tables import part_files, read_part, write_part
from pipeline.verification import examine_files, run_at_rest, searches_of

Keys = set[tuple[int, ...]]


def repair_run(folder: Path) -> Iterator[str]:
    """A line for each thing done, then what resuming will do. Raises UserError where a driver is at work."""
    paths = run_at_rest(folder)
    with driver_lock(paths):
        aside = SetAside(paths)
        if all(finding.problem for finding in islice(examine_files(paths), 2)):
            raise UserError(
                f"{paths.config}: neither this nor its copy can be read; nothing else tells of the settings"
            )
        for search in searches_of(paths):
            yield from _repair_files(search, aside)
        configuration = open_run(folder)[1]
        for search in searches_of(paths):
            yield from _repair_tables(search, configuration, aside)
            yield from _outlook(search, configuration)
        yield f"What was set aside is in {aside.folder}." if aside.folder else "Nothing had to be set aside."


def _repair_files(paths: RunPaths, aside: SetAside) -> Iterator[str]:
    """Set damaged files aside. Of the journal the whole lines stay; config.json and its copy stand for each other."""
    findings = [finding for finding in examine_files(paths) if finding.problem]
    others = {str(paths.config): paths.config_copy, str(paths.config_copy): paths.config}
    for finding in findings:
        if finding.damaged is None and finding.what not in others:
            raise UserError(f"{finding.what}: {finding.problem}; this cannot be repaired")
    bad = {finding.what for finding in findings}
    for finding in findings:
        path, other = Path(finding.what), others.get(finding.what)
        whole = other is not None and str(other) not in bad
        replaced = whole or path.suffix == paths.journal.suffix
        if finding.damaged is not None:
            aside.copy(path) if replaced else aside.move(path)
            yield f"set aside {finding.what}: {finding.problem}"
        if replaced:
            write_atomically(path, other.read_bytes() if other else whole_lines(path))
        if whole and other:
            yield f"put a copy of {other.name} in the place of {path}"


def _repair_tables(paths: RunPaths, configuration: Configuration, aside: SetAside) -> Iterator[str]:
    """Take out what hangs in the air, and what is there twice."""
    hanging = _hanging(paths, configuration)
    for name, schema in TABLES.items():
        seen: Keys = set()
        for part in reversed(part_files(paths.table(name))):
            rows = read_part(part, schema).to_pylist()
            keys = [tuple(row[key] for key in schema.key) for row in rows]
            kept = [row for row, key in zip(rows, keys, strict=True) if key not in hanging[name] and key not in seen]
            seen |= set(keys)
            if len(kept) < len(rows):
                aside.copy(part)
                write_part(part, kept, schema)
                yield f"set aside {part}, and wrote it again without {len(rows) - len(kept):,} rows that nothing holds"
    yield from _repair_journal(paths, hanging, aside)


def _repair_journal(paths: RunPaths, hanging: dict[str, Keys], aside: SetAside) -> Iterator[str]:
    entries = read_journal(paths.journal)[0] if paths.journal.exists() else []
    kept = [
        {
            name: [row for row in rows if tuple(row[key] for key in TABLES[name].key) not in hanging[name]]
            for name, rows in entry.items()
        }
        for entry in entries
    ]
    if kept != entries:
        aside.copy(paths.journal)
        write_atomically(paths.journal, b"".join(map(journal_line, kept)))
        yield f"set aside {paths.journal}, and wrote it again without rows that nothing holds"


def _hanging(paths: RunPaths, configuration: Configuration) -> dict[str, Keys]:
    """Keys of rows, of waves not taken in, that miss what they came from: they would not come out the same again.

    A wave needs all its samples, and the step that drew them: that of a checkpoint, or one that its updates lead to.
    """
    rows, state = LinkedRows(paths), replayable_state(paths, configuration)
    size, total, known = wave_trials(configuration), configuration.search.samples, taken_in(state, configuration)
    drawn: dict[int, list[int]] = {}
    for row in rows.of("samples"):
        drawn.setdefault(row["wave"], []).append(row["policy_version"])
    whole = {wave: steps[0] for wave, steps in drawn.items() if len(steps) >= min(size, total - wave * size)}
    step, updates = state.policy.version, set(range(state.waves))
    for row in sorted(rows.of("updates"), key=lambda row: int(row["update"])):
        if row["update"] == len(updates) and whole.get(row["wave"], step + 1) <= step:
            updates.add(row["update"])
            step = row["policy_version"]
    samples = {
        trial for trial in rows.trials("samples") if trial in known or whole.get(trial // size, step + 1) <= step
    }
    lacking = rows.without_epochs() - known
    results = {
        trial for trial in rows.trials("results") if trial in known or (trial in samples and trial not in lacking)
    }
    return {
        **{name: set() for name in TABLES},
        "samples": {(trial,) for trial in rows.trials("samples") - samples},
        "results": {(trial,) for trial in rows.trials("results") - results},
        "epochs": {
            (row["trial_id"], row["epoch"]) for row in rows.of("epochs") if row["trial_id"] not in results | known
        },
        "updates": {(row["update"],) for row in rows.of("updates") if row["update"] not in updates},
    }


def _outlook(paths: RunPaths, configuration: Configuration) -> Iterator[str]:
    """What is gone for good, and what resuming will do."""
    rows, state = LinkedRows(paths), replayable_state(paths, configuration)
    known = taken_in(state, configuration)
    lost = {name: len(known - rows.trials(name)) for name in ("samples", "results")}
    lost["epochs"] = len(rows.without_epochs() & known)
    lost["updates"] = len(set(range(state.waves)) - {row["update"] for row in rows.of("updates")})
    for name, count in lost.items():
        if count:
            kind = "steps" if name == "updates" else "trials"
            yield f"gone for good: {name} of {count:,} {kind} taken in before; step {state.policy.version} stands"
    left = configuration.search.samples - len(known)
    ended = len(rows.trials("results") - known)
    yield (
        f"Resuming {paths.folder} goes on from step {state.policy.version}: {left:,} trials are not taken in,"
        f" {ended:,} of them have ended, {left - ended:,} are to be trained."
    )
