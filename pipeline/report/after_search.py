"""Sections on what came after a search: final stage, control experiments, transfer to translation."""

from collections.abc import Iterator

from pipeline.ablation_summary import compared_variants, difference_text, perturbed_text
from pipeline.configuration import Configuration
from pipeline.report import page as html
from pipeline.rows import Row
from pipeline.run_paths import RunPaths
from pipeline.summary import metric_text
from pipeline.tables import read_table
from tasks.settings import LANGUAGE_TASK

SHOWN = 8  # trainings of the grid, or variants
IN_WORDS = {"grid": "grid of hyperparameters", "long": "until convergence", "test": "test split"}
STAGES = {
    "final": "final stage",
    "ablations": "control experiments",
    "transfer_characters": "transfer to characters",
    "transfer_translation": "transfer to translation",
}


def trainings_of(paths: RunPaths, table: str) -> list[Row]:
    """The rows of a stage that are trainings: all but that of the test."""
    return [row for row in read_table(paths, table).to_pylist() if row.get("step") != "test"]


def stage_sections(paths: RunPaths, configuration: Configuration) -> Iterator[tuple[str, str]]:
    """(heading, HTML) for each stage that has rows."""
    if rows := read_table(paths, "final").to_pylist():
        yield "The final stage", _final(configuration, rows)
    if rows := read_table(paths, "ablations").to_pylist():
        yield "Control experiments on the network found", _ablations(configuration, rows)
    if rows := read_table(paths, "transfer_translation").to_pylist():
        yield "Transfer to translation", _translation(rows)


def _final(configuration: Configuration, rows: list[Row]) -> str:
    ranked = sorted(
        (row for row in rows if row["status"] == "ok" and row["step"] != "test"), key=lambda row: -row["reward"]
    )
    shown = [
        (IN_WORDS[step], row["name"], f"{row['parameters']:,}", metric_text(configuration, row))
        for step in ("long", "grid")
        for row in [row for row in ranked if row["step"] == step][:SHOWN]
    ]
    tests = [row for row in rows if row["step"] == "test" and row["test_metric"] is not None]
    tested = [
        (IN_WORDS["test"], f"training {row['tested']}", f"{row['parameters']:,}", _test_text(configuration, row))
        for row in tests
    ]
    more = len(ranked) - len(shown)
    words = f"The best of the grid was trained until convergence, and the best of those tested once.{_left_out(more)}"
    return html.paragraph(words) + html.html_table(("step", "training", "parameters", "result"), shown, tested)


def _left_out(count: int) -> str:
    return f" {count} trainings of the grid that did worse are in table final alone." if count > 0 else ""


def _test_text(configuration: Configuration, row: Row) -> str:
    metric = row["test_metric"]
    if configuration.child.task == LANGUAGE_TASK:
        return f"test perplexity {metric:.2f}"
    return f"test accuracy {metric:.2%}"


def _ablations(configuration: Configuration, rows: list[Row]) -> str:
    found, *variants = compared_variants(configuration, rows)
    known = [(v.kind == "perturbed", -v.better_by, v) for v in variants if v.better_by is not None]
    ranked = sorted(known, key=lambda told: told[:2])  # rewired ones first, then the best
    lines = [(v.name, v.mean, difference_text(-worse_by)) for _, worse_by, v in ranked[:SHOWN]]
    left_out = len(variants) - len(lines)
    words = (
        "The network found was trained anew, from the same seeds as its variants, since the best of a search owes some"
        " of its reward to chance."
    )
    more = f" {left_out} variants that did worse or did not end well are in table ablations alone." if left_out else ""
    names = ("network", "mean validation metric", "against the network found")
    table = html.html_table(names, [(found.name, found.mean, ""), *lines])
    return html.paragraph(words + more) + table + "".join(map(html.paragraph, perturbed_text(variants)))


def _translation(rows: list[Row]) -> str:
    lines = [
        (
            row["languages"],
            row["cell"],
            f"{row['parameters']:,}",
            _bleu(row["validation_bleu"]),
            _bleu(row["test_bleu"]),
        )
        for row in rows
        if row["status"] == "ok"
    ]
    return html.html_table(("languages", "cell", "parameters", "validation BLEU", "test BLEU"), lines)


def _bleu(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}"
