import pytest
import torch
from torch.nn import functional

from models.conv_architecture import ConvArchitecture
from models.conv_layers import ConvLayer, NormLayer, PoolLayer
from models.conv_net import ConvNet, concatenate
from models.random_policy import sample_uniformly
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


def halved(features: torch.Tensor) -> torch.Tensor:
    """Max pooling 2×2 with stride 2, a rest at the end by itself."""
    return functional.max_pool2d(features, 2, 2, ceil_mode=True)


def shapes_of_layers(network: ConvNet, images: torch.Tensor) -> list[tuple[int, ...]]:
    """Height and width of each layer's output."""
    shapes: list[tuple[int, ...]] = []
    for layer in network.layers:
        layer.register_forward_hook(lambda module, inputs, output: shapes.append(tuple(output.shape[2:])))
    network(images)
    return shapes


@torch.no_grad()
def test_strides_padding_and_loose_ends_by_hand() -> None:
    first = ConvLayer(1, 1, 1, stride_height=3, stride_width=2, batch_norm=False)
    second = ConvLayer(1, 1, 1, stride_width=3, batch_norm=False)
    third = ConvLayer(1, 1, 1, inputs=(0, 1), stride_height=2, batch_norm=False)
    fourth = ConvLayer(3, 1, 1, inputs=(0,), batch_norm=False)
    network = ConvNet(ConvArchitecture((first, second, third, fourth)), 1, 2)
    weights = ([1.0], [10.0], [1.0, 1.0], [1.0, 0.0, 0.0])  # the fourth moves its input down by a row
    for layer, weight in zip(network.layers, weights, strict=True):
        layer[0].weight.copy_(torch.tensor(weight).view_as(layer[0].weight))
    network.layers[1][0].bias.fill_(-20)
    outputs: list[list[object]] = []
    for layer in network.layers:
        layer.register_forward_hook(lambda module, inputs, output: outputs.append(output[0, 0].tolist()))
    network.classifier.weight.copy_(torch.eye(2))
    logits = network(torch.arange(16.0).view(1, 1, 4, 4))
    assert outputs[0] == [[0, 2], [12, 14]]
    assert outputs[1] == [[0, 10], [20, 50], [60, 90], [100, 130]]
    assert outputs[2] == [[0, 10], [72, 104]]  # the first, with a row of zeros above and below, and the second
    assert outputs[3] == [[0, 0], [0, 2]]
    assert logits.tolist() == [[186 / 4, 2 / 4]]


def test_a_layer_without_batch_norm_has_a_bias_that_starts_at_zero() -> None:
    layer = ConvNet(ConvArchitecture((ConvLayer(3, 3, 2, batch_norm=False),)), 3, 10).layers[0]
    assert [type(part).__name__ for part in layer] == ["Conv2d", "ReLU"]
    assert not layer[0].bias.any()
    with torch.no_grad():
        layer[0].bias.fill_(1.5)
    images = random_images(2, 3, 4, 4)
    expected = (functional.conv2d(images, layer[0].weight, padding=1) + 1.5).relu()
    assert torch.allclose(layer(images), expected, atol=1e-6)


@torch.no_grad()
def test_what_crosses_a_pooling_point_is_pooled() -> None:
    layers = (
        ConvLayer(3, 3, 2),
        ConvLayer(1, 1, 3),
        ConvLayer(3, 1, 4, inputs=(0, 1)),
        ConvLayer(1, 3, 5, inputs=(0,)),
    )
    network, images = ConvNet(ConvArchitecture(layers, pool_after=(1, 3)), 3, 10), random_images(2, 3, 9, 6)
    first = network.layers[0](images)
    second = network.layers[1](halved(images))
    third = network.layers[2](torch.cat([halved(first), second], dim=1))
    fourth = network.layers[3](halved(halved(first)))
    assert [tuple(output.shape[2:]) for output in (first, second, third, fourth)] == [(9, 6), (5, 3), (5, 3), (3, 2)]
    features = torch.cat([halved(third), fourth], dim=1).mean((2, 3))
    assert torch.allclose(network(images), network.classifier(features), atol=1e-5)


