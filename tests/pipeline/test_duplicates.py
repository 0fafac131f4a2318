from typing import Any

import pytest

from pipeline.history import History


def sample(trial_id: int, architecture: str) -> dict[str, Any]:
    return {"trial_id": trial_id, "architecture_hash": architecture}


def result(trial_id: int, reward: float, status: str = "ok") -> dict[str, Any]:
    return {"trial_id": trial_id, "reward": reward, "status": status}


SAMPLES = [sample(0, "a"), sample(1, "b"), sample(2, "a"), sample(3, "a"), sample(4, "c")]


def test_the_original_is_the_first_trial_of_an_architecture() -> None:
    history = History()
    history.add_samples(SAMPLES)
    history.add_samples(SAMPLES)  # as after a resumption
    assert [history.original(row) for row in SAMPLES] == [None, None, 0, 0, None]
    assert history.share_of_duplicates(SAMPLES) == pytest.approx(2 / 5)


def test_only_results_that_count_are_reused() -> None:
    history = History()
    history.add_samples(SAMPLES)
    history.add_result(SAMPLES[0], result(0, 0.0, "failed"))
    assert history.reusable(SAMPLES[2]) is None
    history.add_result(SAMPLES[3], result(3, 0.5))
    history.add_result(SAMPLES[2], result(2, 0.0, "diverged"))
    source = history.reusable(SAMPLES[0])
    assert source is not None and source["trial_id"] == 2


def test_the_average_is_over_this_trial_and_those_before_it_whatever_the_order_of_completion() -> None:
    history = History()
    history.add_samples(SAMPLES)
    for number, reward in ((3, 0.9), (0, 0.3), (2, 0.6)):
        history.add_result(SAMPLES[number], result(number, reward))
    assert [history.mean_reward(SAMPLES[number]) for number in (0, 2, 3)] == pytest.approx([0.3, 0.45, 0.6])
