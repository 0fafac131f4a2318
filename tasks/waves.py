"""Sample a wave of architectures, and reduce its rewards to one step of the controller (section 3.2)."""

import math
from collections.abc import Sequence
from dataclasses import replace

import torch

from models.architecture import architecture_hash, to_json
from models.controller import Controller
from models.evolution import Individual, sample_by_evolution
from models.random_policy import sample_uniformly
from models.space import SearchSpace
from tasks.records import Moments, PolicyState, ReduceRequest, Sample, SampleRequest, Update
from tasks.settings import SearchSettings


def sample_wave(request: SampleRequest) -> tuple[Sample, ...]:
    """Draw a wave: from the controller's distributions (never their argmax), uniformly, or by mutation."""
    paths = SearchSpace(request.space.function, request.space.options).paths(request.depth, request.count)
    log_probs: Sequence[float | None]
    if request.state.policy == "random":
        log_probs = sample_uniformly(paths, request.seed)
    elif request.state.policy == "evolution":
        log_probs = [None] * len(paths)
        evolution = request.evolution
        sample_by_evolution(
            paths, request.state.population, evolution.population_size, evolution.tournament_size, request.seed
        )
    else:
        with torch.no_grad():
            rollout = _controller(request).rollout(paths, generator=torch.Generator().manual_seed(request.seed))
        log_probs = rollout.log_probs.tolist()
    return tuple(
        Sample(tuple(path.tokens), to_json(path.architecture), architecture_hash(path.architecture), log_prob)
        for path, log_prob in zip(paths, log_probs, strict=True)
    )


def reduce_wave(request: ReduceRequest) -> Update:
    """One step of Adam along the policy gradient 1/m Σ ∇log P (R − b); only then does the baseline b move.

    So b is made of the rewards of earlier architectures alone. A wave without rewards (all its children failed)
    leaves the weights and the baseline as they are.
    """
    assert len(request.tokens) == len(request.rewards), "a reward for each architecture"
    state = replace(request.state, version=request.state.version + 1)
    baseline = request.state.baseline
    entropy = gradient_norm = math.nan
    if request.rewards and state.policy == "controller":
        state, entropy, gradient_norm = _step_controller(state, request, baseline)
    elif state.policy == "evolution":
        newborn = tuple(map(Individual, request.tokens, request.rewards))
        state = replace(state, population=(*state.population, *newborn)[-request.evolution.population_size :])
    return Update(_move_baseline(state, request), baseline, entropy, gradient_norm)


def _step_controller(state: PolicyState, request: ReduceRequest, baseline: float) -> tuple[PolicyState, float, float]:
    """The state after the step, the mean entropy of an architecture (nats), the norm of the gradient."""
    controller = _controller(request)
    space = SearchSpace(request.space.function, request.space.options)
    rollout = controller.rollout(space.paths(request.depth, len(request.tokens)), tokens=request.tokens)
    advantages = torch.tensor([reward - baseline for reward in request.rewards])
    loss = -(rollout.log_probs * advantages).mean()
    optimizer = torch.optim.Adam(controller.parameters(), lr=request.controller.learning_rate)
    weights = dict(controller.named_parameters())
    for name, moments in state.moments.items():
        optimizer.state[weights[name]] = {key: torch.tensor(value) for key, value in vars(moments).items()}
    loss.backward()  # type: ignore[no-untyped-call]
    norm = torch.nn.utils.get_total_norm([weight.grad for weight in weights.values() if weight.grad is not None])
    optimizer.step()
    stepped = replace(
        state,
        parameters={name: weight.detach().numpy() for name, weight in weights.items()},
        moments={
            name: _moments(optimizer.state[weight]) for name, weight in weights.items() if weight in optimizer.state
        },
    )
    return stepped, float(rollout.entropies.detach().mean()), float(norm)


def _moments(state: dict[str, torch.Tensor]) -> Moments:
    return Moments(float(state["step"]), state["exp_avg"].numpy(), state["exp_avg_sq"].numpy())


def _move_baseline(state: PolicyState, request: ReduceRequest) -> PolicyState:
    decay = request.controller.baseline_decay
    total, weight = state.baseline_sum, state.baseline_weight
    for reward in request.rewards:
        total = decay * total + (1 - decay) * reward
        weight = decay * weight + (1 - decay)
    return replace(state, baseline_sum=total, baseline_weight=weight)


def _controller(request: SampleRequest | ReduceRequest) -> Controller:
    torch.set_num_threads(1)  # the same numbers on any worker
    settings = request.controller
    controller = Controller(settings.hidden_units, settings.num_layers, settings.init_range, request.state.seed)
    if request.state.parameters:
        controller.load_parameters({name: torch.tensor(weight) for name, weight in request.state.parameters.items()})
    return controller


def depth_at(num_samples: int, settings: SearchSettings) -> int:
    """Layers of the next child once `num_samples` were drawn (section 4.1: 6, and 2 more every 1,600 samples)."""
    depth = settings.depth + settings.depth_increment * (num_samples // settings.depth_every)
    return depth if settings.max_depth is None else min(depth, settings.max_depth)
