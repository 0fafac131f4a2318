"""How a translation model is built and trained: section 4.2, and GNMT (Wu et al. 2016)."""

from typing import Annotated, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

from tasks.settings import FRESH, NotNegative, NotNegativeFloat, Positive, PositiveFloat, Rate


@dataclass(frozen=True, kw_only=True, config=FRESH)
class TranslationSettings:
    """Training goes by Adam first, then by plain SGD, whose rate is halved again and again in the end."""

    encoder_layers: Positive = 8  # section 4.2; the first reads in both directions
    decoder_layers: Positive = 8  # section 4.2
    hidden_units: Positive = 1_024  # section 4.2, of an LSTM; another cell has as many as give as many parameters
    embedding_size: Positive = 1_024
    dropout: Rate = 0.2  # of a layer's inputs
    init_range: PositiveFloat = 0.04  # uniform in ±init_range
    symbols: Literal["words", "subwords"] = "words"  # that sentences are made of; subwords by byte pair encoding
    vocabulary: Annotated[int, Field(ge=3)] = 32_000  # symbols of each language, <eos> and <unk> among them
    num_train: Positive | None = None  # first pairs of the training files; unset: all
    max_words: Positive = 100  # symbols; training pairs with a longer side are left out, and those with an empty one
    epochs: Positive = 23  # section 4.2: 800K steps of the 4.5M pairs of WMT14
    batch_size: Positive = 128  # section 4.2
    learning_rate: PositiveFloat = 2e-4  # section 4.2, Adam
    adam_steps: NotNegative = 60_000  # section 4.2
    sgd_rate: PositiveFloat = 0.5  # section 4.2
    halve_after: NotNegative = 400_000  # section 4.2: steps
    halve_every: Positive = 100_000  # section 4.2: steps
    lowest_rate: NotNegativeFloat = 0.1  # section 4.2, of SGD
    clip_norm: PositiveFloat = 5.0  # of the gradient
    beam_width: Positive = 8
    length_penalty: NotNegativeFloat = 0.6  # alpha, by which the scores of translations are normalised
    bleu: Literal["none", "13a", "intl"] = "none"  # how sacrebleu cuts words before it counts; none: as the files do
