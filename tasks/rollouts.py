"""What a controller's network does for a wave: draw its architectures, and tell the gradient of their rewards."""

from collections.abc import Sequence

import torch

from models.controller import Controller
from models.space import Path, SearchSpace
from tasks.records import Gradient, ReduceRequest, SampleRequest


@torch.no_grad()
def draw(request: SampleRequest, paths: Sequence[Path]) -> list[float]:
    """Complete each path by drawing from the controller's distributions. Returns each one's log-probability in nats."""
    generator = torch.Generator().manual_seed(request.seed)
    return _controller(request).rollout(paths, generator=generator).log_probs.tolist()


def gradient_of_controller(request: ReduceRequest) -> Gradient:
    """The gradient of −1/m Σ log P (R − b), R and b being rewards and baseline, at the weights of a request's state."""
    baseline = request.state.baseline
    controller = _controller(request)
    space = SearchSpace(request.space.function, request.space.options)
    rollout = controller.rollout(space.paths(request.depth, len(request.tokens)), tokens=request.tokens)
    advantages = torch.tensor([reward - baseline for reward in request.rewards])
    loss = -(rollout.log_probs * advantages).mean()
    loss.backward()  # type: ignore[no-untyped-call]
    weights = dict(controller.named_parameters())
    gradients = {name: weight.grad for name, weight in weights.items() if weight.grad is not None}
    return Gradient(
        baseline,
        entropy=float(rollout.entropies.detach().mean()),
        norm=float(torch.nn.utils.get_total_norm(list(gradients.values()))),
        weights={name: gradient.numpy() for name, gradient in gradients.items()},
        born={
            name: weight.detach().numpy() for name, weight in weights.items() if name not in request.state.parameters
        },
    )


def _controller(request: SampleRequest | ReduceRequest) -> Controller:
    torch.set_num_threads(1)  # the same numbers on any worker
    settings = request.controller
    controller = Controller(settings.hidden_units, settings.num_layers, settings.init_range, request.state.seed)
    if request.state.parameters:
        controller.load_parameters({name: torch.tensor(weight) for name, weight in request.state.parameters.items()})
    return controller
