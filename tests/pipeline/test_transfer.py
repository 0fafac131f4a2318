"""Transfers from the command line: a cell against an LSTM, on characters and in translation."""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from conftest import type_in

from models.language_model import count_parameters
from models.presets import nascell
from pipeline.checks import check_configuration
from pipeline.configuration import override
from pipeline.errors import UserError
from pipeline.experiments import ptb, ptb_small
from pipeline.transfer import add_test, bits
from pipeline.transfer_characters import for_characters
from pipeline.transfer_translation import bleu, for_translation
from tasks.language_child import hidden_units_of
from tasks.settings import LanguageSettings

LINES = [
    " ".join("abcdefghijkl"[(7 * line + 5 * place**2) % 12] for place in range(1 + line % 4)) for line in range(24)
]
TEXT = "".join(f"{line}\n" for line in LINES)
LETTERS = [
    f"--set={setting}"
    for setting in (
        "language.parameters=1500", "language.embedding_size=4", "language.epochs=3", "language.batch_size=4",
        "language.steps=10", "language.init_range=0.2", "language.learning_rate=0.03", "cluster.workers=1",
        "cluster.processes=false", "child.precision=float32",
    )
]  # fmt: skip
PAIRS = [
    f"--set={setting}"
    for setting in (
        "translation.encoder_layers=1", "translation.decoder_layers=1", "translation.hidden_units=8",
        "translation.embedding_size=6", "translation.epochs=3", "translation.learning_rate=0.02",
        "translation.batch_size=4", "translation.beam_width=2", "translation.init_range=0.3",
        "cluster.workers=1", "cluster.processes=false", "child.precision=float32",
    )
]  # fmt: skip
CHANCE = ["seconds", "worker", "ended_at", "test_opened_at"]  # what may differ between equal trainings


@pytest.fixture
def text(tmp_path: Path) -> Path:
    """Two languages, and a text for characters, in one folder."""
    for split in ("train", "valid", "test"):
        (tmp_path / f"{split}.txt").write_text(TEXT)
        (tmp_path / f"{split}.en").write_text(TEXT)
        (tmp_path / f"{split}.de").write_text(TEXT.upper())
    return tmp_path


def table(folder: Path, name: str) -> pd.DataFrame:
    return pd.read_parquet(folder / name).sort_values("training", ignore_index=True)


def test_characters_are_told_in_bits_and_tested_once(text: Path) -> None:
    folder = text / "run"
    command = ["transfer", "characters", folder, "--cell", "nascell", "--data", text, *LETTERS]
    output = type_in(*command)
    rows = table(folder, "transfer_characters")
    assert rows.cell.tolist() == ["NASCell", "LSTM"] and (rows.status == "ok").all()
    assert rows.validation_bits.tolist() == pytest.approx([math.log2(metric) for metric in rows.metric])
    assert rows.test_bits.tolist() == pytest.approx(rows.validation_bits.tolist(), rel=1e-5)  # the texts are equal
    assert rows.parameters.max() / rows.parameters.min() < 1.15
    assert f"NASCell, {rows.parameters[0]:,} parameters: validation {rows.validation_bits[0]:.3f}" in output
    assert (folder / "report" / "transfer_characters.txt").read_text() in output
    assert len(pd.read_parquet(folder / "transfer_characters_epochs")) == 6
    assert not (folder / "test-split").exists() and not list((folder / "children").iterdir())
    (text / "test.txt").write_text("never read again \0")
    assert f"{rows.test_bits[0]:.3f}" in type_in(*command)
    pd.testing.assert_frame_equal(table(folder, "transfer_characters"), rows)


def test_a_translation_is_told_in_bleu_and_can_be_read(text: Path) -> None:
    folder = text / "run"
    (text / "cell.json").write_text(json.dumps(nascell().to_json()))
    command = ["transfer", "translation", folder, "--cell", text / "cell.json", "--data", text, *PAIRS]
    output = type_in(*command)
    rows = table(folder, "transfer_translation")
    assert rows.cell.tolist() == ["cell", "LSTM"] and (rows.status == "ok").all()
    assert "BLEU from en to de" in output and "tok:none" in rows.signature[0]
    for row in rows.itertuples():
        told = (folder / row.translations / "test.de").read_text().splitlines()
        assert len(told) == len(LINES)
        assert row.test_bleu == pytest.approx(bleu(told, (text / "test.de").read_text().splitlines())[0])
        assert row.validation_bleu == row.test_bleu  # the sentences are equal
        assert row.test_loss == pytest.approx(math.log(row.metric), rel=1e-5)
    again = text / "again"
    type_in(*command[:2], again, *command[3:])
    other = table(again, "transfer_translation").drop(columns=CHANCE)
    pd.testing.assert_frame_equal(other, rows.drop(columns=CHANCE), check_exact=True)
    assert type_in(*command).endswith(output.partition("BLEU")[2])  # nothing is trained or tested again


