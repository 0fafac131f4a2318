import torch
from torch.nn import functional

from models.conv_net import ConvNet
from models.cost import network_cost
from models.presets import figure7


def test_figure_7_has_the_parameters_and_the_cost_of_the_papers_network() -> None:
    parameters, flops = network_cost(lambda: ConvNet(figure7(), 3, 10), (3, 32, 32))
    assert parameters == 4_201_630  # 4.2M in Table 1
    assert flops == 2 * (4_199_868 * 32 * 32 + 48 * 10)  # 4.30 G multiply-adds
    assert f"{flops / 2:.2e}" == "4.30e+09"


def test_figure_7_has_65_connections_between_layers_and_each_layer_reads_the_one_before() -> None:
    architecture = figure7()
    assert len(architecture.layers) == 15
    assert sum(len(layer.inputs) for layer in architecture.layers) == 65
    assert [layer.inputs[-1] for layer in architecture.layers[4:6]] == [3, 4]
    assert all(index - 1 in layer.inputs for index, layer in enumerate(architecture.layers) if index)
    assert architecture.loose_ends() == (14,)


def test_figure_7_has_filters_of_36_and_48_and_is_described() -> None:
    lines = figure7().describe().splitlines()
    assert lines[0] == "1. 3×3 convolution, 36 filters, on the image"
    assert lines[7] == "8. 7×3 convolution, 36 filters, on layers 1, 6 and 7"
    assert lines[14] == "15. 7×5 convolution, 48 filters, on layers 2, 7, 11, 12, 13 and 14"
    assert [layer.num_filters for layer in figure7().layers].count(36) == 7


def test_figure_7_trains() -> None:
    torch.manual_seed(0)
    network, labels = ConvNet(figure7(), 3, 10), torch.arange(4)
    images = torch.randn(4, 3, 8, 8)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.01)
    losses = []
    for _ in range(2):
        loss = functional.cross_entropy(network(images), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert all(weight.grad is not None and weight.grad.any() for weight in network.parameters())
    assert losses[1] < losses[0]
