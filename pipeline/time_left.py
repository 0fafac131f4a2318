"""How long a run will still take: the rest of it is played through, with the durations of the children so far."""

import heapq
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from random import Random
from statistics import fmean, median

from pipeline.rows import Row

FEW = 20  # at least so many children are looked at as the first or the recent ones
LONGER = 1.2  # times the longest child: a worker that is silent for longer has gone
PLAYED = 2_000  # children in all that are played through at least, in as many plays as it takes


@dataclass(frozen=True)
class Child:
    """A child that ended: its layers and, where known, FLOPs; seconds on its worker; its end in seconds since 1970."""

    depth: int
    seconds: float
    worker: str
    ended_at: float
    wave: int = 0
    flops: float | None = None
    status: str = "ok"


def child_of(row: Row, depth: int) -> Child:
    """What a row of `results` tells about the time that a child took."""
    ended_at = row["ended_at"]
    seconds = ended_at / 1e6 if isinstance(ended_at, int) else ended_at.timestamp()
    return Child(depth, row["seconds"], row["worker"], seconds, row["wave"], row["flops"], row["status"])


@dataclass(frozen=True)
class ToCome:
    """What has not ended yet: children by depth of the search, and of the control that comes after it.

    `wave` is how many are drawn at once and waited for; None where nothing is waited for. `flops` has those of a
    child drawn by chance at each depth; empty where they are not known, or all depths equal.
    """

    search: Mapping[int, int]
    control: Mapping[int, int]
    wave: int | None = None
    flops: Mapping[int, float] = field(default_factory=dict)


