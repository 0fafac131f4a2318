"""What a part found: rows of medians with their spread, what they are held against, and whether goals are met."""

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

Finding = dict[str, Any]


def finding(
    what: str,
    values: Sequence[float],
    unit: str = "",
    *,
    ratio: float | None = None,
    peer: str = "",
    at_most: float | None = None,
    at_least: float | None = None,
) -> Finding:
    """A row: repeats of one thing in a unit. A goal is for the ratio, where there is one, else for the median.

    `peer` says what the ratio is one of, "the time of plain code".
    """
    median = statistics.median(values)
    held, suffix = (median, f" {unit}".rstrip()) if ratio is None else (ratio, "×")
    goal, met = None, None
    if at_most is not None:
        goal, met = f"at most {number(at_most)}{suffix}", held <= at_most
    elif at_least is not None:
        goal, met = f"at least {number(at_least)}{suffix}", held >= at_least
    return {
        "what": what, "unit": unit, "median": median, "min": min(values), "max": max(values), "repeats": len(values),
        "ratio": ratio, "peer": peer, "goal": goal, "met": met,
    }  # fmt: skip


def true_or_not(what: str, holds: bool) -> Finding:
    """A row of something that is to hold, without a measure."""
    return {"what": what, "holds": "yes" if holds else "NO", "goal": "yes", "met": holds}


def absent(what: str, reason: str) -> Finding:
    """A row of something that was not measured."""
    return {"what": what, "absent": " ".join(reason.split())}


def table(findings: Sequence[Finding]) -> str:
    """Markdown."""
    lines = ["| what | median (least to most) | against | goal | met |", "|---|---|---|---|---|"]
    for row in findings:
        met = {True: "yes", False: "NO", None: ""}[row.get("met")]
        lines.append(f"| {row['what']} | {_measure(row)} | {_against(row)} | {row.get('goal') or ''} | {met} |")
    return "\n".join(lines)


def headline(summaries: Mapping[str, Sequence[Finding]]) -> str:
    """Markdown: the goals that parts miss, and what was not measured."""
    rows = [(part, row) for part, findings in summaries.items() for row in findings]
    missed = [
        f"- {part}: {row['what']}: {_told(row)}; goal {row['goal']}" for part, row in rows if row.get("met") is False
    ]
    without = [f"- {part}: {row['what']}: {row['absent']}" for part, row in rows if "absent" in row]
    goals = sum(row.get("met") is not None for _, row in rows)
    text = f"Goals met: {goals - len(missed)} of {goals}."
    text += "\n\nGoals missed:\n\n" + "\n".join(missed) if missed else ""
    return text + ("\n\nNot measured:\n\n" + "\n".join(without) if without else "")


def number(value: float) -> str:
    """With three digits, or all of those before the point."""
    digits = next((digits for digits, least in enumerate((100, 10, 1)) if abs(value) >= least), 3)
    text = f"{value:,.{digits}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def _measure(row: Finding) -> str:
    if "absent" in row:
        return f"absent: {row['absent']}"
    if "holds" in row:
        return str(row["holds"])
    spread = f" ({number(row['min'])} to {number(row['max'])})" if row["repeats"] > 1 else ""
    return f"{number(row['median'])} {row['unit']}".rstrip() + spread


def _against(row: Finding) -> str:
    return "" if row.get("ratio") is None else f"{number(row['ratio'])}× {row['peer']}"


def _told(row: Finding) -> str:
    return _against(row) or _measure(row)
