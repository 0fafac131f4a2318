import math
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
import torch

from models.controller import Controller
from models.space import Anchor, Choice, Decisions, SearchSpace
from tasks.records import PolicyState, ReduceRequest, SampleRequest, Update
from tasks.settings import ControllerSettings, EvolutionSettings, SearchSettings, SpaceSettings, depth_at
from tasks.waves import reduce_wave, sample_wave

DECAY = 0.8
SETTINGS = ControllerSettings(hidden_units=6, init_range=0.5, learning_rate=0.01, baseline_decay=DECAY)
FRESH = PolicyState("controller", seed=5)
RANDOM = PolicyState("random", seed=5)


def layered(depth: int) -> Decisions:
    layers = []
    for n in range(depth):
        kind = yield Choice("kind", ("pool", "conv"))
        size = (yield Choice("size", (1, 3, 5))) if kind == "conv" else None
        layers.append((kind, size, (yield Anchor(n))))
    return {"layers": layers}


def one_of_four(depth: int) -> Decisions:
    return (yield Choice("arm", ("a", "b", "c", "d")))


LAYERED = SpaceSettings(function=f"{__name__}:layered")
ONE_OF_FOUR = SpaceSettings(function=f"{__name__}:one_of_four")


@pytest.fixture(autouse=True, scope="module")
def restored_threads() -> Iterator[None]:
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


def sample_request(state: PolicyState, count: int = 8, seed: int = 0) -> SampleRequest:
    return SampleRequest(state, SETTINGS, LAYERED, depth=3, count=count, seed=seed)


def reduce(state: PolicyState, rewards: tuple[float, ...], seed: int = 0) -> Update:
    """One step on a wave that the state draws with this seed."""
    tokens = tuple(sample.tokens for sample in sample_wave(sample_request(state, len(rewards), seed)))
    return reduce_wave(ReduceRequest(state, SETTINGS, LAYERED, 3, tokens, rewards))


def moving_average(rewards: list[float]) -> float:
    """Of the rewards in order, corrected for its start at zero."""
    average = 0.0
    for reward in rewards:
        average = DECAY * average + (1 - DECAY) * reward
    return average / (1 - DECAY ** len(rewards)) if rewards else 0.0


def weights_equal(one: PolicyState, other: PolicyState) -> bool:
    assert one.parameters
    assert one.parameters.keys() == other.parameters.keys()
    return all(np.array_equal(weight, other.parameters[name]) for name, weight in one.parameters.items())


def controller_of(state: PolicyState) -> Controller:
    controller = Controller(6, 2)
    controller.load_parameters({name: torch.tensor(weight) for name, weight in state.parameters.items()})
    return controller


@pytest.mark.parametrize("policy", ["controller", "random"])
def test_samples_are_of_the_space_and_the_seed_decides_them(policy: str) -> None:
    state = PolicyState(policy, seed=5)
    samples = sample_wave(sample_request(state, count=30, seed=1))
    assert samples == sample_wave(sample_request(state, count=30, seed=1))
    assert samples != sample_wave(sample_request(state, count=30, seed=2))
    assert len({sample.tokens for sample in samples}) > 10
    space = SearchSpace(LAYERED.function, {})
    assert all(sample.architecture == space.decode(3, sample.tokens) for sample in samples)


def test_samples_carry_the_log_probability_of_drawing_them() -> None:
    state = reduce(FRESH, (1.0, 0.0, 0.5, 0.2)).state
    controller = controller_of(state)
    for sample in sample_wave(sample_request(state)):
        rollout = controller.rollout(SearchSpace(LAYERED.function, {}).paths(3, 1), tokens=[sample.tokens])
        assert sample.log_prob == pytest.approx(float(rollout.log_probs.detach()), abs=1e-5)


def test_conv_architectures_are_sampled_as_plain_data() -> None:
    request = SampleRequest(RANDOM, SETTINGS, SpaceSettings(), depth=2, count=1, seed=0)
    layers = sample_wave(request)[0].architecture["layers"]
    assert len(layers) == 2
    assert layers[0]["filter_height"] in (1, 3, 5, 7)


