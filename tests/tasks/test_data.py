from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional

from tasks.data import Crops, ImageSplit, augment, center, load_images, random_crops, whiten
from tasks.settings import DataSettings
from tasks.splits import split_indices

CPU = torch.device("cpu")
SMALL = DataSettings(num_validation=20, num_train=50, upsample=10, crop=7)


def images_of(*shape: int) -> torch.Tensor:
    return torch.randint(256, shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def test_a_split_is_disjoint_and_of_the_sizes_asked_for() -> None:
    train, validation = split_indices(100, SMALL)
    assert (len(train), len(validation)) == (50, 20)
    assert len({*train.tolist(), *validation.tolist()}) == 70
    assert {*train.tolist(), *validation.tolist()} <= set(range(100))


def test_without_a_number_all_other_images_are_trained_on() -> None:
    train, validation = split_indices(100, replace(SMALL, num_train=None))
    assert sorted([*train, *validation]) == list(range(100))
    assert len(validation) == 20


def test_a_split_depends_on_its_seed_alone() -> None:
    train, validation = split_indices(100, SMALL)
    same = split_indices(100, replace(SMALL, upsample=12, crop=8, flip=False))
    assert np.array_equal(train, same[0])
    assert np.array_equal(validation, same[1])
    fewer = split_indices(100, replace(SMALL, num_train=30))
    assert np.array_equal(train[:30], fewer[0])
    assert np.array_equal(validation, fewer[1])
    assert set(split_indices(100, replace(SMALL, split_seed=1))[1]) != set(validation)


def test_a_split_is_not_in_the_order_of_the_images() -> None:
    train, validation = split_indices(1_000, replace(SMALL, num_validation=400, num_train=400))
    assert abs(validation.mean() - 499.5) < 60
    assert abs(train.mean() - 499.5) < 60


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (SMALL, r"num_validation 20 and data.num_train 50 ask for 70 images, but cifar10 has 69 "),
        (replace(SMALL, num_validation=69, num_train=None), r"num_train at least 1 ask for 70 images, but .* 69 "),
    ],
)
def test_too_few_images_are_an_error_that_names_the_numbers(settings: DataSettings, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        split_indices(69, settings)


def test_images_are_loaded_as_they_were_stored(tmp_path: Path) -> None:
    images, labels = images_of(100, 2, 8, 8).numpy(), np.arange(100) % 7
    np.save(tmp_path / "images.npy", images)
    np.save(tmp_path / "labels.npy", labels)
    data = load_images(str(tmp_path), SMALL, CPU)
    train, validation = split_indices(100, SMALL)
    assert (data.num_classes, data.num_channels, len(data.train), len(data.validation)) == (7, 2, 50, 20)
    assert (data.train.images.dtype, data.train.labels.dtype) == (torch.uint8, torch.int64)
    for split, indices in ((data.train, train), (data.validation, validation)):
        assert np.array_equal(split.images.numpy(), images[indices])
        assert np.array_equal(split.labels.numpy(), labels[indices])


def test_whitened_images_have_mean_0_and_variance_1_each() -> None:
    images = images_of(5, 3, 8, 8) // torch.tensor([1, 2, 4, 8, 16], dtype=torch.uint8)[:, None, None, None] + 3
    variance, mean = torch.var_mean(whiten(images), dim=(1, 2, 3), correction=0)
    assert torch.allclose(mean, torch.zeros(5), atol=1e-5)
    assert torch.allclose(variance, torch.ones(5), atol=1e-5)


def test_whitening_keeps_the_relations_between_channels() -> None:
    image = images_of(1, 3, 8, 8)
    values = image.double()
    assert torch.allclose(whiten(image).double(), (values - values.mean()) / values.std(correction=0), atol=1e-5)


def test_a_blank_image_stays_finite_when_whitened() -> None:
    images = images_of(3, 1, 4, 4)
    images[1] = 255
    whitened = whiten(images)
    assert not whitened[1].any()
    assert whitened.isfinite().all()
    assert torch.equal(whitened[0], whiten(images[:1])[0])


def test_a_split_whitens_some_of_its_images_to_the_same_bits() -> None:
    images, rows = images_of(1_100, 3, 8, 8), torch.tensor([1_099, 3, 3, 1_024, 0])
    images[3] = 255
    split = ImageSplit(images, torch.zeros(1_100, dtype=torch.int64))
    assert torch.equal(split.whitened(rows), whiten(images[rows]))


def test_augmenting_a_batch_is_augmenting_each_image() -> None:
    images = images_of(12, 3, 8, 8)
    crops = random_crops(12, SMALL, torch.Generator().manual_seed(0), CPU)
    augmented = augment(whiten(images), crops, SMALL)
    assert 0 < crops.flipped.sum() < 12
    for number, image in enumerate(images):
        values = image.float()
        white = (values - values.mean()) / values.std(correction=0)
        large = functional.interpolate(white[None], size=(10, 10), mode="bilinear")[0]
        top, left = int(crops.top[number]), int(crops.left[number])
        expected = large[:, top : top + 7, left : left + 7]
        if crops.flipped[number]:
            expected = expected.flip(-1)
        assert torch.allclose(augmented[number], expected, atol=1e-5)


def test_images_of_the_upsampled_size_are_only_cropped() -> None:
    images, settings = images_of(1, 1, 10, 10), SMALL
    crops = Crops(torch.tensor([3]), torch.tensor([0]), torch.tensor([False]))
    assert torch.equal(augment(whiten(images), crops, settings), whiten(images)[:, :, 3:10, 0:7])


def test_the_seed_decides_the_crops() -> None:
    def draw(seed: int) -> list[list[int]]:
        crops = random_crops(30, SMALL, torch.Generator().manual_seed(seed), CPU)
        return [crops.top.tolist(), crops.left.tolist(), crops.flipped.tolist()]

    assert draw(0) == draw(0)
    assert all(one != other for one, other in zip(draw(0), draw(1), strict=True))


def test_crops_reach_every_offset_and_half_of_them_are_flipped() -> None:
    crops = random_crops(4_000, SMALL, torch.Generator().manual_seed(0), CPU)
    for offsets in (crops.top, crops.left):
        counts = torch.bincount(offsets)
        assert len(counts) == 10 - 7 + 1
        assert ((counts - 1_000).abs() < 4 * (4_000 * 0.25 * 0.75) ** 0.5).all()
    assert abs(int(crops.flipped.sum()) - 2_000) < 4 * (4_000 * 0.25) ** 0.5
    assert abs(float(torch.corrcoef(torch.stack([crops.top, crops.left]).float())[0, 1])) < 0.06


def test_nothing_is_flipped_where_the_settings_say_so() -> None:
    crops = random_crops(100, replace(SMALL, flip=False), torch.Generator().manual_seed(0), CPU)
    assert not crops.flipped.any()


def test_rows_of_crops_stay_together() -> None:
    crops = random_crops(10, SMALL, torch.Generator().manual_seed(0), CPU)
    images = images_of(10, 1, 8, 8)
    assert torch.equal(augment(whiten(images[4:7]), crops[4:7], SMALL), augment(whiten(images), crops, SMALL)[4:7])


@pytest.mark.parametrize(("upsample", "crop", "edge"), [(10, 8, 1), (10, 7, 1), (8, 8, 0), (12, 4, 4)])
def test_the_centre_is_the_crop_at_equal_distance_from_all_sides(upsample: int, crop: int, edge: int) -> None:
    settings, images = replace(SMALL, upsample=upsample, crop=crop), images_of(3, 2, 8, 8)
    offsets = torch.full((3,), edge)
    expected = augment(whiten(images), Crops(offsets, offsets, torch.zeros(3, dtype=torch.bool)), settings)
    assert torch.equal(center(images, settings), expected)
    assert expected.shape == (3, 2, crop, crop)
