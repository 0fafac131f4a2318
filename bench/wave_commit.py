"""What it takes to write a wave durably and to commit it, in the folder of a run that has ended."""

import time
from contextlib import closing
from dataclasses import replace
from pathlib import Path

from pipeline.checkpoints import load_checkpoint, save_checkpoint
from pipeline.run_paths import RunPaths
from pipeline.tables import Tables, read_table

WAVES = 5


def commit_seconds(folder: Path, wave: int) -> list[float]:
    """Seconds of samples, results, an update, a checkpoint and the commit, for some waves after the run's last."""
    paths = RunPaths(folder)
    rows = {name: read_table(paths, name).to_pylist() for name in ("samples", "results", "updates")}
    last = {"samples": rows["samples"][-wave:], "results": rows["results"][-wave:], "updates": rows["updates"][-1:]}
    state = load_checkpoint(paths)
    assert state is not None, "a run that ended has a checkpoint"
    seconds = []
    with closing(Tables(paths)) as tables:
        for number in range(1, WAVES + 1):
            keys = {"samples": ("trial_id", wave), "results": ("trial_id", wave), "updates": ("update", 1)}
            shifted = {
                name: [row | {key: row[key] + number * step} for row in last[name]]
                for name, (key, step) in keys.items()
            }
            for row in shifted["results"]:
                row["ended_at"] = time.time_ns() // 1_000  # as it is written, where it is read as a time
            policy = replace(state.policy, version=state.policy.version + number)
            started = time.perf_counter()
            for name in shifted:
                tables.append({name: shifted[name]})
            save_checkpoint(paths, replace(state, policy=policy))
            tables.commit()
            seconds.append(time.perf_counter() - started)
    return seconds
