"""Sentences and their translations as numbers, and what is said of files that do not fit."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from pipeline.errors import UserError
from pipeline.parallel_files import ParallelFiles, encode_split, parallel_source, sentence_of
from tasks.translation_settings import TranslationSettings

FILES = {
    "train.en": "a dog  runs\na cat\n\nthe dog sleeps long and well\n",
    "train.de": "ein hund rennt\neine katze\nleer\nder hund schläft lange und gut\n",
    "val.en": "the cat runs\na <eos>\n",
    "val.de": "die katze rennt\nein\n",
    "test_2016.en": "a dog\n",
    "test_2016.de": "ein hund\n",
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, text in FILES.items():
        (tmp_path / name).write_text(text)
    return tmp_path


def encoded(folder: Path, **settings: object) -> dict[str, np.ndarray]:
    return parallel_source(ParallelFiles(folder, "en", "de"), TranslationSettings(**settings))[1]()  # type: ignore[arg-type]


def told(arrays: dict[str, np.ndarray], split: str, side: str, symbols: str = "words") -> list[str]:
    """The sentences that numbers spell."""
    vocabulary = arrays[f"{side}_vocabulary"].tolist()
    parts = np.split(arrays[f"{split}_{side}"], arrays[f"{split}_{side}_ends"][:-1])
    return [sentence_of(part.tolist(), vocabulary, symbols) for part in parts]


def test_words_are_numbered_and_pairs_with_an_empty_side_are_left_out(folder: Path) -> None:
    arrays = encoded(folder)
    assert arrays["source_vocabulary"].tolist()[:4] == ["<eos>", "<unk>", "a", "dog"]
    assert told(arrays, "train", "source") == ["a dog runs", "a cat", "the dog sleeps long and well"]
    assert told(arrays, "train", "target") == ["ein hund rennt", "eine katze", "der hund schläft lange und gut"]
    assert told(arrays, "validation", "source") == ["the cat runs", "a <unk>"]
    assert told(arrays, "validation", "target") == ["<unk> katze rennt", "ein"]


def test_a_small_vocabulary_keeps_frequent_words_and_long_sentences_are_left_out(folder: Path) -> None:
    arrays = encoded(folder, vocabulary=4, max_words=3)
    assert told(arrays, "train", "source") == ["a dog <unk>", "a <unk>"]
    assert told(encoded(folder, num_train=1), "train", "target") == ["ein hund rennt"]


def test_the_test_is_encoded_by_the_vocabulary_of_the_training(folder: Path) -> None:
    files = ParallelFiles(folder, "en", "de")
    for name, array in parallel_source(files, TranslationSettings())[1]().items():
        np.save(folder / f"{name}.npy", array)
    arrays = encode_split(files, "test", folder)
    vocabularies = {name: np.load(folder / f"{name}.npy") for name in ("source_vocabulary", "target_vocabulary")}
    assert told({**arrays, **vocabularies}, "test", "source") == ["a dog"]
    assert told({**arrays, **vocabularies}, "test", "target") == ["ein hund"]


def test_subwords_spell_every_sentence(folder: Path) -> None:
    (folder / "train.en").write_text(FILES["train.en"] * 3)
    (folder / "train.de").write_text(FILES["train.de"] * 3)
    arrays = encoded(folder, symbols="subwords", vocabulary=40)
    assert arrays["target_vocabulary"].tolist()[:2] == ["<eos>", "<unk>"]
    assert told(arrays, "train", "target", "subwords")[2] == "der hund schläft lange und gut"
    assert told(arrays, "validation", "source", "subwords")[0] == "the cat runs"
    again = encoded(folder, symbols="subwords", vocabulary=40)
    assert all(np.array_equal(arrays[name], again[name]) for name in arrays)
    with pytest.raises(UserError, match=r"translation\.vocabulary = 3000: no such subwords of en"):
        encoded(folder, symbols="subwords", vocabulary=3_000)


def test_other_files_and_other_cuts_have_another_fingerprint(folder: Path) -> None:
    files = ParallelFiles(folder, "en", "de")
    fingerprints = {parallel_source(files, TranslationSettings(max_words=count))[0] for count in (5, 5, 6)}
    (folder / "val.de").write_text("die katze\nein\n")
    fingerprints.add(parallel_source(files, TranslationSettings(max_words=5))[0])
    assert len(fingerprints) == 3


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (
            lambda folder: (folder / "train.de").write_text("ein hund\n"),
            r"train\.en has 4 lines and .*train\.de 1; line by line",
        ),
        (lambda folder: (folder / "val.en").write_text("\n \n"), r"val\.en: has no words"),
        (
            lambda folder: ((folder / "val.en").write_text(""), (folder / "val.de").write_text("")),
            r"val\.en: has no words",
        ),
        (lambda folder: (folder / "train.en").write_bytes(b"a\nb \xff\n"), r"train\.en, line 2: byte 4 is not UTF-8"),
        (lambda folder: (folder / "val.de").write_bytes(b"a\0"), r"val\.de: byte 1 is zero"),
        (lambda folder: (folder / "train.de").unlink(), r"looked for one file train\.de and found none"),
        (lambda folder: (folder / "test_2016.de").unlink(), r"looked for one file test\*\.de and found none"),
        (
            lambda folder: (folder / "dev.en").write_text("a\n"),
            r"val\.en or valid\.en or validation\.en or dev\.en and found dev\.en and val\.en",
        ),
    ],
)
def test_files_that_do_not_fit_are_named(damage: Callable[[Path], None], message: str, folder: Path) -> None:
    damage(folder)
    with pytest.raises(UserError, match=message):
        encoded(folder)


def test_a_text_cannot_be_cut_to_more_than_it_has(folder: Path) -> None:
    with pytest.raises(UserError, match=r"translation\.num_train = 5: allowed is 1 to 4, the pairs of .*train\.en"):
        encoded(folder, num_train=5)
    with pytest.raises(UserError, match=r"translation\.max_words = 1: no pair to train on has so few words"):
        encoded(folder, max_words=1)
