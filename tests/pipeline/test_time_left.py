"""The estimate of the time left, on clusters whose future is known."""

import cProfile
import heapq
import random
from collections import Counter
from collections.abc import Callable, Sequence

import pytest

from pipeline.time_left import Child, ToCome, seconds_left, workers_at_work

BEGUN = 1_000.0
Run = list[tuple[float, float, str, int]]  # start, end, worker, trial


def run_on(durations: Sequence[float], workers: int, wave: int | None, gap: float) -> Run:
    """A cluster that takes the children in order, each worker the next one when it is free, wave after wave or not."""
    free = [(0.0, f"worker-{number}") for number in range(workers)]
    run: Run = []
    barrier = 0.0
    for trial, seconds in enumerate(durations):
        if wave and trial % wave == 0:
            barrier = max((end for _, end, _, _ in run), default=0.0)
        ready, worker = heapq.heappop(free)
        start = max(ready, barrier) + gap
        heapq.heappush(free, (start + seconds, worker))
        run.append((start, start + seconds, worker, trial))
    return run


def estimate(
    share: float, durations: Sequence[float], control: Sequence[float], workers: int, wave: int | None,
    depth: Callable[[int], int] = lambda _: 4, flops: Sequence[float] = (), expected: dict[int, float] | None = None,
    gap: float = 0.0,
) -> float:  # fmt: skip
    """The estimate over the truth, once a share of the whole run has passed."""
    run = run_on(durations, workers, wave, gap)
    end = max(end for _, end, _, _ in run)
    total = end + max((end for _, end, _, _ in run_on(control, workers, wave, gap)), default=0.0)
    now = share * total
    assert now < end, "still in the search"
    ended = sorted((child for child in run if child[1] <= now), key=lambda child: child[1])
    started = [child for child in run if child[0] <= now]
    drawn = (started[-1][3] // wave + 1) * wave if wave else len(started)
    children = [
        Child(depth(trial), at - start, worker, BEGUN + at, trial // (wave or 1), flops[trial] if flops else None)
        for start, at, worker, trial in ended
    ]
    gone = {trial for _, _, _, trial in ended}
    left = Counter(depth(trial) for trial in range(len(durations)) if trial not in gone)
    to_come = ToCome(left, Counter(map(depth, range(len(control)))), wave, expected or {})
    seconds = seconds_left(children, to_come, under_way=drawn - len(ended), since=BEGUN, now=BEGUN + now)
    assert seconds is not None
    return seconds / (total - now)


@pytest.mark.parametrize("wave", [8, None])
@pytest.mark.parametrize("workers", [2, 8])
@pytest.mark.parametrize("share", [0.1, 0.25, 0.45])
def test_a_search_and_its_control(wave: int | None, workers: int, share: float) -> None:
    chance = random.Random(1)
    durations, control = ([chance.lognormvariate(1, 0.3) for _ in range(400)] for _ in range(2))
    assert 0.8 < estimate(share, durations, control, workers, wave, gap=0.2) < 1.2


def deep_search(chance: random.Random) -> tuple[list[float], list[float], dict[int, float], Callable[[int], int]]:
    """1,280 children of 6 to 20 layers, whose FLOPs grow with the square; durations, FLOPs, FLOPs by depth, depth."""

    def depth(trial: int) -> int:
        return 6 + 2 * (trial // 160)

    expected = {layers: 1e6 * layers**2 for layers in range(6, 21, 2)}
    flops = [expected[depth(trial)] * chance.uniform(0.5, 1.5) for trial in range(1_280)]
    durations = [(10 * depth(n) + 2e-6 * size) * chance.uniform(0.9, 1.1) for n, size in enumerate(flops)]
    return durations, flops, expected, depth


@pytest.mark.parametrize("wave", [80, None])
@pytest.mark.parametrize("share", [0.1, 0.3])
def test_networks_that_grow_deeper(wave: int | None, share: float) -> None:
    durations, flops, expected, depth = deep_search(random.Random(2))
    assert 0.8 < estimate(share, durations, (), 80, wave, depth, flops, expected) < 1.2
    assert 0.8 < estimate(share, durations, durations, 20, wave, depth, flops, expected) < 1.2


def test_the_first_child_of_a_worker_tells_little() -> None:
    durations = [9.0, 9.0, *[1.0] * 98]
    assert 0.8 < estimate(0.25, durations, (), 2, 4) < 1.2


@pytest.mark.parametrize("share", [tenth / 10 for tenth in range(1, 10)])
def test_a_long_tail_is_told_from_a_tenth_to_the_end(share: float) -> None:
    chance = random.Random(1)
    durations = [chance.choice((1.0, 1.0, 1.0, 30.0)) for _ in range(1_600)]
    assert 0.8 < estimate(share, durations, (), 8, 8) < 1.2


def test_a_tail_of_long_children_is_not_forgotten() -> None:
    chance = random.Random(3)
    durations = [chance.choice((1.0, 1.0, 1.0, 30.0)) for _ in range(200)]
    assert 0.7 < estimate(0.1, durations, (), 8, None) < 1.3


def test_nothing_is_known_before_a_child_has_ended_under_this_driver() -> None:
    to_come = ToCome({4: 10}, {})
    assert seconds_left([], to_come, under_way=4, since=BEGUN, now=BEGUN + 5) is None
    earlier = [Child(4, 10.0, "old", BEGUN - 100)]
    assert seconds_left(earlier, to_come, under_way=4, since=BEGUN, now=BEGUN + 5) is None


def test_time_that_a_run_lay_still_does_not_count() -> None:
    """Half was trained a day ago by one worker; now there are two."""
    day = 86_400.0
    old = [Child(4, 10.0, "old", BEGUN - day + 10 * number, number) for number in range(50)]
    new = [Child(4, 10.0, f"new-{n % 2}", BEGUN + 10 * (1 + n // 2), 50 + n) for n in range(10)]
    seconds = seconds_left([*old, *new], ToCome({4: 40}, {}), under_way=2, since=BEGUN, now=BEGUN + 50)
    assert seconds == pytest.approx(200, rel=0.1)


def test_workers_that_have_gone_are_not_counted() -> None:
    children = [Child(4, 10.0, f"worker-{n}", BEGUN + n) for n in range(3)] + [Child(4, 10.0, "worker-0", BEGUN + 40)]
    assert workers_at_work(children, BEGUN + 5) == 3 and workers_at_work(children, BEGUN + 45) == 1


def test_the_cost_of_an_estimate_grows_with_the_children_and_no_faster() -> None:
    def calls(number: int) -> int:
        children = [Child(4, 30.0 + n % 7, f"worker-{n % 80}", BEGUN + n, n // 80, 1e6) for n in range(number)]
        profile = cProfile.Profile()
        to_come = ToCome({4: 80}, {}, 80)
        profile.runcall(seconds_left, children, to_come, under_way=80, since=BEGUN, now=BEGUN + number)
        return sum(entry.callcount for entry in profile.getstats())

    assert calls(8_000) < 6 * calls(2_000)


@pytest.mark.parametrize("status", ["failed", "ok"])
def test_depths_whose_flops_nobody_knows_are_estimated_too(status: str) -> None:
    """A space that is not imported tells no FLOPs of children to come; those that ended took as long as theirs tell."""
    children = [
        Child(6, 10.0 + number % 3, f"worker-{number % 4}", BEGUN + 3 * number, number, 1e6 * (10.0 + number % 3))
        for number in range(40)
    ]
    ended = [*children, Child(8, 12.0, "worker-0", BEGUN + 121, 40, None, status)]
    for known in (children, ended):
        to_come = ToCome({8: 100}, {}, None, {})
        left = seconds_left(known, to_come, under_way=4, since=BEGUN, now=BEGUN + 122)
        assert left is not None and 0.7 < left / (100 * 11 / 4) < 1.5