def sizes_pooled(architecture: ConvArchitecture) -> list[int]:
    """Heights of what pooling points make of outputs on images of 8×8."""
    network, sizes = ConvNet(architecture, 3, 10), []
    network.pooling_point.register_forward_hook(lambda module, inputs, output: sizes.append(output.shape[2]))
    network(random_images(2, 3, 8, 8))
    return sizes


def test_an_output_is_pooled_once_for_all_its_readers_and_not_at_all_without() -> None:
    dense = tuple(ConvLayer(1, 1, 2, inputs=tuple(range(n))) for n in range(6))
    chain = tuple(ConvLayer(1, 1, 2, inputs=tuple(range(n))[-1:]) for n in range(6))
    assert sizes_pooled(ConvArchitecture(dense, pool_after=(2, 4))) == [4] * 2 + [2] * 4
    assert sizes_pooled(ConvArchitecture(chain, pool_after=(2, 4))) == [4, 2]


def test_a_pooling_point_after_the_last_layer_is_before_the_classifier() -> None:
    network, images = (
        ConvNet(ConvArchitecture((ConvLayer(3, 3, 2),), pool_after=(1,)), 3, 10),
        random_images(2, 3, 5, 4),
    )
    expected = network.classifier(halved(network.layers[0](images)).mean((2, 3)))
    assert torch.allclose(network(images), expected, atol=1e-6)


def test_39_layers_are_32_16_and_8_pixels_wide_on_the_sides_of_their_pooling_points() -> None:
    options = {"block_size": 3, "pool_after": [13, 24], "num_filters": [1, 2]}
    paths = SearchSpace("models.conv_space:conv_space", options).paths(13, 1)
    sample_uniformly(paths, seed=0)
    network = ConvNet(paths[0].architecture, 3, 10)
    assert shapes_of_layers(network, random_images(2, 3, 32, 32)) == [(32, 32)] * 13 + [(16, 16)] * 11 + [(8, 8)] * 15


def test_other_layers_have_the_channels_of_their_inputs_together() -> None:
    layers = (
        NormLayer("batch"), PoolLayer("max", 3, 2), ConvLayer(3, 3, 4, inputs=(0, 1)),
        NormLayer("local_contrast", inputs=(1, 2)), PoolLayer("average", 2, 2, inputs=(0, 2, 3)),
    )  # fmt: skip
    network = ConvNet(ConvArchitecture(layers), 3, 10)
    assert network.classifier.in_features == 3 + 4 + (3 + 4)
    assert network.layers[2][0].in_channels == 3 + 3
    assert shapes_of_layers(network, random_images(2, 3, 7, 5)) == [(7, 5), (4, 3), (7, 5), (7, 5), (4, 3)]


def test_a_batch_normalisation_is_one_and_no_more() -> None:
    network, images = (
        ConvNet(ConvArchitecture((NormLayer("batch"),)), 3, 10, batch_norm_epsilon=0.5),
        random_images(4, 3, 5, 6),
    )
    variance, mean = torch.var_mean(images, dim=(0, 2, 3), keepdim=True, correction=0)
    assert torch.allclose(network.layers[0](images), (images - mean) / (variance + 0.5).sqrt(), atol=1e-5)


@pytest.mark.parametrize("layout", [torch.channels_last, torch.contiguous_format])
def test_gradients_reach_each_layer_without_gaps_and_with_the_same_numbers(layout: torch.memory_format) -> None:
    network = ConvNet(BRANCHED, 3, 10).to(memory_format=layout)
    images = random_images(2, 3, 8, 6).contiguous(memory_format=layout).requires_grad_()
    reached = []
    for layer in network.layers:
        layer.register_full_backward_hook(lambda module, read, written: reached.append(written[0]))
    network(images).sum().backward()
    gradients = [parameter.grad.clone() for parameter in network.parameters()]
    assert len(reached) == 4 and all(gradient.is_contiguous(memory_format=layout) for gradient in reached)

    network.zero_grad()
    first, second = network.layers[0](images), network.layers[1](images)
    third, fourth = network.layers[2](concatenate([first, second])), network.layers[3](first)
    network.classifier(concatenate([third, fourth]).mean((2, 3))).sum().backward()
    assert all(map(torch.equal, gradients, (parameter.grad for parameter in network.parameters())))