def test_waves_follow_the_policy_gradient_with_a_baseline_of_earlier_rewards() -> None:
    """REINFORCE a second time: an architecture at a time, one Adam over all waves."""
    space = SearchSpace(LAYERED.function, {})
    waves: list[tuple[float, ...]] = [(0.9, 0.1, 0.4, 0.7), (0.2, 0.8, 0.6), (1.0, 0.3, 0.5, 0.0, 0.6)]
    controller = Controller(6, 2, 0.5, seed=5)
    controller.ensure(Choice("kind", ("pool", "conv")))
    controller.ensure(Choice("size", (1, 3, 5)))
    adam = torch.optim.Adam(controller.parameters(), lr=0.01)
    state, earlier = FRESH, []
    for number, rewards in enumerate(waves):
        update = reduce(state, rewards, seed=number)
        drawn = [sample.tokens for sample in sample_wave(sample_request(state, len(rewards), seed=number))]
        adam.zero_grad()
        entropy = 0.0
        for tokens, reward in zip(drawn, rewards, strict=True):
            rollout = controller.rollout(space.paths(3, 1), tokens=[tokens])
            (-rollout.log_probs[0] * (reward - moving_average(earlier)) / len(rewards)).backward()
            entropy += float(rollout.entropies.detach()) / len(rewards)
        gradients = [weight.grad for weight in controller.parameters() if weight.grad is not None]
        norm = math.sqrt(sum(float(gradient.square().sum()) for gradient in gradients))
        adam.step()
        assert update.gradient.baseline == pytest.approx(moving_average(earlier))
        assert update.gradient.entropy == pytest.approx(entropy, abs=1e-5)
        assert update.gradient.norm == pytest.approx(norm, rel=1e-4)
        assert update.state.version == number + 1
        assert update.state.parameters.keys() == dict(controller.named_parameters()).keys()
        for name, weight in controller.named_parameters():
            assert np.allclose(update.state.parameters[name], weight.detach(), atol=1e-5), name
        state, earlier = update.state, [*earlier, *rewards]


def test_the_first_update_subtracts_nothing_and_the_second_the_average_of_the_first_wave() -> None:
    first = reduce(FRESH, (0.2, 0.6, 1.0))
    assert first.gradient.baseline == 0
    second = reduce(first.state, (0.9, 0.9, 0.9))
    weights = [DECAY**2, DECAY, 1]
    assert second.gradient.baseline == pytest.approx((0.2 * weights[0] + 0.6 * weights[1] + 1.0) / sum(weights))


@pytest.mark.parametrize("state", [FRESH, RANDOM], ids=["controller", "random"])
def test_the_baseline_subtracted_does_not_depend_on_the_current_wave(state: PolicyState) -> None:
    first = reduce(state, (0.2, 0.6, 1.0)).state
    low, high = reduce(first, (0.0, 0.0)), reduce(first, (1.0, 1.0))
    assert low.gradient.baseline == high.gradient.baseline == first.baseline
    assert low.state.baseline < first.baseline < high.state.baseline


def test_the_baseline_moves_with_every_reward_in_order() -> None:
    rewards = (0.1, 0.9, 0.4, 0.8, 0.3)
    whole = reduce(FRESH, rewards).state.baseline
    parts = reduce(reduce(FRESH, rewards[:2]).state, rewards[2:]).state.baseline
    assert whole == pytest.approx(moving_average(list(rewards)))
    assert parts == pytest.approx(whole)
    assert reduce(FRESH, rewards[::-1]).state.baseline != pytest.approx(whole)


def test_rewards_equal_to_the_baseline_give_no_gradient() -> None:
    state = reduce(FRESH, (0.5, 0.5)).state
    update = reduce(replace(state, moments={}), (0.5, 0.5))
    assert update.gradient.norm == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("state", [FRESH, RANDOM], ids=["controller", "random"])
def test_a_wave_without_rewards_only_counts(state: PolicyState) -> None:
    before = reduce(state, (0.3, 0.8)).state
    update = reduce_wave(ReduceRequest(before, SETTINGS, LAYERED, 3, (), ()))
    assert (update.state.version, update.state.parameters) == (2, before.parameters)
    assert (update.state.baseline, update.state.moments) == (before.baseline, before.moments)
    assert update.gradient.baseline == before.baseline
    assert math.isnan(update.gradient.entropy)
    assert math.isnan(update.gradient.norm)


