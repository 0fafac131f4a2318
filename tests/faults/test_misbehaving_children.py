"""Children that raise, hang, die, eat memory, chatter: each has one row, and the search goes on."""

import re
from pathlib import Path

import dask
import pandas as pd
import pytest
from conftest import assert_same_run, search_table, type_in
from distributed.system import MEMORY_LIMIT

EXPECTED = {
    1: ("failed", 2), 3: ("timed_out", 1), 5: ("lost_worker", 2), 9: ("timed_out", 1), 11: ("lost_worker", 2),
    13: ("out_of_memory", 2), 17: ("failed", 2), 18: ("ok", 1), 19: ("ok", 2), 20: ("diverged", 1),
}  # fmt: skip
ENDED_AT = 1.5e9  # bytes of a worker's memory at which Dask ends it here


@pytest.fixture(autouse=True)
def found_by_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent))


def settings(task: str, **more: object) -> list[str]:
    sets = {
        "child.task": f"misbehaving_tasks:{task}",
        **{name.replace("__", "."): value for name, value in more.items()},
    }
    return [part for name, value in sets.items() for part in ("--set", f"{name}={value}")]


def full_table(folder: Path) -> Path:
    """Twelve networks, each with a row."""
    rows = [{"width": width, "kind": kind, "skip": False, "accuracy": 0.2 * width + 0.05 * "abc".index(kind)}
            for width in range(1, 5) for kind in "abc"]  # fmt: skip
    pd.DataFrame(rows).to_parquet(folder / "full.parquet")
    return folder / "full.parquet"


def results_of(folder: Path) -> pd.DataFrame:
    return pd.read_parquet(folder / "results").set_index("trial_id").sort_index()


