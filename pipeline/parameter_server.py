"""What asynchronous replicas share: the policy, the gradients that wait for a step, and what was taken in."""

from dataclasses import replace

from pipeline.checkpoints import SearchState
from tasks.records import Gradient, PolicyState, ReduceRequest
from tasks.settings import SearchSettings
from tasks.shards import take_step
from tasks.waves import take_rewards


class ParameterServer:
    """Takes in gradients in the order they come, and steps once it has N of them (section 4.2)."""

    def __init__(self, state: SearchState, settings: SearchSettings, learning_rate: float) -> None:
        self.policy = state.policy
        self.num_gradients = state.waves
        self._samples, self._early, self._first_open = state.samples, set(state.early), state.first_open
        self._settings, self._learning_rate = settings, learning_rate
        self._pending: list[Gradient] = []

    @property
    def state(self) -> SearchState:
        """What a checkpoint keeps; to be asked for right after a step, when no gradient waits."""
        assert not self._pending
        return SearchState(self.num_gradients, self._samples, self.policy, tuple(sorted(self._early)))

    def with_baseline(self, snapshot: PolicyState) -> PolicyState:
        """A snapshot's weights with the baseline of now."""
        return replace(snapshot, baseline_sum=self.policy.baseline_sum, baseline_weight=self.policy.baseline_weight)

    def take(self, gradient: Gradient, request: ReduceRequest, wave: int, size: int) -> bool:
        """Take in the gradient of a minibatch and the rewards it came from. True where that led to a step."""
        self.policy = take_rewards(self.policy, request)
        self._pending.append(gradient)
        self.num_gradients += 1
        self._samples += size
        self._early.add(wave)
        while self._first_open in self._early:
            self._early.remove(self._first_open)
            self._first_open += 1
        if len(self._pending) < self._settings.gradients_per_step and self._samples < self._settings.samples:
            return False
        self.policy = take_step(self.policy, self._pending, self._learning_rate, self._settings.shards)
        self._pending = []
        return True
