"""Sentences and their translations in plain files, a sentence a line, as the numbers of their words (section 4.2)."""

import hashlib
import io
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from models.beam_search import END as END_NUMBER
from pipeline.errors import UserError
from pipeline.text_files import END, UNKNOWN, decode_lines
from tasks.translation_settings import TranslationSettings

UNKNOWN_NUMBER = 1
SPACE = "\u2581"  # how subwords write the space before a word
SIDES = ("source", "target")
SPLITS = {"train": ("train",), "validation": ("val", "valid", "validation", "dev"), "test": ("test*",)}
Encode = Callable[[Sequence[str]], list[list[int]]]


@dataclass(frozen=True)
class ParallelFiles:
    """A folder with train.LANGUAGE, val.LANGUAGE and test.LANGUAGE of two languages; the test's name may go on."""

    folder: Path
    source: str  # the ending of the files in the language that is translated
    target: str  # of those in the other

    def paths(self, split: str) -> tuple[Path, Path]:
        """The files of a split. Raises UserError where there are none or several."""
        return self._find(split, self.source), self._find(split, self.target)

    def lines(self, split: str) -> tuple[list[str], list[str]]:
        """The sentences of a split, their words with one space between. Raises UserError for files that do not fit."""
        paths = self.paths(split)
        source, target = ([" ".join(line.split()) for line in decode_lines(path, path.read_bytes())] for path in paths)
        if len(source) != len(target):
            raise UserError(
                f"{paths[0]} has {len(source):,} lines and {paths[1]} {len(target):,}; line by line they must be"
                " translations of each other"
            )
        for path, lines in zip(paths, (source, target), strict=True):
            if not any(lines):
                raise UserError(f"{path}: has no words")
        return source, target

    def _find(self, split: str, language: str) -> Path:
        names = [f"{name}.{language}" for name in SPLITS[split]]
        found = sorted({path for name in names for path in self.folder.glob(name)})
        if len(found) != 1:
            what = " and ".join(path.name for path in found) if found else "none"
            raise UserError(f"{self.folder}: looked for one file {' or '.join(names)} and found {what}")
        return found[0]


def parallel_source(
    files: ParallelFiles, settings: TranslationSettings
) -> tuple[str, Callable[[], dict[str, np.ndarray]]]:
    """A fingerprint of two languages' files and how they are cut, and how to turn them into arrays.

    The arrays are those that `tasks.parallel_data` reads. The test files have to be there, but are not opened.
    """
    train, validation, _ = (files.paths(split) for split in SPLITS)
    contents = [path.read_bytes() for path in (*train, *validation)]
    cut = (settings.symbols, settings.vocabulary, settings.num_train, settings.max_words, *map(len, contents))
    digest = hashlib.sha256(repr(cut).encode() + b"".join(contents)).hexdigest()
    return digest[:16], lambda: _encode(files, settings)


def encode_split(files: ParallelFiles, split: str, prepared: Path) -> dict[str, np.ndarray]:
    """The arrays of a split by the vocabularies of prepared ones."""
    arrays: dict[str, np.ndarray] = {}
    for side, lines in zip(SIDES, files.lines(split), strict=True):
        parts = {
            name: np.load(prepared / f"{side}_{name}.npy", allow_pickle=False) for name in ("vocabulary", "subwords")
        }
        arrays |= _flat(f"{split}_{side}", _encoder(parts)(lines))
    return arrays


def sentence_of(words: Iterable[int], vocabulary: Sequence[str], symbols: str) -> str:
    """The sentence that the numbers of words or subwords spell."""
    pieces = [vocabulary[word] for word in words]
    return " ".join(pieces) if symbols == "words" else "".join(pieces).replace(SPACE, " ").strip()


def _encode(files: ParallelFiles, settings: TranslationSettings) -> dict[str, np.ndarray]:
    lines = files.lines("train")
    if settings.num_train is not None and settings.num_train > len(lines[0]):
        raise UserError(
            f"translation.num_train = {settings.num_train}: allowed is 1 to {len(lines[0])}, the pairs of"
            f" {files.paths('train')[0]}"
        )
    trained_on = [side[: settings.num_train] for side in lines]
    arrays: dict[str, np.ndarray] = {}
    numbers = {}
    for side, language, sentences in zip(SIDES, (files.source, files.target), trained_on, strict=True):
        parts = _vocabulary(sentences, settings, language)
        numbers[side] = _encoder(parts)(sentences)
        arrays |= {f"{side}_{name}": array for name, array in parts.items()}
    fitting = [
        number
        for number, pair in enumerate(zip(*numbers.values(), strict=True))
        if all(0 < len(side) <= settings.max_words for side in pair)
    ]
    if not fitting:
        raise UserError(f"translation.max_words = {settings.max_words}: no pair to train on has so few words")
    for side in SIDES:
        arrays |= _flat(f"train_{side}", [numbers[side][number] for number in fitting])
    for side, sentences in zip(SIDES, files.lines("validation"), strict=True):
        parts = {name: arrays[f"{side}_{name}"] for name in ("vocabulary", "subwords")}
        arrays |= _flat(f"validation_{side}", _encoder(parts)(sentences))
    return arrays


def _vocabulary(lines: Sequence[str], settings: TranslationSettings, language: str) -> dict[str, np.ndarray]:
    """The vocabulary (words,), the end and the unknown first, and of subwords the model that cuts words (bytes,)."""
    if settings.symbols == "words":
        counts = Counter(word for line in lines for word in line.split())
        ranked = sorted(counts.keys() - {END, UNKNOWN}, key=lambda word: (-counts[word], word))
        words = [END, UNKNOWN, *ranked[: settings.vocabulary - 2]]
        return {"vocabulary": np.array(words, np.str_), "subwords": np.zeros(0, np.uint8)}
    import sentencepiece

    model = io.BytesIO()
    try:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(lines), model_writer=model, model_type="bpe", vocab_size=settings.vocabulary,
            character_coverage=1.0, eos_id=END_NUMBER, unk_id=UNKNOWN_NUMBER, bos_id=-1, pad_id=-1,
            eos_piece=END, unk_piece=UNKNOWN, num_threads=1, minloglevel=2,
        )  # fmt: skip
    except RuntimeError as error:
        raise UserError(
            f"translation.vocabulary = {settings.vocabulary}: no such subwords of {language} ({error})"
        ) from error
    processor = sentencepiece.SentencePieceProcessor(model_proto=model.getvalue())
    pieces = [processor.id_to_piece(number) for number in range(processor.get_piece_size())]
    return {"vocabulary": np.array(pieces, np.str_), "subwords": np.frombuffer(model.getvalue(), np.uint8)}


def _encoder(parts: dict[str, np.ndarray]) -> Encode:
    """What turns sentences into numbers, by a vocabulary as `_vocabulary` makes it."""
    if len(parts["subwords"]):
        import sentencepiece

        processor = sentencepiece.SentencePieceProcessor(model_proto=parts["subwords"].tobytes())
        return lambda lines: processor.encode(list(lines), num_threads=1)
    numbers = {word: number for number, word in enumerate(parts["vocabulary"].tolist()) if number != END_NUMBER}
    return lambda lines: [[numbers.get(word, UNKNOWN_NUMBER) for word in line.split()] for line in lines]


def _flat(name: str, sentences: Sequence[Sequence[int]]) -> dict[str, np.ndarray]:
    """Sentences one after the other (words,), and where each ends (sentences,)."""
    words = [number for sentence in sentences for number in sentence]
    ends = np.cumsum([len(sentence) for sentence in sentences])
    return {name: np.array(words, np.int32), f"{name}_ends": ends.astype(np.int64)}