def test_the_random_policy_learns_nothing_but_the_baseline() -> None:
    update = reduce(RANDOM, (0.3, 0.8))
    assert update.gradient.baseline == 0
    assert update.state == replace(
        RANDOM, version=1, baseline_sum=update.state.baseline_sum, baseline_weight=update.state.baseline_weight
    )
    assert update.state.baseline == pytest.approx(moving_average([0.3, 0.8]))


def test_a_step_leaves_the_state_before_it_alone() -> None:
    before = reduce(FRESH, (0.9, 0.1, 0.4)).state
    one, other = reduce(before, (0.2, 0.7, 0.5)).state, reduce(before, (0.2, 0.7, 0.5)).state
    assert weights_equal(one, other)
    assert not weights_equal(one, before)


def test_the_controller_finds_the_best_of_four() -> None:
    state = FRESH
    for wave in range(300):
        drawn = sample_wave(SampleRequest(state, SETTINGS, ONE_OF_FOUR, depth=1, count=8, seed=wave))
        tokens = tuple(sample.tokens for sample in drawn)
        rewards = tuple(float(sample.architecture == "c") for sample in drawn)
        state = reduce_wave(ReduceRequest(state, SETTINGS, ONE_OF_FOUR, 1, tokens, rewards)).state
    controller = controller_of(state)
    rollout = controller.rollout(SearchSpace(ONE_OF_FOUR.function, {}).paths(1, 1), tokens=[(2,)])
    assert float(rollout.log_probs.detach().exp()) > 0.8


@pytest.mark.parametrize(
    ("num_samples", "depth"), [(0, 6), (1_599, 6), (1_600, 8), (3_199, 8), (3_200, 10), (12_799, 20)]
)
def test_depth_grows_by_two_every_1600_samples(num_samples: int, depth: int) -> None:
    assert depth_at(num_samples, SearchSettings()) == depth


@pytest.mark.parametrize(("num_samples", "depth"), [(0, 6), (1_600, 8), (3_200, 9), (12_799, 9)])
def test_depth_stops_at_its_maximum(num_samples: int, depth: int) -> None:
    assert depth_at(num_samples, SearchSettings(max_depth=9)) == depth


def test_evolution_draws_by_chance_until_its_population_is_complete_and_then_keeps_the_youngest() -> None:
    settings = EvolutionSettings(population_size=10, tournament_size=4)
    state = PolicyState("evolution", seed=5)
    for wave in range(4):
        request = SampleRequest(state, SETTINGS, LAYERED, depth=3, count=4, seed=wave, evolution=settings)
        tokens = tuple(sample.tokens for sample in sample_wave(request))
        rewards = tuple(float(4 * wave + index) for index in range(4))
        state = reduce_wave(ReduceRequest(state, SETTINGS, LAYERED, 3, tokens, rewards, evolution=settings)).state
    assert [individual.reward for individual in state.population] == [float(reward) for reward in range(6, 16)]
    assert (state.version, state.parameters) == (4, {})


def test_evolution_improves_on_what_it_drew_by_chance() -> None:
    settings = EvolutionSettings(population_size=12, tournament_size=6)
    state = PolicyState("evolution", seed=5)
    hits = []
    for wave in range(60):
        request = SampleRequest(state, SETTINGS, LAYERED, depth=3, count=8, seed=wave, evolution=settings)
        drawn = sample_wave(request)
        assert all(sample.log_prob is None for sample in drawn)
        rewards = tuple(sum(kind == "conv" for kind, _, _ in sample.architecture["layers"]) / 3 for sample in drawn)
        tokens = tuple(sample.tokens for sample in drawn)
        state = reduce_wave(ReduceRequest(state, SETTINGS, LAYERED, 3, tokens, rewards, evolution=settings)).state
        hits.append(sum(rewards) / len(rewards))
    assert sum(hits[-20:]) / 20 > sum(hits[:2]) / 2 + 0.1
