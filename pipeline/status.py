"""How far a run is, from its folder alone."""

from pathlib import Path

from pipeline.configuration import Configuration
from pipeline.run_folder import is_running, open_run
from pipeline.run_paths import RunPaths
from pipeline.summary import metric_text, summarise
from pipeline.tables import read_table


def status_text(folder: Path) -> str:
    """A few lines for a person."""
    paths, configuration = open_run(folder)
    lines = [f"{folder}: experiment {configuration.experiment}", *_search_lines(paths, configuration)]
    if paths.control.config.exists():
        lines += ["control:", *_search_lines(*open_run(paths.control.folder))]
    if is_running(paths):
        lines.append("A driver is at work on it.")
    elif any("to go" in line for line in lines):
        lines.append(f"No driver is at work on it. Go on with: wavenas resume {folder}")
    else:
        lines.append(f"Finished; see {paths.report}")
    return "\n".join(lines)


def _search_lines(paths: RunPaths, configuration: Configuration) -> list[str]:
    search = summarise(paths)
    total = configuration.search.samples
    waves = read_table(paths, "updates", ["update"]).num_rows
    done = f"{search.num_trials} of {total} children in {waves} waves, {search.num_failed} failed"
    to_go = f", {total - search.num_trials} to go" if search.num_trials < total else ""
    lines = [f"  {configuration.search.policy}: {done}{to_go}"]
    if search.ranked:
        best = search.ranked[0]
        lines.append(
            f"  best: trial {best['trial_id']}, {metric_text(configuration, best)}, reward {best['reward']:.4f}"
        )
    return lines
