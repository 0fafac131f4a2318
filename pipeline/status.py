"""How far a run is, from its folder alone."""

from pathlib import Path

from pipeline.checkpoints import samples_committed
from pipeline.configuration import Configuration
from pipeline.progress import format_reward
from pipeline.run_folder import is_running, open_run, resume_command
from pipeline.run_paths import RunPaths
from pipeline.summary import metric_text, summarise
from pipeline.tables import read_table


def status_text(folder: Path) -> str:
    """A few lines for a person."""
    paths, configuration = open_run(folder)
    searches = [(paths, configuration)]
    lines = [f"{folder}: experiment {configuration.experiment}", *_search_lines(paths, configuration)]
    if paths.control.config.exists():
        searches.append(open_run(paths.control.folder))
        lines += ["control:", *_search_lines(*searches[-1])]
    finished = len(searches) > (configuration.search.control is not None) and all(
        samples_committed(search_paths) >= settings.search.samples for search_paths, settings in searches
    )
    if is_running(paths):
        lines.append("A driver is at work on it.")
    elif finished:
        lines.append(f"Finished; see {paths.report}")
    else:
        lines.append(f"No driver is at work on it. Go on with: {resume_command(folder)}")
    return "\n".join(lines)


def _search_lines(paths: RunPaths, configuration: Configuration) -> list[str]:
    search = summarise(paths)
    waves = read_table(paths, "updates", ["update"]).num_rows
    done = f"{search.num_trials} of {configuration.search.samples} children in {waves} waves"
    lines = [f"  {configuration.search.policy}: {done}, {search.num_failed} failed"]
    if search.ranked:
        best = search.ranked[0]
        metric = metric_text(configuration, best)
        lines.append(f"  best: trial {best['trial_id']}, {metric}, reward {format_reward(best['reward'])}")
    return lines
