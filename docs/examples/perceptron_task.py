"""A task of your own: a function that trains what a space describes and returns its metric, the larger the better.

It runs on a worker. `trial` has the seed, the data and the settings; raising an exception makes a failed trial.
"""

from itertools import pairwise

import torch
from torch import nn

from models.space import load_function
from tasks.data import load_images, whiten
from tasks.records import Trial


def train(architecture, trial: Trial) -> float:
    """Validation accuracy of a perceptron on the images of the experiment."""
    torch.manual_seed(trial.seed)
    data = load_images(trial.data_path, trial.data, torch.device("cpu"))
    inputs = whiten(data.train.images).flatten(1)
    activation = load_function(f"torch.nn.functional:{architecture.activation}")
    widths = [inputs.shape[1], *architecture.widths]
    layers = nn.ModuleList(nn.Linear(*pair) for pair in pairwise(widths))
    output = nn.Linear(widths[-1], data.num_classes)

    def forward(images: torch.Tensor) -> torch.Tensor:
        for layer in layers:
            images = activation(layer(images))
        return output(images)

    optimizer = torch.optim.Adam([*layers.parameters(), *output.parameters()], lr=0.01)
    for _ in range(20):
        optimizer.zero_grad()
        nn.functional.cross_entropy(forward(inputs), data.train.labels).backward()
        optimizer.step()
    predicted = forward(whiten(data.validation.images).flatten(1)).argmax(1)
    return float((predicted == data.validation.labels).float().mean())
