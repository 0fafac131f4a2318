from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from pipeline.datasets import prepare_data
from pipeline.errors import UserError
from pipeline.text_files import encode_file
from tasks.settings import DataSettings

TRAIN = " a b b <unk>\n b c\n"
VALIDATION = "c a\nb zebra\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A text of 8 tokens, and 6 for validation, one of which was not trained on."""
    for name, text in (("train", TRAIN), ("valid", VALIDATION), ("test", "never read \0")):
        (tmp_path / f"{name}.txt").write_text(text)
    return tmp_path


def settings(folder: Path, **values: int | str | None) -> DataSettings:
    return DataSettings(dataset="text", folder=str(folder), **{"num_validation": None, **values})


def prepared(folder: Path, **values: int | None) -> tuple[list[str], list[str], list[str]]:
    """The words trained on and validated on as the prepared numbers have them, and the vocabulary."""
    place = prepare_data(settings(folder, **values), folder / "cache")
    train, validation, words = (np.load(place / f"{name}.npy") for name in ("train", "validation", "vocabulary"))
    assert train.dtype == validation.dtype == np.int32
    return words[train].tolist(), words[validation].tolist(), words.tolist()


def test_words_are_numbered_by_frequency_and_lines_end_in_a_word(folder: Path) -> None:
    train, validation, vocabulary = prepared(folder)
    assert train == ["a", "b", "b", "<unk>", "<eos>", "b", "c", "<eos>"]
    assert validation == ["c", "a", "<eos>", "b", "<unk>", "<eos>"]
    assert vocabulary == ["b", "<eos>", "<unk>", "a", "c"]


def test_a_text_of_windows_is_read_as_any_other(folder: Path) -> None:
    before = prepared(folder)
    for name, text in (("train", TRAIN), ("valid", VALIDATION)):
        (folder / f"{name}.txt").write_bytes(b"\xef\xbb\xbf" + text.replace("\n", "\r\n").encode())
    assert prepared(folder) == before


def test_a_vocabulary_that_is_too_small_keeps_the_most_frequent_words(folder: Path) -> None:
    train, validation, vocabulary = prepared(folder, vocabulary=3)
    assert train == ["<unk>", "b", "b", "<unk>", "<eos>", "b", "<unk>", "<eos>"]
    assert validation == ["<unk>", "<unk>", "<eos>", "b", "<unk>", "<eos>"]
    assert vocabulary == ["b", "<eos>", "<unk>"]
    (folder / "train.txt").write_text("a b b\n")
    assert prepared(folder, vocabulary=2)[::2] == (["<unk>", "b", "b", "<unk>"], ["b", "<unk>"])


def test_a_text_can_be_cut(folder: Path) -> None:
    train, validation, vocabulary = prepared(folder, num_train=5, num_validation=2)
    assert train == ["a", "b", "b", "<unk>", "<eos>"]
    assert validation == ["<unk>", "a"]  # c comes later
    assert vocabulary == ["b", "<eos>", "<unk>", "a"]


def test_files_may_carry_the_name_of_their_text(folder: Path) -> None:
    before = prepared(folder)
    for name in ("train", "valid", "test"):
        (folder / f"{name}.txt").rename(folder / f"ptb.{name}.txt")
    assert prepared(folder) == before
    (folder / "train.txt").write_text("a\n")
    with pytest.raises(UserError, match=r"has ptb\.train\.txt and train\.txt; only one of them"):
        prepared(folder)


def test_a_text_is_prepared_anew_where_it_or_its_cut_has_changed(folder: Path) -> None:
    first = prepare_data(settings(folder), folder / "cache")
    assert prepare_data(settings(folder), folder / "cache") == first
    others = {prepare_data(settings(folder, **cut), folder / "cache") for cut in ({"vocabulary": 3}, {"num_train": 4})}
    (folder / "valid.txt").write_text("a\n")
    others.add(prepare_data(settings(folder), folder / "cache"))
    assert len(others - {first}) == 3


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (
            lambda folder: (folder / "valid.txt").unlink(),
            r"no file valid\.txt or NAME\.valid\.txt, such as ptb\.valid\.txt\. .*--data",
        ),
        (lambda folder: (folder / "test.txt").unlink(), r"no file test\.txt"),
        (lambda folder: (folder / "train.txt").write_text(""), r"train\.txt: has no words"),
        (lambda folder: (folder / "valid.txt").write_text(" \n\n"), r"valid\.txt: has no words"),
        (
            lambda folder: (folder / "train.txt").write_bytes(b"a b\nc \xff d\n"),
            r"train\.txt, line 2: byte 6 is not UTF-8",
        ),
        (lambda folder: (folder / "valid.txt").write_bytes(b"PAR1\0\1"), r"valid\.txt: byte 4 is zero, .* binary file"),
        (
            lambda folder: (folder / "train.txt").write_text("a b c\n"),
            r"valid\.txt, line 2: 'zebra' is not among the 4 words trained on, .*a smaller data\.vocabulary",
        ),
    ],
)
def test_files_that_are_no_text_are_named(damage: Callable[[Path], None], message: str, folder: Path) -> None:
    damage(folder)
    with pytest.raises(UserError, match=message):
        prepared(folder)
    assert not (folder / "cache").exists()


@pytest.mark.parametrize(
    ("cut", "message"),
    [
        ({"num_train": 9}, r"data\.num_train = 9: allowed is 2 to 8, the tokens of .*train\.txt"),
        ({"num_validation": 1}, r"data\.num_validation = 1: allowed is 2 to 6, the tokens of .*valid\.txt"),
    ],
)
def test_a_text_cannot_be_cut_to_more_than_it_has(cut: dict[str, int], message: str, folder: Path) -> None:
    with pytest.raises(UserError, match=message):
        prepared(folder, **cut)


def test_a_text_may_be_read_character_by_character(folder: Path) -> None:
    """Lines lose the spaces at their ends, `<unk>` is spelt out."""
    (folder / "valid.txt").write_text("b a\n")
    place = prepare_data(settings(folder, symbols="characters"), folder / "cache")
    train, validation, characters = (np.load(place / f"{name}.npy") for name in ("train", "validation", "vocabulary"))
    assert "".join(characters[train[:-1]]) == "a b b <unk><eos>b c" and characters[train[-1]] == "<eos>"
    assert characters[validation].tolist() == ["b", " ", "a", "<eos>"]
    assert prepare_data(settings(folder), folder / "cache") != place


@pytest.mark.data
def test_characters_of_penn_treebank_have_the_published_numbers(
    real_data: Callable[[str], Path], tmp_path: Path
) -> None:
    place = prepare_data(settings(real_data("ptb"), symbols="characters"), tmp_path)
    train, validation, characters = (np.load(place / f"{name}.npy") for name in ("train", "validation", "vocabulary"))
    assert (len(train), len(validation), len(characters)) == (5_017_482, 393_042, 50)
    test = encode_file(real_data("ptb") / "ptb.test.txt", characters.tolist(), "characters")
    assert len(test) == 442_423


@pytest.mark.data
def test_penn_treebank_has_the_published_numbers(real_data: Callable[[str], Path], tmp_path: Path) -> None:
    place = prepare_data(settings(real_data("ptb")), tmp_path)
    train, validation, words = (np.load(place / f"{name}.npy") for name in ("train", "validation", "vocabulary"))
    assert (len(train), len(validation), len(words)) == (929_589, 73_760, 10_000)
    assert words[:3].tolist() == ["the", "<unk>", "<eos>"]
    assert (np.diff(np.bincount(train)) <= 0).all()
