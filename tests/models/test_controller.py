import math
from collections import Counter
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from toy_spaces import ANCHORS, CONV, LAYERED, STACK, TYPED, all_tokens

from models.controller import Controller, Rollout
from models.space import Anchor, Choice, Decision, SearchSpace

SPACES = pytest.mark.parametrize(
    ("space", "depth"),
    [(STACK, 3), (LAYERED, 2), (ANCHORS, 4), (CONV, 2), (TYPED, 2)],
    ids=["stack", "layered", "anchors", "conv", "typed"],
)
Tokens = tuple[int, ...]


def opinionated(seed: int = 0) -> Controller:
    """A small controller whose distributions are far from uniform."""
    return Controller(hidden_units=8, init_range=1.5, seed=seed)


def sample(controller: Controller, space: SearchSpace, depth: int, count: int, seed: int = 0) -> tuple[list, Rollout]:
    paths = space.paths(depth, count)
    rollout = controller.rollout(paths, generator=torch.Generator().manual_seed(seed))
    return [tuple(path.tokens) for path in paths], rollout


def replay(controller: Controller, space: SearchSpace, depth: int, tokens: list[Tokens]) -> Rollout:
    return controller.rollout(space.paths(depth, len(tokens)), tokens=tokens)


def close(one: torch.Tensor, other: torch.Tensor) -> bool:
    return one.shape == other.shape and torch.allclose(one, other, rtol=0, atol=1e-5)


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    """Tensors of a few numbers are not worth a second thread."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def float64() -> Iterator[None]:
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def test_the_default_is_the_papers_controller() -> None:
    controller = Controller()
    assert [(cell.input_size, cell.hidden_size) for cell in controller.cells] == [(35, 35), (35, 35)]
    assert controller.anchor_previous.weight.shape == controller.anchor_current.weight.shape == (35, 35)
    assert controller.anchor_score.weight.shape == (1, 35)


@SPACES
def test_replayed_tokens_have_the_log_probabilities_and_entropies_of_sampling(space: SearchSpace, depth: int) -> None:
    controller = opinionated()
    tokens, sampled = sample(controller, space, depth + 1, 40)
    replayed = replay(controller, space, depth + 1, tokens)
    assert len(set(tokens)) > 5
    assert close(sampled.log_probs, replayed.log_probs)
    assert close(sampled.entropies, replayed.entropies)


@SPACES
def test_a_row_alone_is_as_likely_as_in_its_batch(space: SearchSpace, depth: int) -> None:
    controller = opinionated()
    tokens, batch = sample(controller, space, depth + 1, 20)
    alone = [replay(controller, space, depth + 1, [row]) for row in tokens]
    assert close(torch.cat([rollout.log_probs for rollout in alone]), batch.log_probs)
    assert close(torch.cat([rollout.entropies for rollout in alone]), batch.entropies)


def test_rows_of_different_length_leave_each_other_alone() -> None:
    controller = opinionated()
    rows: list[Tokens] = [(0,), (1, 2, 1, 0, 1, 1), (1, 0, 0), (1, 1, 1, 2, 0)]
    together = replay(controller, STACK, 3, rows)
    backwards = replay(controller, STACK, 3, rows[::-1])
    alone = torch.cat([replay(controller, STACK, 3, [row]).log_probs for row in rows])
    assert close(together.log_probs, alone)
    assert close(together.log_probs.flip(0), backwards.log_probs)


@SPACES
def test_the_probabilities_of_all_architectures_sum_to_one(space: SearchSpace, depth: int) -> None:
    rollout = replay(opinionated(), space, depth, all_tokens(space, depth))
    assert float(rollout.log_probs.detach().exp().sum()) == pytest.approx(1, abs=1e-5)


@SPACES
def test_the_mean_entropy_is_that_of_the_distribution_over_architectures(space: SearchSpace, depth: int) -> None:
    rollout = replay(opinionated(), space, depth, all_tokens(space, depth))
    log_probs, entropies = rollout.log_probs.detach(), rollout.entropies.detach()
    expected = float(-(log_probs.exp() * log_probs).sum())
    assert expected > 0.5
    assert float((log_probs.exp() * entropies).sum()) == pytest.approx(expected, abs=1e-4)


def sigmoid(values: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-values))


def transcribed_log_prob(controller: Controller, space: SearchSpace, depth: int, tokens: Tokens) -> float:
    """Figure 4 a second time, for one architecture, in plain numpy."""
    weights = {name: weight.detach().double().numpy() for name, weight in controller.named_parameters()}
    zeros = np.zeros(controller.hidden_units)
    states = [(zeros, zeros) for _ in controller.cells]
    inputs, anchor_states, log_prob = weights["start"][0], [], 0.0
    path = space.paths(depth, 1)[0]
    for token in tokens:
        decision: Decision | None = path.decision
        for number, (hidden, memory) in enumerate(states):
            cell = {
                name: weights[f"cells.{number}.{name}"] for name in ("weight_ih", "bias_ih", "weight_hh", "bias_hh")
            }
            gates = cell["weight_ih"] @ inputs + cell["bias_ih"] + cell["weight_hh"] @ hidden + cell["bias_hh"]
            enter, forget, candidate, leave = np.split(gates, 4)
            memory = sigmoid(forget) * memory + sigmoid(enter) * np.tanh(candidate)
            inputs = sigmoid(leave) * np.tanh(memory)
            states[number] = (inputs, memory)
        output = inputs
        if isinstance(decision, Choice):
            logits = (
                weights[f"heads.choice_{decision.name}.weight"] @ output + weights[f"heads.choice_{decision.name}.bias"]
            )
            log_prob += logits[token] - np.log(np.exp(logits).sum())
            inputs = weights[f"embeddings.choice_{decision.name}.weight"][token]
        else:
            assert isinstance(decision, Anchor)
            taken = []
            for j, previous in enumerate(anchor_states):
                mixed = weights["anchor_previous.weight"] @ previous + weights["anchor_current.weight"] @ output
                p = sigmoid(weights["anchor_score.weight"][0] @ np.tanh(mixed))
                log_prob += np.log(p if token >> j & 1 else 1 - p)
                taken += [previous] if token >> j & 1 else []
            inputs = sum(taken, zeros) / (1 + len(taken))
            anchor_states.append(output)
        path.take(token)
    return float(log_prob)


@pytest.mark.parametrize(
    ("space", "tokens"),
    [
        (CONV, (0, 1, 0, 1, 1, 1, 1, 0, 1, 0, 3, 1)),
        (CONV, (1, 0, 0, 0, 0, 0, 0, 1, 1, 1, 2, 0)),
        (LAYERED, (1, 2, 0, 0, 1, 1, 0, 2)),
        (ANCHORS, (0, 1, 1)),
        (TYPED, (1, 3, 0, 2, 1, 0, 1, 0, 1, 0, 2, 0)),
        (TYPED, (0, 0, 1, 0, 0, 1, 4, 1, 3, 2)),
    ],
)
def test_log_probabilities_are_those_of_the_papers_formulas(space: SearchSpace, tokens: Tokens) -> None:
    controller = opinionated()
    log_prob = float(replay(controller, space, 3, [tokens]).log_probs.detach())
    assert log_prob == pytest.approx(transcribed_log_prob(controller, space, 3, tokens), abs=1e-5)


@pytest.mark.parametrize(
    ("space", "tokens"),
    [
        (LAYERED, [(1, 2, 0, 0, 1, 1, 0, 2), (0, 0, 1, 1, 0, 0, 3), (1, 1, 0, 1, 0, 1, 1, 2, 1)]),
        (TYPED, [(0, 0, 1, 0, 0, 1, 4, 1, 3, 2), (1, 3, 0, 2, 1, 0, 1, 0, 1, 0, 2, 0), (0, 1, 0, 0, 0, 4, 0, 3, 1)]),
    ],
    ids=["layered", "typed"],
)
def test_the_gradient_of_every_weight_agrees_with_finite_differences(
    space: SearchSpace, tokens: list[Tokens], float64: None
) -> None:
    controller = Controller(hidden_units=3, init_range=1.0)
    factors = torch.tensor([1.0, -0.7, 0.4])
    assert len({len(row) for row in tokens}) > 1

    def objective() -> torch.Tensor:
        return (replay(controller, space, 3, tokens).log_probs * factors).sum()

    objective().backward()
    for name, weight in controller.named_parameters():
        assert weight.grad is not None, name
        assert weight.grad.any(), name
        numeric = torch.zeros_like(weight)
        with torch.no_grad():
            for index in np.ndindex(*weight.shape):
                value = weight[index].item()
                weight[index] = value + 1e-5
                above = objective()
                weight[index] = value - 1e-5
                numeric[index] = (above - objective()) / 2e-5
                weight[index] = value
        assert torch.allclose(weight.grad, numeric, rtol=1e-6, atol=1e-8), name


def test_initial_weights_fill_their_range_evenly() -> None:
    controller = Controller()
    sample(controller, LAYERED, 3, 8)
    for name, weight in controller.named_parameters():
        assert weight.abs().max() <= 0.08, name
        assert weight.numel() < 10 or weight.std() > 0.02, name
    pooled = torch.cat([weight.detach().flatten() for weight in controller.parameters()])
    shares = torch.histc(pooled, bins=8, min=-0.08, max=0.08) / len(pooled)
    assert len(pooled) > 20_000
    assert ((shares - 1 / 8).abs() < 0.01).all()
    assert pooled.min() < -0.0799
    assert pooled.max() > 0.0799


def test_initial_weights_do_not_depend_on_the_order_in_which_choices_are_met() -> None:
    choices = [Choice("height", (1, 3)), Choice("width", (1, 3)), Choice("filters", (8, 16, 32))]
    one, other, another_seed = Controller(), Controller(), Controller(seed=1)
    for choice in choices:
        one.ensure(choice)
        another_seed.ensure(choice)
    for choice in reversed(choices):
        other.ensure(choice)
    weights = dict(other.named_parameters())
    assert all(torch.equal(weight, weights[name]) for name, weight in one.named_parameters())
    assert not any(torch.equal(weight, weights[name]) for name, weight in another_seed.named_parameters())
    assert not torch.equal(weights["heads.choice_height.weight"], weights["heads.choice_width.weight"])


@pytest.mark.parametrize(("space", "depth"), [(STACK, 3), (LAYERED, 2)], ids=["stack", "layered"])
def test_architectures_are_drawn_as_often_as_their_probability_says(space: SearchSpace, depth: int) -> None:
    controller, draws = opinionated(), 5_000
    tokens, _ = sample(controller, space, depth, draws)
    counts = Counter(tokens)
    every = all_tokens(space, depth)
    probabilities = replay(controller, space, depth, every).log_probs.detach().exp().tolist()
    assert len(counts) > 10
    for row, probability in zip(every, probabilities, strict=True):
        bound = 4 * math.sqrt(draws * probability * (1 - probability)) + 1
        assert abs(counts[row] - draws * probability) < bound, row


def test_the_generator_decides_the_draws() -> None:
    controller = opinionated()
    assert sample(controller, LAYERED, 3, 20, seed=1)[0] == sample(controller, LAYERED, 3, 20, seed=1)[0]
    assert sample(controller, LAYERED, 3, 20, seed=1)[0] != sample(controller, LAYERED, 3, 20, seed=2)[0]


def test_the_deepest_anchor_point_can_be_sampled_and_replayed() -> None:
    controller = opinionated()
    tokens, sampled = sample(controller, ANCHORS, 63, 2)
    assert max(row[-1] for row in tokens) >= 2**31
    assert torch.allclose(replay(controller, ANCHORS, 63, tokens).log_probs, sampled.log_probs, rtol=1e-5)


def test_a_choice_with_another_number_of_values_is_an_error() -> None:
    with pytest.raises(ValueError, match="choice 'size' has 3 values here and 2 elsewhere"):
        sample(Controller(), SearchSpace("toy_spaces:disagreeing", {}), 1, 1)


@pytest.mark.parametrize(
    ("tokens", "message"),
    [
        ((0, 0, 0), "3 tokens where the space has more decisions"),
        ((0, 0, 0, 0, 0), "5 tokens where the space has 4 decisions"),
        ((0, 0, 2, 0), "for kind: allowed are 0 to 1"),
        ((0, 0, -1, 0), "for kind: allowed are 0 to 1"),
        ((0, 0, 0, 2), "token 2 for inputs: allowed are 0 to 1"),
        ((0, 0, 0, -1), "token -1 for inputs: allowed are 0 to 1"),
    ],
)
def test_tokens_that_are_not_of_the_space_are_errors(tokens: Tokens, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        replay(Controller(), LAYERED, 2, [(1, 2, 0, 1, 2, 1), tokens])


def test_loaded_weights_give_the_same_distribution() -> None:
    trained, fresh = opinionated(seed=0), opinionated(seed=1)
    tokens, sampled = sample(trained, LAYERED, 3, 10)
    assert not close(replay(fresh, LAYERED, 3, tokens).log_probs, sampled.log_probs)
    for controller in (fresh, opinionated(seed=2)):  # one that has met the choices and one that has not
        controller.load_parameters(trained.state_dict())
        loaded = controller.state_dict()
        assert loaded.keys() == trained.state_dict().keys()
        assert all(torch.equal(weight, loaded[name]) for name, weight in trained.state_dict().items())
        assert torch.equal(
            replay(controller, LAYERED, 3, tokens).log_probs, replay(trained, LAYERED, 3, tokens).log_probs
        )


@pytest.mark.parametrize("name", ["type", "values", "float", "num filters"])
def test_a_choice_may_have_the_name_of_an_attribute(name: str) -> None:
    controller = Controller()
    controller.ensure(Choice(name, (1, 2)))
    other = Controller(seed=1)
    other.load_parameters(controller.state_dict())
    assert all(torch.equal(weight, other.state_dict()[key]) for key, weight in controller.state_dict().items())


def test_another_number_of_rows_of_tokens_is_an_error() -> None:
    with pytest.raises(ValueError, match="1 rows of tokens for 2 paths"):
        Controller().rollout(SearchSpace("models.conv_space:conv_space", {}).paths(1, 2), tokens=[[0, 0, 0, 0]])