@pytest.mark.faults
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("mode", ["waves", "async"])
def test_each_has_its_row_and_the_search_goes_on(mode: str, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    sets = settings(
        "misbehave", cluster__processes="true", cluster__workers=2, cluster__allowed_failures=1, search__mode=mode,
        search__replicas=2, search__children_per_replica=4, search__max_failed_share=1,
        child__timeout_minutes=0.3, child__grace_minutes=0.3,  # a child on a new worker waits for torch to be there
    )  # fmt: skip
    with dask.config.set({"distributed.worker.memory.terminate": ENDED_AT / (MEMORY_LIMIT // 2)}):
        search_table(full_table(tmp_path), folder, *sets, "--samples", "24")
    results = results_of(folder)
    assert results.index.tolist() == list(range(24))
    for trial, (status, attempts) in EXPECTED.items():  # a result that was lost with its worker is an attempt more
        assert results.status[trial] == status and results.attempts[trial] >= attempts, results.loc[trial]
    others = results.drop(list(EXPECTED))
    assert (others.status == "ok").all(), others.error[others.status != "ok"].to_dict()
    assert results.error[1].count("RuntimeError: a bug") == 2 and results.error[1].startswith("attempt 1 on ")
    assert "its worker died 2 times" in results.error[5] and "attempt 1 on " in results.error[5]
    assert "GiB of memory" in results.error[13] and "child.timeout_minutes = 0.3" in results.error[9]
    assert re.search("away for a moment|its result went with the worker", results.error[19])
    assert pd.read_parquet(folder / "updates").num_failed.sum() == 7


@pytest.mark.faults
def test_what_children_print_goes_to_a_file_of_their_worker(tmp_path: Path) -> None:
    sets = settings("chatter", cluster__processes="true", cluster__workers=1)
    table = full_table(tmp_path)
    for folder in (tmp_path / "run", tmp_path / "another"):  # by one driver, as a comparison does
        output = search_table(table, folder, *sets, "--samples", "2")
        assert "chatter" not in output
        printed = (folder / "workers" / "worker-0.log").read_bytes()
        assert printed.count(b"chatter") == 2 * 500_000 and printed.count(b"and to the other stream") == 2


@pytest.mark.faults
def test_a_child_that_only_waited_while_another_died_is_not_lost(tmp_path: Path) -> None:
    sets = settings(
        "leave_unless_second", cluster__processes="true", cluster__workers=1, cluster__allowed_failures=0,
        search__replicas=1, search__children_per_replica=2,
    )  # fmt: skip
    search_table(full_table(tmp_path), tmp_path / "run", *sets, "--samples", "2")
    results = results_of(tmp_path / "run")
    assert results.status.tolist() == ["lost_worker", "ok"] and results.attempts.tolist() == [1, 1]


@pytest.mark.faults
def test_a_child_in_a_thread_that_hangs_is_given_up_while_others_go_on(tmp_path: Path) -> None:
    sets = settings("first_sleeps", cluster__workers=2, child__timeout_minutes=0.01, child__grace_minutes=0.01)
    search_table(full_table(tmp_path), tmp_path / "run", *sets, "--samples", "24")
    results = results_of(tmp_path / "run")
    assert results.status.tolist() == ["timed_out"] + ["ok"] * 23


@pytest.mark.parametrize("mode", ["waves", "async"])
def test_a_second_attempt_goes_to_another_worker(mode: str, tmp_path: Path) -> None:
    table = full_table(tmp_path)
    sets = ["--set", f"search.mode={mode}", "--set", "search.replicas=1", "--samples", "32"]
    search_table(table, tmp_path / "run", *sets, "--set", "cluster.workers=3", *settings("fail_on_the_first_worker"))
    results = results_of(tmp_path / "run")
    assert (results.status == "ok").all()
    assert set(results.attempts) == {1, 2}, "no child began on worker 0: the test shows nothing"
    again = results.error[results.attempts == 2]
    assert again.str.startswith("attempt 1 on ").all() and again.str.contains("worker 0 computes nothing").all()
    search_table(table, tmp_path / "reference", *sets)
    assert_same_run(tmp_path / "run", tmp_path / "reference")


@pytest.mark.parametrize("mode", ["waves", "async"])
def test_a_search_whose_children_fail_stops_and_goes_on_once_mended(
    mode: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mended, folder, table = tmp_path / "mended", tmp_path / "run", full_table(tmp_path)
    monkeypatch.setenv("WAVENAS_TEST_MENDED", str(mended))
    sets = ["--set", f"search.mode={mode}", "--set", "search.replicas=2", "--samples", "32"]
    output = search_table(table, folder, *sets, *settings("fail_until_mended"), expected=1)
    assert "16 of the last 16 children failed; allowed is a share of search.max_failed_share = 0.5" in output
    assert "16 of them: failed: OSError: no library number " in output and "go on with: " in output
    page = (folder / "report" / "report.html").read_text()
    assert "run/report/report.html" in output and "16 children ended, none of them well" in page
    assert "OSError: no library number" in page and "What the workers did" in page
    before = results_of(folder)
    assert (before.status == "failed").all() and len(before) >= 16 and (before.attempts == 2).all()
    closed = pd.read_parquet(folder / "updates")
    assert not closed.num_ok.sum() and len(closed) < (1 if mode == "waves" else 2), "failures moved the policy"
    mended.touch()
    type_in("resume", folder)
    assert results_of(folder).status.tolist().count("ok") == 32 - 8 * len(closed), "a replica's that was over stays"
    if mode == "waves":  # the order in which replicas end is chance
        search_table(table, tmp_path / "reference", *sets)
        assert_same_run(folder, tmp_path / "reference")


@pytest.mark.parametrize("mode", ["waves", pytest.param("async", marks=pytest.mark.faults)])
def test_a_wave_of_hundreds_that_all_fail_is_not_waited_for(
    mode: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, mended = tmp_path / "run", tmp_path / "mended"
    monkeypatch.setenv("WAVENAS_TEST_MENDED", str(mended))
    large = ["--set", f"search.mode={mode}", "--set", "search.replicas=100", "--samples", "800"]
    sets = settings("fail_slowly_until_mended", cluster__workers=2, search__children_per_replica=8)
    output = search_table(full_table(tmp_path), folder, *large, *sets, expected=1)
    assert " children failed alike; no others are waited for" in output
    assert "of them: failed: OSError: no library number " in output and "go on with: " in output
    ended = results_of(folder)
    assert 8 <= len(ended) < 100 and (ended.status == "failed").all()
    mended.touch()
    type_in("resume", folder)
    again = results_of(folder).status.tolist()
    assert again == ["ok"] * 800 if mode == "waves" else again.count("ok") > 750  # a minibatch may have been over
