"""A search by asynchronous replicas of the controller (section 3.2, Figure 3).

K replicas draw m children each from a snapshot of the policy, and send the gradient of their rewards to the parameter
server, which takes a step once it has N. No replica waits for another's children, and the next one draws as soon as
there is room for m children more among K times m: the cluster stays full. With K = S = N = 1 this is a search in waves.
"""

import itertools
import math
import time
from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from pipeline.checkpoints import SearchState, load_policy, save_checkpoint
from pipeline.parameter_server import ParameterServer
from pipeline.recovery import last_state
from pipeline.rows import Row, update_row
from pipeline.search import (
    Search,
    add_results,
    add_samples,
    first_state,
    reduce_request,
    results_to_keep,
    reuse_results,
    sample_request,
)
from pipeline.submit import SOON, Ended
from pipeline.tables import read_table
from tasks.records import Gradient, PolicyState, ReduceRequest, SampleRequest, TrialResult
from tasks.waves import policy_gradient, sample_wave

NEVER = datetime.max.replace(tzinfo=UTC)


@dataclass
class Minibatch:
    """The children of a replica under way, and the snapshot that draws them. Its number is called wave in tables."""

    wave: int
    replica: int
    snapshot: PolicyState
    size: int
    samples: list[Row] = field(default_factory=list)  # none until drawn
    results: dict[int, Row] = field(default_factory=dict)  # by trial
    recorded: bool = False  # in `updates` already, but not in the checkpoint
    started: float = field(default_factory=time.monotonic)

    @property
    def has_ended(self) -> bool:
        return len(self.results) == self.size

    @property
    def room_taken(self) -> int:
        """Children under way; at least one until its gradient has been taken in."""
        return max(1, self.size - len(self.results))


def run_replicas(search: Search) -> SearchState:
    """Run until the rewards of all samples are taken in, from the last checkpoint on."""
    replicas = _Replicas(search, last_state(search))
    while replicas.draw():
        replicas.take(search.tasks.wait())
    search.tables.commit()
    return replicas.server.state


