import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional

from models.conv_net import ConvNet, concatenate
from models.conv_space import ConvArchitecture, ConvLayer
from models.space import SearchSpace

# Two layers read the image, one of them with a stride; layer 2 reads both, layer 3 one; 2 and 3 are loose ends.
BRANCHED = ConvArchitecture(
    (
        ConvLayer(3, 3, 2),
        ConvLayer(1, 5, 3, stride_height=2),
        ConvLayer(5, 3, 4, inputs=(0, 1)),
        ConvLayer(1, 7, 5, inputs=(0,), stride_width=2),
    )
)


def random_images(*shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(0))


@torch.no_grad()
def test_a_branched_network_computes_what_its_wiring_says() -> None:
    network, images = ConvNet(BRANCHED, 3, 10), random_images(2, 3, 8, 6)
    first = network.layers[0](images)
    second = network.layers[1](images)
    assert (first.shape, second.shape) == ((2, 2, 8, 6), (2, 3, 4, 6))
    third = network.layers[2](torch.cat([first, functional.pad(second, (0, 0, 2, 2))], dim=1))
    fourth = network.layers[3](first)
    assert (third.shape, fourth.shape) == ((2, 4, 8, 6), (2, 5, 8, 3))
    ends = torch.cat([third, functional.pad(fourth, (1, 2, 0, 0))], dim=1)
    expected = ends.mean((2, 3)) @ network.classifier.weight.T + network.classifier.bias
    assert torch.allclose(network(images), expected, atol=1e-6)


def test_layers_without_inputs_read_the_image() -> None:
    network = ConvNet(ConvArchitecture((ConvLayer(1, 1, 4), ConvLayer(1, 1, 6))), 3, 10)
    assert [layer[0].in_channels for layer in network.layers] == [3, 3]
    assert network.classifier.in_features == 4 + 6


def test_a_layer_is_convolution_batch_norm_and_relu() -> None:
    layer = ConvNet(BRANCHED, 3, 10, batch_norm_epsilon=0.5).layers[3]
    images = random_images(4, 2, 5, 6)
    convolved = functional.conv2d(images, layer[0].weight, stride=(1, 2), padding=(0, 3))
    variance, mean = torch.var_mean(convolved, dim=(0, 2, 3), keepdim=True, correction=0)
    assert torch.allclose(layer(images), ((convolved - mean) / (variance + 0.5).sqrt()).relu(), atol=1e-5)


def test_smaller_inputs_are_padded_with_zeros_on_all_sides() -> None:
    small, large = torch.full((1, 1, 2, 3), 7.0), torch.full((1, 2, 5, 5), 9.0)
    padded = torch.zeros(1, 1, 5, 5)
    padded[:, :, 1:3, 1:4] = 7  # of three rows missing, one goes above and two below
    assert torch.equal(concatenate([small, large]), torch.cat([padded, large], dim=1))
    assert torch.equal(concatenate([large, small]), torch.cat([large, padded], dim=1))


def test_inputs_grow_to_the_largest_height_and_the_largest_width() -> None:
    tall, wide = torch.ones(1, 1, 4, 2), torch.ones(1, 1, 2, 6)
    both = concatenate([tall, wide])
    assert both.shape == (1, 2, 4, 6)
    assert torch.equal(both[0, 0], torch.tensor([0.0, 0, 1, 1, 0, 0]).expand(4, 6))
    assert torch.equal(both[0, 1], torch.tensor([0.0, 1, 1, 0])[:, None].expand(4, 6))


def test_inputs_are_concatenated_in_the_order_of_the_layers() -> None:
    features = [torch.full((1, 1, 2, 2), float(n)) for n in range(3)]
    assert concatenate(features)[0, :, 0, 0].tolist() == [0, 1, 2]
    assert concatenate(features[:1]) is features[0]


def test_the_number_of_parameters_is_the_sum_over_layers() -> None:
    convolutions = 3 * 3 * 3 * 2 + 1 * 5 * 3 * 3 + 5 * 3 * (2 + 3) * 4 + 1 * 7 * 2 * 5
    batch_norms = 2 * (2 + 3 + 4 + 5)
    classifier = (4 + 5) * 10 + 10
    network = ConvNet(BRANCHED, 3, 10)
    assert sum(weight.numel() for weight in network.parameters()) == convolutions + batch_norms + classifier


def test_initial_weights_have_the_variance_that_relu_asks_for() -> None:
    network = ConvNet(ConvArchitecture((ConvLayer(3, 3, 64), ConvLayer(5, 5, 64, inputs=(0,)))), 3, 10)
    weight = network.layers[1][0].weight.detach()
    assert abs(float(weight.std()) / (2 / (64 * 5 * 5)) ** 0.5 - 1) < 0.02
    assert not network.classifier.bias.any()


def test_every_weight_of_a_branched_network_gets_a_gradient() -> None:
    network = ConvNet(BRANCHED, 3, 10)
    functional.cross_entropy(network(random_images(4, 3, 8, 6)), torch.arange(4)).backward()
    assert all(weight.grad is not None and weight.grad.any() for weight in network.parameters())


@settings(max_examples=30, deadline=None)
@given(st.data())
def test_every_architecture_of_the_space_builds_and_runs(data: st.DataObject) -> None:
    depth = data.draw(st.integers(1, 4))
    tokens = [data.draw(st.integers(0, high)) for n in range(depth) for high in (3, 3, 2**n - 1, 1)]
    space = SearchSpace("models.conv_space:conv_space", {"num_filters": (2, 3)})
    network: nn.Module = ConvNet(space.decode(depth, tokens), 1, 10)
    logits = network(random_images(2, 1, 6, 5))
    assert logits.shape == (2, 10)
    assert logits.isfinite().all()
