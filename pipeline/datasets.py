"""Find, check and decode a data set once, on the driver; workers read the prepared arrays.

A search never opens the test split: what is prepared is for training and validation alone.
"""

import hashlib
import io
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from pipeline.errors import UserError
from pipeline.files import sync_folder
from pipeline.interruption import in_good_order
from pipeline.table_data import table_source
from pipeline.text_files import text_source
from tasks.settings import DataSettings
from tasks.splits import split_indices

CIFAR10_TRAIN, CIFAR10_TEST = 50_000, 10_000
DIGITS_TRAIN = 1_437  # of 1,797; the last 360, by other writers, are left for a test
IMAGES = ("digits", "cifar10")
DIGESTS = "sha256.txt"  # of prepared arrays, beside them
HOW_TO_GET_CIFAR10 = (
    "Get cifar-10-python.tar.gz from https://www.cs.toronto.edu/~kriz/cifar.html and unpack it there,"
    " or save the splits of the Hugging Face data set uoft-cs/cifar10 there as train.parquet and test.parquet;"
    " name another folder with DATA=… or --data."
)

# of images: images (examples, channels, height, width) uint8, labels (examples,) int64
Arrays = dict[str, np.ndarray]


def prepare_data(settings: DataSettings, cache: Path) -> Path:
    """The folder with the arrays of a data set, such as images.npy and labels.npy, made now if need be.

    Raises UserError where files are missing, short or corrupt, or the settings ask for more than there is.
    """
    fingerprint, decode = _source(settings)
    folder = prepare_once(cache / f"{settings.dataset}-{fingerprint}", decode)
    if settings.dataset in IMAGES:
        labels = np.load(folder / "labels.npy", mmap_mode="r", allow_pickle=False)
        try:
            split_indices(len(labels), settings)
        except ValueError as error:
            raise UserError(str(error)) from error
    return folder


def prepare_once(folder: Path, decode: Callable[[], Arrays]) -> Path:
    """A folder with arrays, decoded now if it is not there yet. Raises UserError where it cannot be written to."""
    if not _is_whole(folder):
        arrays = decode()
        try:
            with in_good_order():  # what is half written is removed
                store_arrays(arrays, folder)
        except OSError as error:
            raise UserError(f"{folder}: cannot be written to: {error.strerror}") from error
    return folder


def _source(settings: DataSettings) -> tuple[str, Callable[[], Arrays]]:
    """A fingerprint of a data set's files, and how to decode them."""
    if settings.dataset == "digits":
        return "bundled", digits
    if settings.dataset == "table":
        return table_source(settings)
    if settings.dataset == "text":
        return text_source(settings)
    return _cifar10(Path(settings.folder or "data"))


def store_arrays(arrays: Arrays, folder: Path) -> None:
    """Write arrays, NAME.npy each, to a folder that comes into being with all of them.

    Raises OSError, and then leaves nothing behind.
    """
    aside = folder.with_name(f".{folder.name}.{os.getpid()}")
    try:
        aside.mkdir(parents=True, exist_ok=True)
        for name, array in arrays.items():
            with (aside / f"{name}.npy").open("wb") as file:
                np.save(file, array, allow_pickle=False)
                file.flush()
                os.fsync(file.fileno())
        (aside / DIGESTS).write_text(_digests(aside))
        if folder.is_dir() and not _is_whole(folder):
            shutil.rmtree(folder)  # decoded data are made of files that the user has
        aside.rename(folder)
    except OSError:
        if not _is_whole(folder):  # else another driver was faster
            raise
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    sync_folder(folder.parent)


def _is_whole(folder: Path) -> bool:
    """Whether prepared arrays are there, and as they were written."""
    try:
        return (folder / DIGESTS).read_text() == _digests(folder)
    except (OSError, UnicodeDecodeError):
        return False


def _digests(folder: Path) -> str:
    """A line for each array: its digest and name."""
    lines = []
    for path in sorted(folder.glob("*.npy")):
        with path.open("rb") as file:
            lines.append(f"{hashlib.file_digest(file, 'sha256').hexdigest()} {path.name}\n")
    return "".join(lines)


def digits(test: bool = False) -> Arrays:
    """The bundled digits to train on, or the others."""
    from sklearn.datasets import load_digits  # bundled with scikit-learn: 8×8 pixels of 17 shades of grey

    bundled = load_digits()
    part = slice(DIGITS_TRAIN, None) if test else slice(DIGITS_TRAIN)
    images = np.rint(bundled.images[part, None] * (255 / 16)).astype(np.uint8)
    return {"images": images, "labels": bundled.target[part].astype(np.int64)}


