"""Translations by beam search with length normalisation (section 4.2, the translation model; Wu et al. 2016)."""

from dataclasses import dataclass

import torch
from torch import Tensor

from models.translation_model import Memory, TranslationModel

END = 0  # the symbol that ends a sentence, and from which a translation starts


@dataclass(frozen=True)
class Hypothesis:
    """A translation without its end symbol; `score` is its log-probability (nats), the end's included, normalised."""

    words: tuple[int, ...]
    score: float


def length_penalty(length: Tensor, alpha: float) -> Tensor:
    """What log-probabilities are divided by: ((5 + length) / 6)^alpha, so that 0 prefers short sentences most."""
    return ((5 + length) / 6) ** alpha


@torch.inference_mode()
def beam_search(
    model: TranslationModel, source: Tensor, lengths: Tensor, *, width: int, alpha: float = 0.6, extra: int = 10
) -> list[Hypothesis]:
    """The best translation found of each sentence of `source` [time, batch] with `lengths` [batch].

    At each step the `width` hypotheses with the best scores are kept; one that ended stays what it is and keeps its
    place as long as no other is better. Width 1 is greedy search. A translation has at most twice as many symbols as
    its source and `extra` more, its end included; what has not ended by then counts as it is.
    """
    model.eval()
    beams = _Beams(source.shape[1], width, source.device)
    memory = _for_each_beam(model.encode(source, lengths), width)
    state = model.first_state(source.shape[1] * width)
    limits = 2 * lengths + extra  # [batch]
    for step in range(int(limits.max())):
        logits, state = model.decoder(beams.last.view(1, -1), memory, state)
        rows = beams.extend(logits[0].float().log_softmax(-1), alpha, (step + 1 >= limits).unsqueeze(1))
        state = state[0][:, rows], state[1][:, rows]
        if bool(beams.ended.all()):
            break
    return beams.best()


class _Beams:
    """The hypotheses of a batch of sentences, each tensor [batch, width, …]."""

    def __init__(self, batch: int, width: int, device: torch.device) -> None:
        self.words = torch.zeros(batch, width, 0, dtype=torch.int64, device=device)
        self.lengths = torch.zeros(batch, width, device=device)
        self.ended = torch.zeros(batch, width, dtype=torch.bool, device=device)
        self.log_probs = torch.full((batch, width), -torch.inf, device=device)
        self.log_probs[:, 0] = 0.0  # all start alike: the first step extends one of them
        self.scores = torch.zeros(batch, width, device=device)

    @property
    def last(self) -> Tensor:
        """The words to go on from."""
        return self.words[..., -1] if self.words.shape[-1] else torch.full_like(self.ended, END, dtype=torch.int64)

    def extend(self, log_probs: Tensor, alpha: float, at_limit: Tensor) -> Tensor:
        """Append the best next words by their log-probabilities [batch·width, vocabulary]; the rows that they extend.

        Hypotheses of sentences that are `at_limit` [batch, 1] end with this word.
        """
        batch, width = self.ended.shape
        following = log_probs.view(batch, width, -1).clone()
        following[self.ended] = -torch.inf
        following[..., END].masked_fill_(self.ended, 0.0)  # what ended goes on as it is, at no cost
        totals = self.log_probs.unsqueeze(-1) + following
        lengths = self.lengths + ~self.ended
        scores, places = (totals / length_penalty(lengths, alpha).unsqueeze(-1)).flatten(1).topk(width)
        beam, words = places // following.shape[-1], places % following.shape[-1]  # [batch, width]
        self.words = torch.cat([self.words.gather(1, _wide(beam, self.words)), words.unsqueeze(-1)], -1)
        self.lengths, self.log_probs, self.scores = lengths.gather(1, beam), totals.flatten(1).gather(1, places), scores
        self.ended = self.ended.gather(1, beam) | (words == END) | at_limit | self.scores.isneginf()
        return (torch.arange(batch, device=beam.device).unsqueeze(1) * width + beam).flatten()

    def best(self) -> list[Hypothesis]:
        best = self.scores.argmax(1).tolist()
        hypotheses = []
        for sentence, beam in enumerate(best):
            words = self.words[sentence, beam, : int(self.lengths[sentence, beam])].tolist()
            ended = words[:-1] if words[-1] == END else words
            hypotheses.append(Hypothesis(tuple(ended), float(self.scores[sentence, beam])))
        return hypotheses


def _wide(beam: Tensor, like: Tensor) -> Tensor:
    return beam.unsqueeze(-1).expand(-1, -1, like.shape[-1])


def _for_each_beam(memory: Memory, width: int) -> Memory:
    """A memory with each column `width` times, side by side."""
    return Memory(*(part.repeat_interleave(width, 1) for part in memory))
