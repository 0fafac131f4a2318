"""What a run's folder tells of the run, as plain data: for people the commands make tables of it, for machines JSON."""

import json
from pathlib import Path
from typing import Any

from pipeline.configuration import Configuration, flat, to_dict
from pipeline.errors import UserError
from pipeline.foreign_code import without_foreign_code
from pipeline.progress import format_reward, format_seconds
from pipeline.rows import Row
from pipeline.run_commands import resume_command
from pipeline.run_folder import open_run
from pipeline.run_paths import RunPaths
from pipeline.run_state import RunState, SearchProgress, run_state
from pipeline.summary import architecture_of, describe_architecture, metric_text, summarise
from pipeline.tables import read_table


def status_of(folder: Path) -> dict[str, Any]:
    """How far a run is."""
    state = run_state(folder)
    return {
        "run": str(folder),
        "experiment": state.configuration.experiment,
        "state": state.state,
        "driver": state.owner,
        "seconds_left": state.seconds_left,
        "searches": [_search(search) for search in state.searches],
    }


def _search(search: SearchProgress) -> dict[str, Any]:
    last = search.updates[-1] if search.updates else {}
    ranked = summarise(search.paths).ranked
    return {
        "policy": search.policy,
        "children": search.configuration.search.samples,
        "drawn": search.drawn,
        "ended": search.ended,
        "failed": search.num_failed,
        "waves": len(search.updates),
        "statuses": dict(search.statuses),
        "best": best_of(search.configuration, ranked[0]) if ranked else None,
        "mean_reward": sum(search.rewards) / len(search.rewards) if search.rewards else None,
        "baseline": last.get("baseline"),
        "entropy": last.get("entropy"),
    }


def best_of(configuration: Configuration, row: Row) -> dict[str, Any]:
    """A row of a summary, as plain data."""
    names = ("trial_id", "reward", "metric", "parameters", "flops", "seconds", "wave", "depth")
    return {**{name: row[name] for name in names}, "metric_text": metric_text(configuration, row)}


def status_text(folder: Path) -> str:
    """How far a run is, in a few lines for a person."""
    status = status_of(folder)
    lines = [f"{folder}: experiment {status['experiment']}"]
    for number, search in enumerate(status["searches"]):
        lines += ["control:"] * (number > 0) + _search_lines(search)
    if status["state"] == "running":
        lines.append(f"A driver is at work on it ({status['driver']}).")
        if status["seconds_left"] is not None:
            lines.append(f"About {format_seconds(status['seconds_left'])} left in all.")
    elif status["state"] == "finished":
        lines.append(f"Finished; see {RunPaths(folder).report}/report.html")
    else:
        lines.append(f"No driver is at work on it. Go on with: {resume_command(folder)}")
    return "\n".join(lines)


def _search_lines(search: dict[str, Any]) -> list[str]:
    done = f"{search['ended']} of {search['children']} children in {search['waves']} waves"
    lines = [f"  {search['policy']}: {done}, {search['failed']} failed"]
    if len(search["statuses"]) > 1:
        lines.append("  " + ", ".join(f"{count} {status}" for status, count in search["statuses"].items()))
    if best := search["best"]:
        lines.append(f"  best: trial {best['trial_id']}, {best['metric_text']}, reward {format_reward(best['reward'])}")
    if search["mean_reward"] is not None:
        entropy = "" if search["entropy"] is None else f", entropy {search['entropy']:.1f} nats"
        figures = {"mean": search["mean_reward"], "baseline": search["baseline"] or 0.0}
        told = ", ".join(f"{name} {format_reward(value, 3)}" for name, value in figures.items())
        lines.append(f"  reward: {told}{entropy}")
    return lines


def top_of(folder: Path, count: int) -> list[dict[str, Any]]:
    """The best trials of a run, each architecture once."""
    paths, configuration = open_run(folder)
    return [best_of(configuration, row) for row in summarise(paths).ranked[:count]]


def trial_of_run(folder: Path, trial_id: int) -> dict[str, Any]:
    """All that the tables hold of one trial. Raises UserError where it was not drawn."""
    paths, configuration = open_run(folder)
    samples = read_table(paths, "samples").to_pylist()
    sample = next((row for row in samples if row["trial_id"] == trial_id), None)
    if sample is None:
        allowed = f"allowed are 0 to {samples[-1]['trial_id']}" if samples else "none was drawn yet"
        raise UserError(f"{folder}: no trial {trial_id}; {allowed}")
    results = read_table(paths, "results").to_pylist()
    result = next((row for row in results if row["trial_id"] == trial_id), None)
    epochs = [row for row in read_table(paths, "epochs").to_pylist() if row["trial_id"] == trial_id]
    return {
        "sample": {**sample, "architecture": json.loads(sample["architecture"])},
        "result": result,
        "epochs": epochs,
        "metric_text": metric_text(configuration, result) if result and result["metric"] is not None else None,
        "description": describe_architecture(architecture_of(without_foreign_code(configuration), sample)),
    }


def figures_of(state: RunState) -> dict[str, Any]:
    """What runs are compared by."""
    first = state.searches[0]
    summary = summarise(first.paths)
    results = read_table(first.paths, "results", ["seconds", "device"]).to_pylist()
    best = summary.ranked[0] if summary.ranked else None
    return {
        "experiment": state.configuration.experiment,
        "policy": first.policy,
        "state": state.state,
        "children": first.ended,
        "failed": first.num_failed,
        "best": metric_text(first.configuration, best) if best else None,
        "best reward": summary.top_mean(1) if best else None,
        "mean of the 5 best": summary.top_mean(5) if best else None,
        "mean of the 15 best": summary.top_mean(15) if best else None,
        "mean of all": sum(summary.rewards) / len(summary.rewards) if summary.rewards else None,
        "mean of the last quarter": summary.last_mean() if best else None,
        "parameters of the best": best["parameters"] if best else None,
        "hours of workers": sum(row["seconds"] for row in results) / 3600,
    }


def differing_settings(configurations: list[Configuration]) -> dict[str, list[Any]]:
    """The settings in which runs differ, by name; None where a run has no such setting."""
    all_settings = [flat(to_dict(configuration)) for configuration in configurations]
    names = sorted({name for settings in all_settings for name in settings})
    values = {name: [settings.get(name) for settings in all_settings] for name in names}
    return {name: row for name, row in values.items() if any(value != row[0] for value in row)}