def _cifar10(folder: Path) -> tuple[str, Callable[[], Arrays]]:
    """A fingerprint of the files in a folder, Parquet or torchvision's, and how to decode them."""
    if (folder / "train.parquet").is_file():
        _check_rows(folder / "train.parquet", CIFAR10_TRAIN)
        _check_rows(folder / "test.parquet", CIFAR10_TEST)
        digest = hashlib.sha256((folder / "train.parquet").read_bytes()).hexdigest()
        return digest[:16], lambda: decode_parquet(folder / "train.parquet")
    place = hashlib.sha256(str(folder.resolve()).encode()).hexdigest()
    return f"torchvision-{place[:16]}", lambda: load_torchvision(folder)


def _check_rows(path: Path, expected: int) -> None:
    """Look at a file's footer alone."""
    if not path.is_file():
        raise UserError(f"{path}: no such file, though {path.parent}/train.parquet is there. {HOW_TO_GET_CIFAR10}")
    try:
        metadata = pq.read_metadata(path)
    except (ValueError, pa.ArrowException, OSError) as error:
        raise UserError(f"{path}: not a Parquet file, or a damaged one ({error}). {HOW_TO_GET_CIFAR10}") from error
    columns = {metadata.schema.column(index).path for index in range(metadata.num_columns)}
    if not {"img.bytes", "label"} <= columns:
        raise UserError(f"{path}: has the columns {', '.join(sorted(columns))}; looked for img.bytes and label")
    if metadata.num_rows != expected:
        raise UserError(
            f"{path}: {metadata.num_rows:,} images, but CIFAR-10 has {expected:,} there. {HOW_TO_GET_CIFAR10}"
        )


def decode_parquet(path: Path) -> Arrays:
    """A split of CIFAR-10 in the layout of the Hugging Face data set. Raises UserError, naming the row."""
    try:
        table = pq.read_table(path, columns=["img", "label"])
    except (ValueError, pa.ArrowException, OSError) as error:
        raise UserError(f"{path}: damaged ({error}). {HOW_TO_GET_CIFAR10}") from error
    _check_columns(path, table)
    labels = table["label"].to_numpy().astype(np.int64)
    if not len(labels):
        raise UserError(f"{path}: damaged (no rows). {HOW_TO_GET_CIFAR10}")
    if labels.min() < 0 or labels.max() > 9:
        raise UserError(f"{path}: labels from {labels.min()} to {labels.max()}; allowed are 0 to 9")
    images = np.empty((len(labels), 3, 32, 32), np.uint8)
    encoded = table["img"].combine_chunks().field("bytes")
    for row, content in enumerate(encoded):
        try:
            image = np.asarray(Image.open(io.BytesIO(content.as_py() or b"")).convert("RGB"))
        except (
            OSError,
            SyntaxError,
            ValueError,
            Image.DecompressionBombError,
        ) as error:  # Pillow's, for damaged files of several kinds
            raise UserError(f"{path}, row {row}: img.bytes is not an image that can be decoded ({error})") from error
        if image.shape != (32, 32, 3):
            raise UserError(
                f"{path}, row {row}: an image of {image.shape[1]}×{image.shape[0]} pixels; CIFAR-10 has 32×32"
            )
        images[row] = image.transpose(2, 0, 1)
    return {"images": images, "labels": labels}


def _check_columns(path: Path, table: pa.Table) -> None:
    img, label = table["img"].type, table["label"]
    if not pa.types.is_struct(img) or not pa.types.is_binary(img.field("bytes").type):
        raise UserError(f"{path}: column img holds {img}; looked for img.bytes, encoded images")
    if not pa.types.is_integer(label.type) or label.null_count:
        raise UserError(f"{path}: column label holds {label.type}, {label.null_count} missing; allowed are 0 to 9")


def load_torchvision(folder: Path, test: bool = False) -> Arrays:
    """A split of CIFAR-10 as torchvision keeps it, downloaded where it is missing. Raises UserError."""
    from torchvision.datasets import CIFAR10

    looked_for = f"looked for {folder}/train.parquet and {folder}/cifar-10-batches-py"
    try:
        dataset = CIFAR10(str(folder), train=not test, download=False)
    except RuntimeError:
        damaged = "damaged" if (folder / "cifar-10-batches-py").exists() else "missing"
        print(f"CIFAR-10 is {damaged} ({looked_for}): downloading it there.", flush=True)
        try:
            dataset = CIFAR10(str(folder), train=not test, download=True)
        except (RuntimeError, OSError) as error:
            found = f"CIFAR-10 is {damaged}: {looked_for}"
            raise UserError(f"{found}, and a download failed ({error}). {HOW_TO_GET_CIFAR10}") from error
    images = dataset.data.transpose(0, 3, 1, 2).copy()
    return {"images": images, "labels": np.asarray(dataset.targets, np.int64)}
