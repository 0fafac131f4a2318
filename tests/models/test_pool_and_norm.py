import math

import numpy as np
import pytest
import torch
from torch.nn import functional

from models.pool_and_norm import LocalContrastNorm, Pool


def random_features(*shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(0)) - 2


def plain_pooling(features: np.ndarray, kind: str, size: int, stride: int) -> np.ndarray:
    """Pooling in loops; windows are centred on every stride-th place, even ones half a place below and to the right."""
    height, width = features.shape[2:]
    reduce = np.max if kind == "max" else np.mean
    rows = []
    for centre_y in range(0, height, stride):
        row = []
        for centre_x in range(0, width, stride):
            top, left = centre_y - (size - 1) // 2, centre_x - (size - 1) // 2
            window = features[:, :, max(0, top) : top + size, max(0, left) : left + size]
            row.append(reduce(window, axis=(2, 3)))
        rows.append(np.stack(row, axis=-1))
    return np.stack(rows, axis=-2)


@pytest.mark.parametrize("kind", ["max", "average"])
@pytest.mark.parametrize(("size", "stride"), [(1, 1), (2, 1), (2, 2), (2, 3), (3, 1), (3, 2), (4, 3), (5, 2), (9, 4)])
def test_pooling_is_that_of_plain_loops_for_any_size_of_input(kind: str, size: int, stride: int) -> None:
    for height, width in [(1, 1), (1, 2), (2, 3), (4, 4), (5, 8), (9, 7)]:
        features = random_features(2, 3, height, width)
        pooled = Pool(kind, size, stride)(features)
        assert pooled.shape == (2, 3, math.ceil(height / stride), math.ceil(width / stride))
        assert np.allclose(pooled.numpy(), plain_pooling(features.numpy(), kind, size, stride), atol=1e-6)


def test_pooling_by_hand() -> None:
    features = torch.arange(9.0).view(1, 1, 3, 3)
    assert Pool("max", 2, 2)(features).tolist() == [[[[4, 5], [7, 8]]]]
    assert Pool("average", 2, 2)(features).tolist() == [[[[2, 3.5], [6.5, 8]]]]
    assert Pool("average", 3, 2)(features).tolist() == [[[[2, 3], [5, 6]]]]


def test_pooling_of_even_sizes_copies_nothing() -> None:
    features = random_features(2, 3, 8, 6)
    assert torch.equal(Pool("max", 2, 2)(features), functional.max_pool2d(features, 2))
    assert Pool("max", 2, 2)._pad(features, 0.0) is features


@pytest.mark.parametrize("kind", ["max", "average"])
def test_gradients_through_padded_pooling_are_finite(kind: str) -> None:
    features = random_features(2, 3, 3, 1).requires_grad_()
    Pool(kind, 5, 2)(features).sum().backward()
    assert features.grad is not None and features.grad.isfinite().all() and features.grad.any()


def plain_local_contrast(features: np.ndarray, window: int, epsilon: float) -> np.ndarray:
    """Jarrett et al. (2009), section 3.1, in loops over places."""
    batch, _, height, width = features.shape
    places = [(y, x) for y in range(height) for x in range(width)]
    reach = window // 2

    def local_mean(image: np.ndarray) -> np.ndarray:  # (channels, height, width) to (height, width)
        means = np.zeros((height, width))
        for y, x in places:
            total = weight_sum = 0.0
            for v, u in places:
                if abs(v - y) <= reach and abs(u - x) <= reach:
                    weight = math.exp(-((v - y) ** 2 + (u - x) ** 2) / (2 * (window / 4) ** 2))
                    total += weight * float(image[:, v, u].sum())
                    weight_sum += weight * len(image)
            means[y, x] = total / weight_sum
        return means

    normalised = np.zeros_like(features)
    for n in range(batch):
        subtracted = features[n] - local_mean(features[n])
        deviation = np.sqrt(local_mean(subtracted**2) + epsilon)
        normalised[n] = subtracted / np.maximum(deviation.mean(), deviation)
    return normalised


@pytest.mark.parametrize(("height", "width", "window"), [(11, 10, 9), (3, 2, 9), (1, 1, 9), (6, 7, 3)])
def test_local_contrast_normalisation_is_that_of_plain_loops(height: int, width: int, window: int) -> None:
    features = random_features(2, 3, height, width).double()
    features[1] *= torch.linspace(0, 3, width)  # contrast differs from place to place, so both sides of max occur
    expected = plain_local_contrast(features.numpy(), window, epsilon=1e-5)
    normalised = LocalContrastNorm(window)(features)
    assert normalised.dtype == torch.float64
    assert np.allclose(normalised.numpy(), expected, atol=1e-4)
    assert height == 1 or abs(expected).max() > 0.5


def test_the_weights_along_a_window_sum_to_one() -> None:
    norm = LocalContrastNorm()
    assert norm.get_buffer("weights").shape == (9, 1)
    assert float(norm.get_buffer("weights").sum()) == pytest.approx(1, abs=1e-6)
    assert not list(norm.parameters()) and not norm.state_dict()


def test_local_contrast_does_not_depend_on_brightness_or_strong_contrast() -> None:
    features, norm = random_features(2, 3, 12, 12), LocalContrastNorm()
    assert torch.allclose(norm(features), norm(7 * features + 5), atol=1e-3)


def test_a_constant_input_becomes_zeros_with_finite_gradients() -> None:
    features = torch.full((2, 3, 5, 5), 4.0, requires_grad=True)
    normalised = LocalContrastNorm()(features)
    assert normalised.abs().max() < 1e-3
    (normalised * random_features(2, 3, 5, 5)).sum().backward()
    assert features.grad is not None and features.grad.isfinite().all()


def test_local_contrast_is_computed_in_float32_under_autocast() -> None:
    features = random_features(2, 3, 8, 8) + 50
    with torch.autocast("cpu", torch.bfloat16):
        normalised = LocalContrastNorm()(features)
    assert torch.equal(normalised, LocalContrastNorm()(features))
    assert LocalContrastNorm()(features.bfloat16()).dtype == torch.bfloat16
