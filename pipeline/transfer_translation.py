"""The transfer of a cell to translation (section 4.2: the cell in the GNMT framework)."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from rich.console import Console
from sacrebleu.metrics.bleu import BLEU

from pipeline.checks import check_configuration
from pipeline.configuration import Configuration, to_dict
from pipeline.datasets import prepare_once
from pipeline.files import write_atomically
from pipeline.held_out import laid_out
from pipeline.parallel_files import ParallelFiles, encode_split, parallel_source, sentence_of
from pipeline.rows import Row
from pipeline.run_paths import RunPaths
from pipeline.study import Planned, Study, open_study
from pipeline.transfer import (
    NamedCell,
    add_test,
    cells_to_compare,
    check_changes,
    child_of_task,
    columns_of,
    figure,
    told,
    transfer_trial,
)
from tasks.records import Trial
from tasks.settings import TRANSLATION_TASK, DataSettings, LanguageSettings
from tasks.translation_child import HeldOutPairs, Translations, translate_held_out

STAGE = "transfer_translation"
UNTESTED: Row = dict.fromkeys(
    ("test_opened_at", "validation_bleu", "test_loss", "test_bleu", "signature", "translations")
)


def for_translation(configuration: Configuration) -> Configuration:
    """A run's configuration with what trains a translation model in place of its children's."""
    child = child_of_task(configuration, TRANSLATION_TASK)
    search = replace(configuration.search, max_parameters=None, max_flops=None)  # of the search's own children
    data, language = DataSettings(dataset="text"), LanguageSettings()
    return replace(configuration, search=search, child=child, data=data, language=language)


def transfer_to_translation(
    paths: RunPaths,
    run: Configuration,
    configuration: Configuration,
    files: ParallelFiles,
    given: str | None,
    seeds: int,
    console: Console,
    retry: bool = False,
) -> None:
    """Train translation models of the cell of a run, or the one given, and of an LSTM; both see the test split once.

    `run` is the run's configuration, `configuration` what `for_translation` makes of it. Raises UserError.
    """
    check_configuration(configuration)
    check_changes(for_translation(run), configuration, "translation")
    cells = cells_to_compare(given, paths, run)
    fingerprint, encode = parallel_source(files, configuration.translation)
    data_path = prepare_once(paths.prepared_data / f"pairs-{fingerprint}", encode)
    planned = [_planned(cell, configuration, files, data_path, number) for number in range(seeds) for cell in cells]
    with open_study(paths, configuration, STAGE, console) as study:
        rows = [
            add_test(study, training, {**UNTESTED, **row}, evaluation.validate, evaluation.test)
            for training, row in zip(planned, study.train(planned, retry), strict=True)
            for evaluation in [_Evaluation(study, files, training.fingerprint)]
        ]
        lines = [
            told(row, {"validation": figure(row["validation_bleu"], 2), "test": figure(row["test_bleu"], 2)})
            for row in rows
        ]
        how = next((row["signature"] for row in rows if row["signature"]), "none")
        words = "the files' own words" if configuration.translation.bleu == "none" else "sacrebleu's words"
        heading = f"BLEU from {files.source} to {files.target}, of {words} (sacrebleu {how}):"
        study.conclude("\n".join([heading, *lines]))


def _planned(
    cell: NamedCell, configuration: Configuration, files: ParallelFiles, data_path: Path, repetition: int
) -> Planned:
    trial = replace(transfer_trial(cell, configuration, data_path, repetition), translation=configuration.translation)
    columns = columns_of(cell, to_dict(configuration)["translation"], repetition, data_path)
    languages = {"languages": f"{files.source} {files.target}"}
    return Planned(f"{cell.name}, seed {repetition}", trial, {**columns, **languages}, keep_weights=True)


@dataclass(frozen=True)
class _Evaluation:
    """Translates validation and test sentences with the weights of a training's best epoch."""

    study: Study
    files: ParallelFiles
    fingerprint: str  # of the training

    def validate(self, trial: Trial, _: Row) -> Row:
        return {"validation_bleu": self._translate(trial, "validation")[0]}

    def test(self, trial: Trial) -> Row:
        score, signature, loss = self._translate(trial, "test")
        return {
            "test_bleu": score, "test_loss": loss, "signature": signature,
            "translations": str(self._folder.relative_to(self.study.paths.folder)),
        }  # fmt: skip

    @property
    def _folder(self) -> Path:
        return self.study.paths.folder / "translations" / self.fingerprint

    def _translate(self, trial: Trial, split: str) -> tuple[float, str, float]:
        """BLEU, its signature, and the mean cross-entropy of the references; the translations become a file."""
        prepared = Path(trial.data_path)
        with laid_out(self.study.paths, encode_split(self.files, split, prepared)) as folder:
            name = f"{split}-{self.fingerprint}"
            translated: Translations = self.study.call(name, translate_held_out, HeldOutPairs(trial, folder, split))
        assert trial.translation is not None
        vocabulary = np.load(prepared / "target_vocabulary.npy", allow_pickle=False).tolist()
        sentences = [
            sentence_of(hypothesis.words, vocabulary, trial.translation.symbols) for hypothesis in translated.hypotheses
        ]
        score, signature = bleu(sentences, self.files.lines(split)[1], trial.translation.bleu)
        self._folder.mkdir(parents=True, exist_ok=True)
        text = "".join(f"{sentence}\n" for sentence in sentences)
        write_atomically(self._folder / f"{split}.{self.files.target}", text.encode())
        return score, signature, translated.loss


def bleu(translations: Sequence[str], references: Sequence[str], words: str = "none") -> tuple[float, str]:
    """BLEU of translations, 0 to 100, and sacrebleu's signature of it.

    With `none` words are what stands between spaces; `13a` and `intl` cut words and punctuation apart first.
    """
    metric = BLEU(tokenize=words, force=True)  # force: no warning that the text is in words already
    score = metric.corpus_score(list(translations), [list(references)])
    return float(score.score), str(metric.get_signature())