def seconds_left(
    children: Sequence[Child], to_come: ToCome, *, under_way: int, since: float, now: float
) -> float | None:
    """Seconds until the last child ends, or None before any has ended under this driver, which began at `since`.

    Children to come take as long as the recent ones did, and those of the control as long as the first ones, whom a
    policy drew that had learned nothing; deeper ones take longer as their FLOPs and layers tell.
    """
    here = [child for child in children if child.ended_at >= since]
    if not here or not any(child.seconds for child in children):
        return None
    known = _without_first_of_workers(children)
    durations = _Durations(known, to_come.flops)
    recent, first = known[-max(FEW, len(known) // 2) :], known[: max(FEW, len(known) // 4)]
    order, control = _in_order(to_come.search), _in_order(to_come.control)
    longest = durations.longest(order[0], recent) if order else math.inf
    silent = _silent_since(here, longest, now, in_waves=to_come.wave is not None)
    at_work = [now - start for start in silent][: min(under_way, len(order))]
    rests = [durations.rest(depth, done, recent) for depth, done in zip(order, at_work, strict=False)]
    # Those that take long are still at work: without them the others would seem to be all there are.
    slow = [Child(d, done + rest, "", now) for d, done, rest in zip(order, at_work, rests, strict=False)]
    first = [*first, *slow] if len(first) == len(known) else first
    gap, pause = _gap(here), _pause(here)
    as_recent, as_first = durations.apart([*recent, *slow]), durations.apart(first)
    ends = []
    for _ in range(1 + PLAYED // (1 + len(order) + len(control))):
        queue = [*rests, *(gap + seconds for seconds in durations.draw(order[len(rests) :], as_recent))]
        end = _play(queue, len(silent), under_way, to_come.wave, pause)
        after = [gap + seconds for seconds in durations.draw(control, as_first)]
        ends.append(end + _play(after, len(silent), 0, to_come.wave, pause))
    return fmean(ends)


def seconds_of_run(tried: Sequence[Child], to_come: ToCome, workers: int) -> tuple[float, float]:
    """Of a run that has not begun: until its last child ends, and of all children together.

    Each child takes as long as its depth tells by those that were tried.
    """
    durations = _Durations(tried, to_come.flops)
    apart = [(1.0, slowness) for _, slowness in durations.apart(tried)]
    search, control = (durations.draw(_in_order(counts), apart) for counts in (to_come.search, to_come.control))
    end = sum(_play(seconds, workers, 0, to_come.wave, 0.0) for seconds in (search, control))
    return end, math.fsum([*search, *control])


def workers_at_work(children: Sequence[Child], now: float) -> int:
    """Workers that have not been silent for longer than any child took."""
    longest = LONGER * max((child.seconds for child in children), default=0.0)
    return len(_silent_since(children, longest, now, in_waves=False))


def _play(durations: Sequence[float], workers: int, first: int, wave: int | None, pause: float) -> float:
    """When the last child ends, if each worker takes the next one when it is free; `first` belong to the first wave."""
    order = iter(durations)
    end = 0.0
    groups = [list(order)] if wave is None else _groups(order, first, wave)
    for group in groups:
        free = [end] * max(1, workers)
        for seconds in group:
            start = heapq.heappop(free)
            heapq.heappush(free, start + seconds)
            end = max(end, start + seconds)
        end += pause if wave is not None else 0.0
    return end


def _groups(order: Iterator[float], first: int, wave: int) -> Iterator[list[float]]:
    group = list(islice(order, first)) if first else list(islice(order, wave))
    while group:
        yield group
        group = list(islice(order, wave))


def _in_order(counts: Mapping[int, int]) -> list[int]:
    return [depth for depth in sorted(counts) for _ in range(counts[depth])]


class _Durations:
    """Seconds of children: so many a layer and so many a FLOP that fit best, times what sets one apart from others."""

    def __init__(self, children: Sequence[Child], flops: Mapping[int, float]) -> None:
        self._random = Random(0)
        known = [child.flops for child in children if child.flops]
        self._flops, self._usual = flops, fmean(flops.values() or known or [0.0])  # the latter of depths not known
        self._layer, self._flop = _fit(children) if self._usual else (1.0, 0.0)

    def apart(self, children: Sequence[Child]) -> list[tuple[float, float]]:
        """How many times the FLOPs of a child by chance each has, and how many times as long it took as those tell."""
        return [self._apart(child) for child in children]

    def draw(self, depths: Sequence[int], apart: Sequence[tuple[float, float]]) -> list[float]:
        """Seconds of children of some depths, each as far apart from others as one that is drawn by chance."""
        return [self._seconds(depth, *self._random.choice(apart)) for depth in depths]

    def longest(self, depth: int, like: Sequence[Child]) -> float:
        return LONGER * max(self._seconds(depth, *self._apart(child)) for child in like)

    def rest(self, depth: int, done: float, like: Sequence[Child]) -> float:
        """What a child that has run for some time needs still: as much as those needed that took longer than that."""
        sample = like[:: 1 + len(like) // 400]  # every running child asks
        longer = [seconds - done for child in sample if (seconds := self._seconds(depth, *self._apart(child))) > done]
        return fmean(longer) if longer else 0.1 * done

    def _apart(self, child: Child) -> tuple[float, float]:
        usual = self._flops.get(child.depth, self._usual)
        size = child.flops / usual if child.flops and usual else 1.0
        return size, child.seconds / self._seconds(child.depth, size, 1.0)

    def _seconds(self, depth: int, size: float, slowness: float) -> float:
        return (self._layer * depth + self._flop * self._flops.get(depth, self._usual) * size) * slowness


def _fit(children: Sequence[Child]) -> tuple[float, float]:
    """(seconds a layer, seconds a FLOP) by least squares."""
    told = [(c.depth, c.flops, c.seconds) for c in children if c.flops and c.seconds and c.status == "ok"]
    if len(told) < 2:
        return 1.0, 0.0
    dd = fmean(d * d for d, _, _ in told)
    df = fmean(d * f for d, f, _ in told)
    ff = fmean(f * f for _, f, _ in told)
    ds = fmean(d * s for d, _, s in told)
    fs = fmean(f * s for _, f, s in told)
    determinant = dd * ff - df * df
    layer, flop = ds * ff - fs * df, fs * dd - ds * df
    if determinant < 1e-9 * dd * ff or layer <= 0:
        return 0.0, fs / ff
    return (layer / determinant, flop / determinant) if flop > 0 else (ds / dd, 0.0)


def _without_first_of_workers(children: Sequence[Child]) -> list[Child]:
    """All but each worker's first child, which takes longer, as soon as they are as many as the others."""
    seen: set[str] = set()
    later = []
    for child in children:
        if child.worker in seen:
            later.append(child)
        seen.add(child.worker)
    return later if 2 * len(later) >= len(children) else list(children)


def _silent_since(children: Sequence[Child], longest: float, now: float, in_waves: bool) -> list[float]:
    """For each worker when it ended its last child, or when the wave began; the longest silent ones are at work.

    One that is silent for longer than any child takes has gone.
    """
    wave = max((child.wave for child in children), default=0)
    barrier = max((c.ended_at for c in children if in_waves and c.wave < wave), default=0.0)
    ends: dict[str, float] = {}
    for child in children:
        ends[child.worker] = max(child.ended_at, barrier, ends.get(child.worker, 0.0))
    return sorted(end for end in ends.values() if now - end <= longest)


def _gap(children: Sequence[Child]) -> float:
    """Between two children of a wave on one worker, as a rule."""
    last: dict[str, Child] = {}
    gaps = []
    for child in sorted(children, key=lambda child: child.ended_at):
        before = last.get(child.worker)
        if before is not None and before.wave == child.wave:
            gaps.append(child.ended_at - child.seconds - before.ended_at)
        last[child.worker] = child
    return max(0.0, median(gaps)) if gaps else 0.0


def _pause(children: Sequence[Child]) -> float:
    """Between the last end of a wave and the first start of the next, as a rule."""
    starts: dict[int, float] = {}
    ends: dict[int, float] = {}
    for child in children:
        starts[child.wave] = min(starts.get(child.wave, child.ended_at), child.ended_at - child.seconds)
        ends[child.wave] = max(ends.get(child.wave, 0.0), child.ended_at)
    pauses = [starts[wave] - ends[wave - 1] for wave in starts if wave - 1 in ends]
    return max(0.0, median(pauses)) if pauses else 0.0
