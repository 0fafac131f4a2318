import io
import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image
from torchvision.datasets import CIFAR10

from pipeline.datasets import prepare_data
from pipeline.errors import UserError
from tasks.settings import DataSettings


def encoded(image: np.ndarray, form: str = "PNG") -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, form)
    return buffer.getvalue()


def write_split(path: Path, images: list[bytes], labels: list[int]) -> None:
    table = {"img": [{"bytes": image, "path": None} for image in images], "label": labels}
    kind = pa.struct({"bytes": pa.binary(), "path": pa.string()})
    pq.write_table(pa.table(table, schema=pa.schema({"img": kind, "label": pa.int64()})), path)


@pytest.fixture
def cifar_folder(tmp_path: Path, random_image: np.ndarray) -> Path:
    """CIFAR-10's layout and numbers, with one image in all places."""
    image = encoded(random_image)
    write_split(tmp_path / "train.parquet", [image] * 50_000, [row % 10 for row in range(50_000)])
    write_split(tmp_path / "test.parquet", [image] * 10_000, [0] * 10_000)
    return tmp_path


def settings(folder: Path, **values: int) -> DataSettings:
    return DataSettings(dataset="cifar10", folder=str(folder), **values)


def test_parquet_images_are_decoded_once_in_their_order(cifar_folder: Path, random_image: np.ndarray) -> None:
    prepared = prepare_data(settings(cifar_folder), cifar_folder / "cache")
    images, labels = np.load(prepared / "images.npy", mmap_mode="r"), np.load(prepared / "labels.npy")
    assert images.shape == (50_000, 3, 32, 32) and images.dtype == np.uint8
    assert (images[49_999] == random_image.transpose(2, 0, 1)).all()
    assert labels[:12].tolist() == [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 0, 1]
    before = (prepared / "images.npy").stat().st_mtime_ns
    assert prepare_data(settings(cifar_folder), cifar_folder / "cache") == prepared
    assert (prepared / "images.npy").stat().st_mtime_ns == before


def test_more_images_than_there_are_is_an_error(cifar_folder: Path) -> None:
    with pytest.raises(UserError, match="ask for 50001 images, but cifar10 has 50000"):
        prepare_data(settings(cifar_folder, num_train=45_001), cifar_folder / "cache")


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda folder, image: (folder / "test.parquet").unlink(), r"test\.parquet: no such file.*Get cifar-10-python"),
        (
            lambda folder, image: write_split(folder / "train.parquet", [image], [1]),
            r"train\.parquet: 1 images, but .*50,000",
        ),
        (
            lambda folder, image: (folder / "train.parquet").write_bytes(b"PAR1 no"),
            r"train\.parquet: not a Parquet file",
        ),
        (
            lambda folder, image: (folder / "train.parquet").write_bytes(
                (folder / "train.parquet").read_bytes()[:5_000]
            ),
            r"train\.parquet: not a Parquet file, or a damaged one",
        ),
        (
            lambda folder, image: pq.write_table(pa.table({"image": [1]}), folder / "train.parquet"),
            r"has the columns image; looked for img.bytes and label",
        ),
        (
            lambda folder, image: write_split(folder / "train.parquet", [image, b"GIF?"] * 25_000, [1] * 50_000),
            r"train\.parquet, row 1: img\.bytes is not an image that can be decoded",
        ),
        (
            lambda folder, image: write_split(folder / "train.parquet", [image, b""] * 25_000, [1] * 50_000),
            r"train\.parquet, row 1: img\.bytes is not an image that can be decoded",
        ),
        (
            lambda folder, image: write_split(
                folder / "train.parquet", [encoded(np.zeros((8, 16, 3), np.uint8))] * 50_000, [1] * 50_000
            ),
            r"train\.parquet, row 0: an image of 16×8 pixels; CIFAR-10 has 32×32",
        ),
        (
            lambda folder, image: write_split(folder / "train.parquet", [image] * 50_000, [10] * 50_000),
            r"train\.parquet: labels from 10 to 10; allowed are 0 to 9",
        ),
    ],
)
def test_files_that_are_not_cifar10_are_named(
    damage: Callable[[Path, bytes], None], message: str, cifar_folder: Path, random_image: np.ndarray
) -> None:
    damage(cifar_folder, encoded(random_image))
    with pytest.raises(UserError, match=message):
        prepare_data(settings(cifar_folder), cifar_folder / "cache")
    assert not [path for path in (cifar_folder / "cache").glob("*") if not path.name.startswith(".")]


def test_a_missing_data_set_that_cannot_be_downloaded_says_how_to_get_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(CIFAR10, "url", "http://127.0.0.1:9/cifar-10-python.tar.gz")  # nothing listens there
    with pytest.raises(UserError) as caught:
        prepare_data(settings(tmp_path / "nowhere"), tmp_path)
    message = str(caught.value)
    assert f"missing: looked for {tmp_path}/nowhere/train.parquet and {tmp_path}/nowhere/cifar-10-batches-py" in message
    assert "a download failed" in message and "https://www.cs.toronto.edu/~kriz/cifar.html" in message


def test_torchvisions_folder_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import hashlib

    folder = tmp_path / "cifar-10-batches-py"
    folder.mkdir()
    data = np.random.default_rng(1).integers(0, 256, (10, 3_072), dtype=np.uint8)
    content = pickle.dumps({"data": data, "labels": list(range(10))})
    names = ["data_batch_1", "data_batch_2", "test_batch"]
    for name in names:
        (folder / name).write_bytes(content)
    (folder / "batches.meta").write_bytes(pickle.dumps({"label_names": list("abcdefghij")}))
    digest = hashlib.md5(content).hexdigest()
    monkeypatch.setattr(CIFAR10, "train_list", [[name, digest] for name in names[:2]])
    monkeypatch.setattr(CIFAR10, "test_list", [[names[2], digest]])
    meta = hashlib.md5((folder / "batches.meta").read_bytes()).hexdigest()
    monkeypatch.setattr(CIFAR10, "meta", {"filename": "batches.meta", "key": "label_names", "md5": meta})
    prepared = prepare_data(settings(tmp_path, num_validation=5), tmp_path / "cache")
    images = np.load(prepared / "images.npy")
    assert (images.reshape(20, 3_072) == np.concatenate([data, data])).all()


def test_digits_leave_the_last_360_for_a_test(tmp_path: Path) -> None:
    from sklearn.datasets import load_digits

    prepared = prepare_data(DataSettings(dataset="digits", num_validation=100), tmp_path)
    images = np.load(prepared / "images.npy")
    assert images.shape == (1_437, 1, 8, 8) and images.max() == 255
    assert (np.rint(images[:, 0] / (255 / 16)) == load_digits().images[:1_437]).all()


@pytest.mark.data
def test_the_real_cifar10_is_decoded(real_data: Callable[[str], Path], tmp_path: Path) -> None:
    prepared = prepare_data(settings(real_data("cifar10")), tmp_path)
    images, labels = np.load(prepared / "images.npy", mmap_mode="r"), np.load(prepared / "labels.npy")
    assert np.bincount(labels).tolist() == [5_000] * 10
    means = images[:5_000].mean(axis=(0, 2, 3)) / 255
    assert means == pytest.approx([0.491, 0.482, 0.447], abs=0.02)  # the published channel means
