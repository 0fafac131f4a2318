import itertools
import math

import pytest
import torch
from torch import Tensor

from models.beam_search import END, beam_search, length_penalty
from models.presets import nascell
from models.translation_model import TranslationModel, TranslationSizes

EXTRA = 3  # words that a translation may have beyond twice its source
WORDS = 4  # of the target, END among them


def tiny_model(seed: int, target_words: int = WORDS) -> TranslationModel:
    torch.manual_seed(seed)
    return TranslationModel(nascell(), 4, TranslationSizes(5, target_words, 3, 2, 3), init_range=1.5)


def log_prob(model: TranslationModel, source: Tensor, words: tuple[int, ...]) -> float:
    """The log-probability of a sequence of words, the end being one like any other."""
    inputs = torch.tensor([END, *words[:-1]]).unsqueeze(1)
    with torch.no_grad():
        logits = model(source, torch.tensor([len(source)]), inputs)
    return float(logits[:, 0].log_softmax(-1).gather(1, torch.tensor(words).unsqueeze(1)).sum())


def score(model: TranslationModel, source: Tensor, words: tuple[int, ...], alpha: float) -> float:
    return log_prob(model, source, words) / float(length_penalty(torch.tensor(float(len(words))), alpha))


def limit(source: Tensor) -> int:
    return 2 * len(source) + EXTRA


@pytest.mark.parametrize("seed", range(6))
def test_a_beam_of_1_is_greedy_search(seed: int) -> None:
    model, source = tiny_model(seed, 9), torch.tensor([[1], [3], [0]])
    words: list[int] = []
    while len(words) < limit(source) and (not words or words[-1] != END):
        with torch.no_grad():
            logits = model(source, torch.tensor([3]), torch.tensor([END, *words]).unsqueeze(1))
        words.append(int(logits[-1, 0].argmax()))
    (found,) = beam_search(model, source, torch.tensor([3]), width=1, extra=EXTRA)
    assert found.words == tuple(word for word in words if word != END)
    assert found.score == pytest.approx(score(model, source, tuple(words), 0.6), abs=1e-4)


def best_of_all(model: TranslationModel, source: Tensor, alpha: float) -> float:
    """The best score of any translation, by brute force: those that end after 0 to 4 words, and those of 5."""
    longest = limit(source)
    bodies = torch.tensor(list(itertools.product(range(1, WORDS), repeat=longest))).T  # [time, all]
    inputs = torch.cat([torch.full_like(bodies[:1], END), bodies[:-1]])
    with torch.no_grad():
        columns = source.expand(-1, bodies.shape[1])
        logits = model(columns, torch.full((bodies.shape[1],), len(source)), inputs)
    steps = logits.log_softmax(-1)  # [time, all, words]
    sums = steps.gather(-1, bodies.unsqueeze(-1)).squeeze(-1).cumsum(0)
    before = torch.cat([torch.zeros_like(sums[:1]), sums[:-1]])
    log_probs = torch.cat([before + steps[..., END], sums[-1:]])
    lengths = torch.tensor([*range(1, longest + 1), longest], dtype=torch.float32)
    return float((log_probs / length_penalty(lengths, alpha).unsqueeze(1)).max())


@pytest.mark.parametrize("alpha", [0.0, 0.6, 1.0])
@pytest.mark.parametrize("seed", range(3))
def test_a_beam_wide_enough_finds_the_best_of_all_translations(seed: int, alpha: float) -> None:
    model, source = tiny_model(seed), torch.tensor([[2]])
    (found,) = beam_search(model, source, torch.tensor([1]), width=364, alpha=alpha, extra=EXTRA)
    assert found.score == pytest.approx(best_of_all(model, source, alpha), abs=1e-4)
    assert found.score == pytest.approx(score_of(model, source, found.words, alpha), abs=1e-4)
    for width in (1, 2, 4):
        (narrow,) = beam_search(model, source, torch.tensor([1]), width=width, alpha=alpha, extra=EXTRA)
        assert narrow.score <= found.score + 1e-5
        assert narrow.score == pytest.approx(score_of(model, source, narrow.words, alpha), abs=1e-4)


def score_of(model: TranslationModel, source: Tensor, words: tuple[int, ...], alpha: float) -> float:
    return score(model, source, words if len(words) == limit(source) else (*words, END), alpha)


def test_sentences_of_a_batch_do_not_meet() -> None:
    model = tiny_model(3, 9)
    sentences = [[1, 2, 4, 0], [3, 0], [0]]
    lengths = torch.tensor(list(map(len, sentences)))
    source = torch.zeros(4, 3, dtype=torch.int64)
    for column, sentence in enumerate(sentences):
        source[: len(sentence), column] = torch.tensor(sentence)
    for width in (1, 3):
        together = beam_search(model, source, lengths, width=width)
        for column, sentence in enumerate(sentences):
            (alone,) = beam_search(model, torch.tensor(sentence).unsqueeze(1), lengths[[column]], width=width)
            assert together[column].words == alone.words
            assert together[column].score == pytest.approx(alone.score, abs=1e-5)


def test_a_model_that_never_ends_is_stopped() -> None:
    model, source = tiny_model(0), torch.tensor([[1], [0]])
    with torch.no_grad():
        model.decoder.softmax.bias[END] = -math.inf
    (found,) = beam_search(model, source, torch.tensor([2]), width=3, extra=EXTRA)
    assert len(found.words) == limit(source)


def test_longer_translations_gain_by_normalisation() -> None:
    lengths = torch.tensor([1.0, 7.0, 20.0])
    assert length_penalty(lengths, 0.0).tolist() == [1, 1, 1]
    assert length_penalty(lengths, 1.0).tolist() == pytest.approx([1, 2, 25 / 6])
