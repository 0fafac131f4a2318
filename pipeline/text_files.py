"""A text in three plain files (section 4.2: Penn Treebank), as the numbers of its words."""

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pipeline.errors import UserError
from tasks.settings import DataSettings

BYTE_ORDER_MARK = "\ufeff"  # which Windows puts before a text
END, UNKNOWN = "<eos>", "<unk>"  # the end of a line, and a word that the vocabulary lacks
HOW_TO_GET_PTB = (
    "Tomas Mikolov's copy of the Penn Treebank, simple-examples.tgz, has such files in its folder data;"
    " name another folder with DATA=… or --data."
)


@dataclass(frozen=True)
class _Text:
    """The words of a file, each line's end as one of them."""

    path: Path
    words: list[str]

    def first(self, count: int | None, setting: str) -> list[str]:
        """The first words, or all. Raises UserError where there are fewer."""
        if count is not None and not 2 <= count <= len(self.words):
            raise UserError(f"{setting} = {count}: allowed is 2 to {len(self.words)}, the tokens of {self.path}")
        return self.words[:count]


def text_source(settings: DataSettings) -> tuple[str, Callable[[], dict[str, np.ndarray]]]:
    """A fingerprint of a text and of how it is cut, and how to turn it into arrays for `tasks.text_data`.

    The test file has to be there, but is not opened. Raises UserError, naming the file and the place in it.
    """
    folder = Path(settings.folder or "data")
    train, validation, _ = (find_split(folder, split) for split in ("train", "valid", "test"))
    contents = [path.read_bytes() for path in (train, validation)]
    cut = (settings.symbols, settings.vocabulary, settings.num_train, settings.num_validation, *map(len, contents))
    digest = hashlib.sha256(repr(cut).encode() + b"".join(contents)).hexdigest()

    def encode() -> dict[str, np.ndarray]:
        return _encode(
            _read(train, contents[0], settings.symbols), _read(validation, contents[1], settings.symbols), settings
        )

    return digest[:16], encode


def find_split(folder: Path, split: str) -> Path:
    """The file `train.txt` or `ANYTHING.train.txt` of a folder."""
    found = sorted({*folder.glob(f"{split}.txt"), *folder.glob(f"*.{split}.txt")})
    if len(found) > 1:
        raise UserError(f"{folder}: has {' and '.join(path.name for path in found)}; only one of them may be there")
    if not found:
        raise UserError(f"{folder}: no file {split}.txt or NAME.{split}.txt, such as ptb.{split}.txt. {HOW_TO_GET_PTB}")
    return found[0]


def _read(path: Path, content: bytes, symbols: str) -> _Text:
    """The words of a text, or its characters: those of each line without the spaces at both ends."""
    lines = decode_lines(path, content)
    split = str.split if symbols == "words" else (lambda line: list(line.strip()))
    words = [word for line in lines for word in (*split(line), END)]
    if len(words) == len(lines):
        raise UserError(f"{path}: has no words")
    return _Text(path, words)


def decode_lines(path: Path, content: bytes) -> list[str]:
    """The lines of a text file in UTF-8. Raises UserError, naming the file and the place in it."""
    if (place := content.find(b"\0")) >= 0:
        raise UserError(f"{path}: byte {place} is zero, so it is a binary file; looked for plain text in UTF-8")
    try:
        return content.decode().removeprefix(BYTE_ORDER_MARK).removesuffix("\n").split("\n")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise UserError(f"{path}, line {line}: byte {error.start} is not UTF-8 ({error.reason})") from error


def _encode(train: _Text, validation: _Text, settings: DataSettings) -> dict[str, np.ndarray]:
    """train and validation (tokens,) in int32, and the vocabulary (words,), the most frequent first."""
    trained_on = train.first(settings.num_train, "data.num_train")
    vocabulary = _vocabulary(trained_on, settings.vocabulary)
    validated_on = validation.first(settings.num_validation, "data.num_validation")
    return {
        "train": _numbered(train.path, trained_on, vocabulary),
        "validation": _numbered(validation.path, validated_on, vocabulary),
        "vocabulary": np.array(vocabulary, np.str_),
    }


def encode_file(path: Path, vocabulary: Sequence[str], symbols: str = "words") -> np.ndarray:
    """The words of a file as numbers (tokens,) in int32 of a vocabulary (words,). Raises UserError as above."""
    return _numbered(path, _read(path, path.read_bytes(), symbols).words, vocabulary)


def _numbered(path: Path, words: Sequence[str], vocabulary: Sequence[str]) -> np.ndarray:
    numbers = {word: number for number, word in enumerate(vocabulary)}
    for place, word in enumerate(words):
        if word not in numbers and UNKNOWN not in numbers:
            line = words[:place].count(END) + 1
            raise UserError(
                f"{path}, line {line}: {word!r} is not among the {len(numbers):,} words trained on, and"
                f" there is no {UNKNOWN} to stand for it; a smaller data.vocabulary makes one"
            )
    unknown = numbers.get(UNKNOWN, -1)
    return np.array([numbers.get(word, unknown) for word in words], np.int32)


def _vocabulary(words: Iterable[str], size: int | None) -> list[str]:
    """The most frequent words first, equals in alphabetical order; of a size too small for all the last is `<unk>`."""
    counts = Counter(words)
    ranked = sorted(counts, key=lambda word: (-counts[word], word))
    if size is None or size >= len(ranked):
        return ranked
    return [*[word for word in ranked if word != UNKNOWN][: size - 1], UNKNOWN]
