import json
from pathlib import Path
from typing import Any

import pytest

from bench.__main__ import PARTS, main, tables
from bench.machine import commit, describe, machine
from bench.summary import absent, finding, headline, number, table, true_or_not


def test_a_goal_is_for_the_ratio_or_else_for_the_median() -> None:
    slow = finding("ours", [2.0, 9.0, 3.0], "ms", ratio=1.5, peer="the time of theirs", at_most=1.25)
    assert (slow["median"], slow["min"], slow["max"], slow["met"]) == (3.0, 2.0, 9.0, False)
    assert finding("ours", [3.0], "ms", ratio=1.25, at_most=1.25)["met"] is True
    assert finding("help", [0.4, 0.6, 0.45], "s", at_most=0.5)["met"] is True
    assert finding("share", [94.9], "%", at_least=95.0)["met"] is False
    assert finding("share", [94.9], "%")["met"] is None
    rows = table([slow, finding("help", [0.4], "s", at_most=0.5), absent("peer", "no\nnetwork")]).splitlines()[2:]
    assert rows == [
        "| ours | 3 ms (2 to 9) | 1.5× the time of theirs | at most 1.25× | NO |",
        "| help | 0.4 s |  | at most 0.5 s | yes |",
        "| peer | absent: no network |  |  |  |",
    ]


@pytest.mark.parametrize(
    ("value", "text"),
    [(12_800.4, "12,800"), (35.0, "35"), (1.26, "1.26"), (0.0004, "0"), (100.0, "100"), (-2.5, "-2.5")],
)
def test_numbers_are_told_with_three_digits(value: float, text: str) -> None:
    assert number(value) == text


def test_missed_goals_and_what_was_not_measured_stand_at_the_top() -> None:
    fast = finding("ours", [2.0], "ms", at_most=3.0)
    slow = finding("late", [9.0], "s", at_most=8.0)
    text = headline(
        {"a": [fast, slow, finding("told", [1.0])], "b": [absent("words", "no data"), true_or_not("same", False)]}
    )
    assert text.startswith("Goals met: 1 of 3.")
    missed, without = text.partition("Not measured:")[::2]
    assert "- a: late: 9 s; goal at most 8 s" in missed and "- b: same: NO; goal yes" in missed and "ours" not in missed
    assert without.strip() == "- b: words: no data"
    assert "missed" not in headline({"a": [fast]})


def canned(part: str, **more: Any) -> dict[str, Any]:
    place = {
        "date": "2026-01-02", "commit": "abc1234", "processor": "Some CPU", "cores": 2, "memory_gib": 24, "gpu": None,
        "instructions": ["avx2", "amx_bf16"], "python": "3.11.0", "torch": "2.14",
    }  # fmt: skip
    return {"part": part, "minutes": 1.5, "summary": [finding("x", [1.0], "s", at_most=0.5)]} | place | more


def test_tables_tell_where_and_when_before_all_else(tmp_path: Path) -> None:
    for part in ("start_up", "controller", "scale"):
        (tmp_path / f"{part}.json").write_text(json.dumps(canned(part)))
    (tmp_path / "pipeline.json").write_text(json.dumps({"part": "pipeline", "minutes": 1.0}))  # of an earlier version
    text = tables(tmp_path)
    first = (
        "2026-01-02, commit abc1234: Some CPU, 2 cores, 24 GiB, bfloat16 (avx2, amx_bf16), no GPU, "
        "Python 3.11.0, torch 2.14."
    )
    assert text.splitlines()[0] == first
    assert "took 3.0 minutes together" in text  # scale is measured alone
    assert text.index("Goals met: 0 of 3.") < text.index("- controller: x: 1 s; goal at most 0.5 s") < text.index("## ")
    assert [line[3:] for line in text.splitlines() if line.startswith("## ")] == ["start_up", "controller", "scale"]
    (tmp_path / "scale.json").write_text(json.dumps(canned("scale", processor="Other CPU", instructions=[])))
    lines = tables(tmp_path).splitlines()
    assert lines[0].startswith("- start_up, controller: 2026-01-02") and "no bfloat16 (no vectors)" in lines[1]


def test_this_machine_is_described() -> None:
    here = machine()
    assert here["memory_gib"] > 0 and commit() in describe(here) and f"{here['cores']} cores" in describe(here)


def test_a_part_that_takes_longer_than_it_may_misses_a_goal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(PARTS["start_up"].module, "measure", lambda: machine() | {"summary": []})
    monkeypatch.setitem(PARTS, "start_up", type(PARTS["start_up"])(PARTS["start_up"].module, minutes=-1.0))
    assert main(["start_up", "--output", str(tmp_path)]) == 0
    assert "- start_up: time that this part took" in (tmp_path / "tables.md").read_text()
    assert "Goals met: 0 of 1." in capsys.readouterr().out


def test_all_parts_together_fit_into_25_minutes() -> None:
    assert sum(part.minutes for part in PARTS.values() if not part.alone) <= 25
    assert PARTS["scale"].alone
