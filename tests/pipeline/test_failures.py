"""When a search stops, and what it says."""

import pytest

from pipeline.failures import FailureWatch, SearchStopped
from pipeline.rows import Row


def rows(first: int, *statuses: str) -> list[Row]:
    return [{"trial_id": first + index, "status": status, "error": _error(status, first + index)}
            for index, status in enumerate(statuses)]  # fmt: skip


def _error(status: str, trial_id: int) -> str | None:
    return f"Traceback\n  line\nOSError: no file {trial_id}\n" if status == "failed" else None


def test_it_looks_back_at_a_wave_and_at_8_children_at_least() -> None:
    watch = FailureWatch(0.5, wave_size=2, workers=100)
    watch.take(rows(0, *["failed"] * 7))
    with pytest.raises(SearchStopped, match=r"^8 of the last 8 children failed"):
        watch.take(rows(7, "failed"))
    watch = FailureWatch(0.5, wave_size=10, workers=100)
    watch.take(rows(0, *["failed"] * 9))
    with pytest.raises(SearchStopped, match=r"^9 of the last 10 children failed"):
        watch.take(rows(9, "ok"))


def test_outcomes_are_no_failures_and_half_of_them_may_fail() -> None:
    watch = FailureWatch(0.5, wave_size=8, workers=100)
    watch.take(rows(0, "diverged", "too_large", "ok", "diverged", "failed", "timed_out", "invalid", "lost_worker"))
    with pytest.raises(SearchStopped, match=r"^5 of the last 8 children failed"):
        watch.take(rows(8, "out_of_memory"))


def test_the_commonest_reason_comes_with_an_example_and_advice() -> None:
    watch = FailureWatch(0.25, wave_size=8, workers=100)
    with pytest.raises(SearchStopped) as stopped:
        watch.take(rows(20, "ok", "timed_out", "failed", "failed", "failed", "ok", "ok", "ok"))
    message = str(stopped.value)
    assert "4 of the last 8 children failed; allowed is a share of search.max_failed_share = 0.25" in message
    assert "3 of them: failed: OSError: no file 22" in message, "reasons that differ in numbers alone are one"
    assert "trial 22" in message and "`wavenas doctor`" in message


def test_a_share_of_1_never_stops() -> None:
    watch = FailureWatch(1.0, wave_size=8, workers=100)
    watch.take(rows(0, *["failed"] * 1_000))


def test_of_a_wave_of_hundreds_the_first_are_enough_where_all_fail_alike() -> None:
    watch = FailureWatch(0.5, wave_size=800, workers=5)
    watch.take([])
    watch.take(rows(0, *["failed"] * 19))
    with pytest.raises(SearchStopped, match=r"(?s)^All of the first 20 children failed alike.*20 of them: failed: OSE"):
        watch.take(rows(19, "failed"))
    watch = FailureWatch(0.5, wave_size=800, workers=1)
    with pytest.raises(SearchStopped, match=r"(?s)^All of the first 8 children failed alike.*timeout_minutes"):
        watch.take(rows(0, *["timed_out"] * 8))


@pytest.mark.parametrize("other", ["ok", "diverged", "too_large", "timed_out"])
@pytest.mark.parametrize("place", [0, 10, 18])
def test_one_that_ends_otherwise_has_a_wave_waited_for(other: str, place: int) -> None:
    watch = FailureWatch(0.5, wave_size=800, workers=5)
    statuses = ["failed"] * 799
    statuses[place] = other
    for trial, status in enumerate(statuses):
        watch.take(rows(trial, status))
    with pytest.raises(SearchStopped, match=r" of the last 800 children failed"):
        watch.take(rows(799, "failed"))
