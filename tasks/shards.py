"""The parameter server: steps of Adam on the controller's weights, held in shards (section 3.2, Figure 3)."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from tasks.records import Gradient, Moments, PolicyState


def take_step(
    state: PolicyState, gradients: Sequence[Gradient], learning_rate: float, num_shards: int = 1
) -> PolicyState:
    """The state after one step of Adam with the mean of some gradients, each shard for itself.

    A gradient without rewards has no part in the mean; a step without any counts, and changes no weight.
    """
    parameters, moments = dict(state.parameters), dict(state.moments)
    given = [gradient.weights for gradient in gradients if gradient.weights]
    for gradient in gradients:
        parameters |= {name: weight for name, weight in gradient.born.items() if name not in parameters}
    for names in shard_names(list(parameters), num_shards):
        touched = [name for name in names if any(name in weights for weights in given)]
        if touched:
            means = {name: _mean(name, given) for name in touched}
            _step_shard(parameters, moments, means, learning_rate)
    return replace(state, version=state.version + 1, parameters=parameters, moments=moments)


def shard_names(names: Sequence[str], num_shards: int) -> list[list[str]]:
    """The weights that each shard holds, dealt out in the order in which they came into being."""
    return [list(names[shard::num_shards]) for shard in range(num_shards)]


def _mean(name: str, gradients: Sequence[dict[str, np.ndarray]]) -> np.ndarray:
    """Of the gradients of one weight; who did not meet it sends none, which is a gradient of zero."""
    parts = [weights[name] for weights in gradients if name in weights]
    return parts[0] if len(gradients) == 1 else np.sum(parts, axis=0) / np.float32(len(gradients))


def _step_shard(
    parameters: dict[str, np.ndarray],
    moments: dict[str, Moments],
    gradients: dict[str, np.ndarray],
    learning_rate: float,
) -> None:
    """Replace the weights and moments that have a gradient by those after a step.

    By torch's functional Adam: the optimizer class loads torch's compiler, which takes seconds in each process.
    """
    import torch  # the driver begins a search without it
    from torch.optim.adam import adam

    before = [moments.get(name) or _no_moments(parameters[name]) for name in gradients]
    weights = [torch.tensor(parameters[name]) for name in gradients]
    steps = [torch.tensor(moment.step) for moment in before]
    averages = [torch.tensor(moment.exp_avg) for moment in before]
    squares = [torch.tensor(moment.exp_avg_sq) for moment in before]
    adam(
        weights, [torch.tensor(gradient) for gradient in gradients.values()], averages, squares, [], steps,
        foreach=False, amsgrad=False, beta1=0.9, beta2=0.999, lr=learning_rate, weight_decay=0.0, eps=1e-8,
        maximize=False,
    )  # fmt: skip
    for name, weight, step, average, square in zip(gradients, weights, steps, averages, squares, strict=True):
        parameters[name] = weight.numpy()
        moments[name] = Moments(float(step), average.numpy(), square.numpy())


def _no_moments(weight: np.ndarray) -> Moments:
    return Moments(0.0, np.zeros_like(weight), np.zeros_like(weight))
