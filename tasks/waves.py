"""Sample a wave of architectures, and reduce its rewards to one step of the controller (section 3.2).

The driver names these functions and needs no torch for it: only who runs them loads it, and only for a controller.
"""

from collections.abc import Sequence
from dataclasses import replace

from models.architecture import architecture_hash, to_json
from models.evolution import Individual, sample_by_evolution
from models.random_policy import sample_uniformly
from models.space import SearchSpace
from tasks.records import Gradient, PolicyState, ReduceRequest, Sample, SampleRequest, Update
from tasks.shards import take_step


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
        from tasks.rollouts import draw

        log_probs = draw(request, paths)
    return tuple(
        Sample(tuple(path.tokens), to_json(path.architecture), architecture_hash(path.architecture), log_prob)
        for path, log_prob in zip(paths, log_probs, strict=True)
    )


def reduce_wave(request: ReduceRequest) -> Update:
    """One step of Adam along the policy gradient of a wave; only then does the baseline move.

    So the baseline is made of the rewards of earlier architectures alone. A wave without rewards (all its children
    failed) leaves the weights and the baseline as they are.
    """
    gradient = policy_gradient(request)
    state = take_rewards(request.state, request)
    return Update(take_step(state, [gradient], request.controller.learning_rate), gradient)


def policy_gradient(request: ReduceRequest) -> Gradient:
    """The gradient of −1/m Σ log P (R − b) for the m architectures of a request, at the weights of its state."""
    assert len(request.tokens) == len(request.rewards), "a reward for each architecture"
    baseline = request.state.baseline
    if not request.rewards or request.state.policy != "controller":
        return Gradient(baseline)
    from tasks.rollouts import gradient_of_controller

    return gradient_of_controller(request)


def take_rewards(state: PolicyState, request: ReduceRequest) -> PolicyState:
    """A state whose baseline has moved, and whose population has aged, by the rewards of a request."""
    decay = request.controller.baseline_decay
    total, weight = state.baseline_sum, state.baseline_weight
    for reward in request.rewards:
        total = decay * total + (1 - decay) * reward
        weight = decay * weight + (1 - decay)
    population = state.population
    if state.policy == "evolution":
        newborn = tuple(map(Individual, request.tokens, request.rewards))
        population = (*population, *newborn)[-request.evolution.population_size :]
    return replace(state, baseline_sum=total, baseline_weight=weight, population=population)
