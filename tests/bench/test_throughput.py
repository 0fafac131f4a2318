import re

import pytest

from bench import throughput
from bench.summary import Finding


@pytest.mark.slow
def test_a_search_and_a_plain_loop_train_the_same_children() -> None:
    measured = throughput.measure(children=6, experiments={"digits": ""}, repeats=1)
    same = [row for row in measured["summary"] if "holds" in row]
    assert [(row["met"], re.findall(r"all \d runs", row["what"])) for row in same] == [
        (True, ["all 2 runs"]), (True, ["all 4 runs"]), (True, ["all 2 runs"]),
    ]  # fmt: skip
    assert [len(case["pairs"]) for case in measured["cases"]] == [2, 0, 0], "with one worker, but for the first four"


def test_a_search_is_held_against_a_loop_that_waits_as_it_does() -> None:
    waiting, free = throughput.LOOPS["waves"], throughput.LOOPS["async"]
    shares = {"ours": [0.9, 0.94], waiting: [0.9], free: [0.98]}
    case = {"experiment": "ptb_small", "shares": shares, "equal": True, "runs": 6, "pairs": []}
    ours = {"ours": [8.0, 8.2]}
    in_waves = case | {"mode": "waves", "workers": 2, "seconds": ours | {waiting: [8.0, 8.4]}}
    slower = case | {"mode": "async", "workers": 1, "seconds": ours | {free: [7.8, 8.0]}}
    rows = throughput.summary({"children": 12, "cases": [in_waves, slower]})
    loop, ours, _, share, _, _, behind, *_ = rows
    assert share["median"] == 92 and "ours: time spent on children" in share["what"]
    assert loop["median"] == pytest.approx(3600 * 8 / 8.195, rel=1e-3)
    assert ours["ratio"] == pytest.approx(1.012, abs=1e-3) and ours["met"] and "waits for each wave" in ours["peer"]
    assert ours["goal"] == "at least 0.976×" and "in waves, 2 workers: ours" in ours["what"]
    assert behind["ratio"] == pytest.approx(0.975, abs=1e-3) and not behind["met"]
    assert behind["goal"] == "at least 0.987×" and "asynchronous, 1 worker: ours" in behind["what"]


def test_children_are_slower_on_workers_where_pairs_of_them_agree_so_far() -> None:
    case = {"experiment": "ptb_small", "mode": "waves", "workers": 1, "equal": True, "runs": 2}
    both = {"ours": [8.0], throughput.LOOPS["waves"]: [8.0]}

    def told(*pairs: tuple[float, float]) -> Finding:
        cases = [case | {"seconds": both, "shares": both, "pairs": pairs}]
        return throughput.summary({"children": 12, "cases": cases})[-1]

    slower = told((1.0, 0.9), (2.0, 1.78), (1.0, 0.91))
    assert slower["ratio"] == pytest.approx(0.9, abs=0.01) and slower["goal"] == "at least 0.987×" and not slower["met"]
    assert told((1.0, 0.7), (2.0, 2.5), (1.0, 0.91))["met"], "0.93 times as fast, between pairs that differ by half"
    assert slower["what"] == "ptb_small: a child on a worker" and slower["median"] == 1.0