class _Replicas:
    """The minibatches under way, and what becomes of them as their tasks end."""

    def __init__(self, search: Search, state: SearchState) -> None:
        self._search, self._settings = search, search.configuration.search
        self.server = ParameterServer(state, self._settings, search.configuration.controller.learning_rate)
        self._drawing: dict[str, tuple[Minibatch, SampleRequest]] = {}  # by key
        self._training: dict[int, tuple[Minibatch, Row]] = {}  # by trial
        self._copies: dict[str, list[tuple[Minibatch, Row]]] = {}  # by hash: wait for the result of the same network
        self._reducing: tuple[Minibatch, ReduceRequest] | None = None
        self._reducing_key = ""
        self._open = {batch.wave: batch for batch in open_minibatches(search, state)}
        self._recorded = deque(batch for batch in self._open.values() if batch.recorded)
        self._ready = deque(batch for batch in self._open.values() if batch.has_ended and not batch.recorded)
        drawn = {*state.early, *self._open}
        num_waves = -(-self._settings.samples // self._settings.children_per_replica)
        self._to_draw = deque(wave for wave in range(state.first_open, num_waves) if wave not in drawn)
        for batch in self._open.values():
            search.progress.wave_started(batch.wave, batch.size, len(batch.results))
            self._start(batch, [row for row in batch.samples if row["trial_id"] not in batch.results])
        self._reduce_next()

    def draw(self) -> bool:
        """Let replicas draw while there is room for another minibatch. False when all is done."""
        m, search = self._settings.children_per_replica, self._search
        room = (self._settings.replicas - 1) * m - sum(batch.room_taken for batch in self._open.values())
        while self._to_draw and room >= 0:
            wave = self._to_draw.popleft()
            batch = Minibatch(wave, self._idlest(), self.server.policy, min(m, self._settings.samples - wave * m))
            self._open[wave] = batch
            request = sample_request(search, batch.snapshot, wave, wave * m, batch.size)
            key = f"sample-{search.key}-{wave}"
            self._drawing[key] = (batch, request)
            search.tasks.submit([key], sample_wave, [request], SOON)
            room -= batch.room_taken
        return bool(self._open)

    def take(self, tasks: Sequence[Ended]) -> None:
        """Go on with what ended: children, architectures drawn, a gradient."""
        children = self._search.children.take(tasks)
        drawn = [task for task in tasks if task.key in self._drawing]
        gradients = [task for task in tasks if task.key == self._reducing_key]
        self._take_children(children)
        for task in drawn:
            self._take_samples(task)
        for task in gradients:
            self._take_gradient(task)
        self._reduce_next()

    def _idlest(self) -> int:
        """The replica with the fewest minibatches under way."""
        at_work = Counter(batch.replica for batch in self._open.values())
        return min(range(self._settings.replicas), key=lambda replica: (at_work[replica], replica))

    def _take_samples(self, ended: Ended) -> None:
        batch, request = self._drawing.pop(ended.key)
        if ended.error:
            raise ended.error
        first = batch.wave * self._settings.children_per_replica
        replicas = [batch.replica] * batch.size
        batch.samples = add_samples(self._search, request, batch.wave, first, replicas, ended.value)
        self._search.progress.wave_started(batch.wave, batch.size, 0)
        self._start(batch, batch.samples)

    def _start(self, batch: Minibatch, samples: Sequence[Row]) -> None:
        """Train children, unless the result of the same architecture is there, or under way and to be reused."""
        for row in reuse_results(self._search, samples):
            self._end_child(batch, row)
        fresh = []
        for sample in samples:
            if sample["trial_id"] in batch.results:
                continue
            if sample["architecture_hash"] in self._copies:
                self._copies[sample["architecture_hash"]].append((batch, sample))
                continue
            if self._search.duplicates == "reuse":
                self._copies[sample["architecture_hash"]] = []
            fresh.append(sample)
        self._training |= {sample["trial_id"]: (batch, sample) for sample in fresh}
        self._search.children.train(self._search.trials_of(fresh))

    def _take_children(self, results: Sequence[TrialResult]) -> None:
        if not results:
            return
        ended = [(result, *self._training.pop(result.trial_id)) for result in results]
        rows = add_results(self._search, [(sample, result) for result, _, sample in ended])
        for (_, batch, sample), row in zip(ended, rows, strict=True):
            self._end_child(batch, row)
            for other, copy in self._copies.pop(sample["architecture_hash"], []):
                self._start(other, [copy])

    def _end_child(self, batch: Minibatch, row: Row) -> None:
        batch.results[row["trial_id"]] = row
        if batch.has_ended and not batch.recorded:
            self._ready.append(batch)

    def _reduce_next(self) -> None:
        """Have the gradient of the next minibatch computed, one at a time: each moves the baseline for the next.

        Those recorded come first and in their order, since later snapshots come of it.
        """
        queue = self._recorded or self._ready
        if self._reducing is None and queue and queue[0].has_ended:
            batch = queue.popleft()
            results = [batch.results[sample["trial_id"]] for sample in batch.samples]
            policy = self.server.with_baseline(batch.snapshot)
            request = reduce_request(self._search, policy, batch.samples, results)
            self._reducing = (batch, request)
            self._reducing_key = f"reduce-{self._search.key}-{batch.wave}"
            self._search.tasks.submit([self._reducing_key], policy_gradient, [request], SOON)

    def _take_gradient(self, ended: Ended) -> None:
        """Hand a gradient to the parameter server. A step is final once its checkpoint is written."""
        assert self._reducing is not None
        if ended.error:
            raise ended.error
        gradient: Gradient = ended.value
        (batch, request), self._reducing = self._reducing, None
        search, before = self._search, self.server.policy.version
        stepped = self.server.take(gradient, request, batch.wave, batch.size)
        del self._open[batch.wave]
        row = update_row(
            gradient, self.server.num_gradients - 1, [batch.results[sample["trial_id"]] for sample in batch.samples],
            search.history.share_of_duplicates(batch.samples), wave=batch.wave, replica=batch.replica,
            version=self.server.policy.version, staleness=before - batch.snapshot.version,
            seconds=time.monotonic() - batch.started,
        )  # fmt: skip
        search.tables.append({"updates": [row]})
        if stepped:
            for open_batch in self._open.values():
                if open_batch.snapshot.version == self.server.policy.version:
                    open_batch.snapshot = self.server.policy  # drawn from this step before it had to be taken again
            in_use = {open_batch.snapshot.version for open_batch in self._open.values()}
            save_checkpoint(search.paths, self.server.state, in_use)
            search.tables.commit_when_due()
        search.progress.wave_ended(row)


def open_minibatches(search: Search, state: SearchState) -> list[Minibatch]:
    """The minibatches that the tables tell of and the policy has not taken in.

    Those whose children all ended come in the order in which their gradients were, or would have been, taken in.
    """
    samples = read_table(search.paths, "samples").to_pylist()
    results = {row["trial_id"]: row for row in read_table(search.paths, "results").to_pylist()}
    updates = read_table(search.paths, "updates", ["update", "wave"]).to_pylist()
    place = {row["wave"]: row["update"] for row in updates if row["update"] >= state.waves}
    batches = []
    for wave, group in itertools.groupby(samples, key=lambda row: row["wave"]):
        if wave < state.first_open or wave in state.early:
            continue
        rows = list(group)
        version = rows[0]["policy_version"]
        if 0 < version <= state.policy.version:
            snapshot = load_policy(search.paths, version)
        else:  # of a step to be taken again: the weights come with it
            snapshot = replace(first_state(search.configuration).policy, version=version)
        batch = Minibatch(wave, rows[0]["replica"], snapshot, len(rows), rows, recorded=wave in place)
        ended = [results[row["trial_id"]] for row in rows if row["trial_id"] in results]
        batch.results = results_to_keep(search, ended, batch.recorded)
        batches.append(batch)
    last = {b.wave: max((row["ended_at"] for row in b.results.values()), default=NEVER) for b in batches}
    return sorted(batches, key=lambda batch: (place.get(batch.wave, math.inf), last[batch.wave], batch.wave))
