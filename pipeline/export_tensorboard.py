"""A run's tables as an event file that TensorBoard shows, beside other runs."""

from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

from pipeline.errors import UserError
from pipeline.rows import Row
from pipeline.run_paths import RunPaths
from pipeline.tables import read_table

OF_TRIALS = ("reward", "metric", "seconds", "parameters", "flops")  # of `results`
OF_UPDATES = ("mean_reward", "baseline", "entropy", "gradient_norm", "duplicates", "staleness", "num_failed")
EVENTS, OURS = "events.out.tfevents.", ".wavenas"  # how the names of such files begin, and those of ours end
Figure = tuple[str, float, int, datetime]  # tag, value, step, time


def write_events(paths: RunPaths, folder: Path) -> int:
    """Write each trial's figures at the step of its number and each update's at its own; how many figures these are.

    A folder that has such a file already gets a new one in its place, and a TensorBoard that is looking takes that: so
    a run that is going on can be written again and again. Raises UserError where TensorBoard is not installed, or the
    folder holds anything else.
    """
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise UserError(f"TensorBoard is not installed ({error}); pip install -e '.[tensorboard]' adds it") from error
    before = list(folder.iterdir()) if folder.is_dir() else []
    if (folder.exists() and not folder.is_dir()) or not all(map(_is_ours, before)):
        raise UserError(f"--to {folder}: allowed is a new or an empty folder, or one that this command has written")
    count = 0
    # what was shown from step 0 on is forgotten
    with SummaryWriter(folder, purge_step=0, filename_suffix=OURS) as writer:
        for tag, value, step, time in _figures(paths):
            writer.add_scalar(tag, value, step, walltime=time.timestamp())
            count += 1
    for path in before:
        path.unlink()
    return count


def _is_ours(path: Path) -> bool:
    return path.name.startswith(EVENTS) and path.name.endswith(OURS)


def _figures(paths: RunPaths) -> Iterator[Figure]:
    """What `results` and `updates` have, and the best reward so far."""
    results = sorted(read_table(paths, "results").to_pylist(), key=lambda row: row["trial_id"])
    ended: dict[int, datetime] = {}  # by wave
    best = float("-inf")
    for row in results:
        step, time = row["trial_id"], row["ended_at"]
        ended[row["wave"]] = max(time, ended.get(row["wave"], time))
        yield from _known("trial", OF_TRIALS, row, step, time)
        best = max(best, row["reward"])
        yield "trial/best_reward", best, step, time
    for row in sorted(read_table(paths, "updates").to_pylist(), key=lambda row: row["update"]):
        if row["wave"] in ended:
            yield from _known("update", OF_UPDATES, row, row["update"], ended[row["wave"]])


def _known(kind: str, names: tuple[str, ...], row: Row, step: int, time: datetime) -> Iterator[Figure]:
    for name in names:
        if row[name] is not None:
            yield f"{kind}/{name}", row[name], step, time