def test_subwords_are_put_together_again_and_bleu_counts_as_it_is_told(text: Path) -> None:
    folder = text / "run"
    settings = ("symbols=subwords", "vocabulary=12", "bleu=13a", "epochs=20")
    subwords = [f"--set=translation.{setting}" for setting in settings]
    for split in ("train", "valid", "test"):
        (text / f"{split}.en").write_text("ring sing\n" * 12)
        (text / f"{split}.de").write_text("ren sen.\n" * 12)
    output = type_in("transfer", "translation", folder, "--cell", "lstm", "--data", text, *PAIRS, *subwords)
    (row,) = table(folder, "transfer_translation").to_dict("records")
    assert row["status"] == "ok" and "tok:13a" in row["signature"] and "of sacrebleu's words" in output
    told = (folder / row["translations"] / "test.de").read_text()
    assert told == "ren sen.\n" * 12
    (vocabulary,) = folder.parent.glob(".prepared/pairs-*/target_vocabulary.npy")
    pieces = np.load(vocabulary)
    assert len(pieces) == 12 and any(len(piece.strip("\u2581")) > 1 for piece in pieces[2:])


def test_the_best_cell_of_a_search_is_transferred(text: Path) -> None:
    settings = ["language.hidden_units=4", "language.learning_rate=0.1", "cluster.workers=1", "cluster.processes=false"]
    settings += ["search.control=none", "data.vocabulary=none", "data.num_train=none", "data.num_validation=none"]
    sets = [f"--set={setting}" for setting in settings]
    type_in("run", "--experiment", "ptb_small", "--run", text / "run", "--data", text, "--samples", "4", *sets)
    type_in("transfer", "characters", text / "run", *LETTERS[:-3])
    rows = table(text / "run", "transfer_characters")
    results = pd.read_parquet(text / "run" / "results").merge(pd.read_parquet(text / "run" / "samples"), on="trial_id")
    best = results.loc[results.reward.idxmax()]
    assert rows.cell[0] == f"trial {best.trial_id}" and rows.architecture[0] == best.architecture
    type_in("report", text / "run")
    page = (text / "run/report/report.html").read_text()
    assert "Table 3: characters of Penn Treebank" in page and "this run, LSTM" in page
    assert all(f"{figure:.3f}" in page for figure in (*rows.test_bits, 1.214))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["characters", "run"], "no run there"),
        (["characters", "run", "--cell", "gru"], "--cell gru: allowed are nascell, lstm, rnn and a JSON file"),
        (["characters", "run", "--cell", "train.txt"], "train.txt: not a cell as JSON"),
        (["characters", "run", "--cell", "lstm", "--size", "huge"], "--size huge: allowed are small, large"),
        (["translation", "run", "--cell", "lstm", "--data", ".", "--target", "fr"], "train.fr and found none"),
        (
            ["translation", "run", "--cell", "lstm", "--data", ".", "--set", "translation.dropout=1.5"],
            "translation.dropout",
        ),
        (
            ["translation", "run", "--cell", "lstm", "--data", ".", "--set", "child.epochs=3"],
            "child.epochs = 3 means nothing",
        ),
        (
            ["translation", "run", "--cell", "lstm", "--data", ".", "--set", "language.epochs=3"],
            "language.epochs = 3 means nothing",
        ),
        (
            ["translation", "run", "--cell", "lstm", "--data", ".", "--set", "data.num_train=9"],
            "data.num_train = 9 means nothing",
        ),
        (
            ["translation", "run", "--cell", "lstm", "--data", ".", "--set", "translation.bleu=zh"],
            "translation.bleu = 'zh'",
        ),
        (
            ["translation", "run", "--cell", "lstm", "--data", ".", "--set", "search.samples=9"],
            "search: a transfer looks at translation, child, retries, cluster and search.seed alone",
        ),
        (
            ["characters", "run", "--cell", "lstm", "--data", ".", "--set", "translation.epochs=9"],
            "translation: a transfer looks at language, data, child",
        ),
    ],
)
def test_what_cannot_be_is_said(
    arguments: list[str], message: str, text: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(text)
    assert message in " ".join(type_in("transfer", *arguments, expected=2).split())


UNTESTED = {"status": "ok", "test_opened_at": None, "validation_bits": None, "test_bits": None}


class Recorder:
    """Takes the place of a stage's table, with what each evaluation finds in it."""

    def __init__(self) -> None:
        self.rows: list[dict[str, Any]] = []

    def record(self, row: dict[str, Any]) -> None:
        self.rows.append(row)

    def with_weights(self, training: None, row: dict[str, Any]) -> tuple[None, dict[str, Any]]:
        return training, row

    def test(self, row: dict[str, Any], found: float | BaseException) -> dict[str, Any]:
        def evaluate(_: object) -> dict[str, Any]:
            assert self.rows[-1]["test_opened_at"] is not None and self.rows[-1]["validation_bits"] == 2.5
            if isinstance(found, BaseException):
                raise found
            return {"test_bits": found}

        return add_test(self, None, row, lambda *_: {"validation_bits": 2.5}, evaluate)  # type: ignore[arg-type]


def test_that_the_test_split_is_opened_is_durable_before_it_is_read() -> None:
    study = Recorder()
    assert study.test(UNTESTED, 1.5)["test_bits"] == 1.5
    opened, tested = study.rows
    assert opened["test_opened_at"] == tested["test_opened_at"] and opened["test_bits"] is None
    assert study.test(opened, 1.5) == opened and len(study.rows) == 2, "what a kill leaves"


@pytest.mark.parametrize("reason", [UserError("test.txt: has no words"), KeyboardInterrupt()])
def test_a_test_split_without_a_figure_may_be_opened_again(reason: BaseException) -> None:
    study = Recorder()
    with pytest.raises(type(reason)):
        study.test(UNTESTED, reason)
    assert study.rows[-1] == {**UNTESTED, "validation_bits": 2.5}
    assert study.test(study.rows[-1], 1.5)["test_bits"] == 1.5
    diverged = {**UNTESTED, "status": "diverged"}
    assert study.test(diverged, reason) == diverged


def interrupt(*_: object) -> None:
    raise KeyboardInterrupt


def test_weights_that_are_gone_are_trained_again_before_the_test(text: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = text / "run"
    test = (text / "test.txt").read_text()
    (text / "test.txt").write_text("of a word that nobody knows")
    command = ["transfer", "characters", folder, "--cell", "lstm", "--data", text, *LETTERS]
    type_in(*command, expected=2)
    (row,) = table(folder, "transfer_characters").to_dict("records")
    assert row["status"] == "ok" and pd.isna(row["test_opened_at"]) and row["validation_bits"] > 0
    (folder / row["weights"]).unlink()
    (text / "test.txt").write_text(test)
    (folder / "test-split").mkdir()  # as a kill would have left it
    with monkeypatch.context() as patch:
        patch.setattr("pipeline.study.Study._take_in", interrupt)  # its weights are written, and it is not done
        assert "are gone or damaged: it is trained again" in type_in(*command, expected=130)
    assert not (folder / row["weights"]).exists(), "what a training has not ended with is not tested"
    assert list((folder / "children").iterdir()), "it goes on from there"
    assert "are gone or damaged: it is trained again" in type_in(*command)
    (tested,) = table(folder, "transfer_characters").to_dict("records")
    assert tested["test_bits"] == pytest.approx(row["validation_bits"], rel=1e-5)
    assert not (folder / "test-split").exists()


def test_bits_and_bleu() -> None:
    assert bits(math.log(8)) == pytest.approx(3)
    sentence = "the quick brown fox jumps ."
    assert bleu([sentence], [sentence])[0] == pytest.approx(100)
    assert bleu(["the quick brown fox jumps."], [sentence])[0] < 100  # words are what stands between spaces
    for words in ("13a", "intl"):
        score, signature = bleu(["the quick brown fox jumps."], [sentence], words)
        assert score == pytest.approx(100) and f"tok:{words}" in signature


@pytest.mark.parametrize(("size", "parameters"), [("small", 6.57e6), ("large", 16.28e6)])
def test_models_of_characters_are_those_of_table_3(size: str, parameters: float) -> None:
    """Section 4.2, with the 50 different characters of Penn Treebank."""
    language = for_characters(ptb(), size, None).language
    for cell in (nascell(), "lstm"):
        units = hidden_units_of(cell, 50, language)
        count = count_parameters(cell, 50, units, language.num_layers, embedding_size=language.embedding_size)
        assert count == pytest.approx(parameters, rel=0.01)
    told = (language.num_layers, language.embedding_size, language.optimizer, language.learning_rate)
    assert told == (2, 128, "adam", 0.001)
    assert (language.batch_size, language.steps) == (32, 100)
    assert (language.recurrent_dropout, language.input_dropout, language.output_dropout) == (0.2, 0.5, 0.5)
    assert language.shared_embeddings is False and language.rate_divisor == 1


def test_a_cell_of_a_small_search_can_be_translated_with() -> None:
    """The search's own settings of language models mean nothing to a translation model."""
    assert ptb_small().language != LanguageSettings()
    bounded = override(ptb_small(), ["search.max_parameters=100000", "search.max_flops=1000000"])
    check_configuration(for_translation(bounded))
