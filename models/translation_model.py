"""Encoder and decoder of recurrent layers of any cell, with attention (section 4.2; Wu et al. 2016, GNMT)."""

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn

from models.attention import Attention
from models.cell_formula import Cell
from models.recurrent import RecurrentLayer, State, check_share, dropout_mask, has_bias
from models.sizes import units_nearest

RESIDUAL_FROM = 2  # the third layer is the first whose inputs are added to its outputs


@dataclass(frozen=True)
class TranslationSizes:
    """What decides the weights of a TranslationModel. The attention has as many hidden units as a layer."""

    source_vocabulary: int
    target_vocabulary: int
    embedding_size: int
    encoder_layers: int
    decoder_layers: int


class Memory(NamedTuple):
    """What the encoder read of a batch, and where it is padding."""

    outputs: Tensor  # [time, batch, memory]
    keys: Tensor  # [time, batch, hidden]
    padding: Tensor  # [time, batch], true behind the end of a sentence


class Encoder(nn.Module):
    """Embedding, a layer that reads in both directions, and layers that read forwards.

    From the third layer on, a layer's inputs are added to its outputs. What stands behind the end of a sentence has no
    influence on what is read of it.
    """

    def __init__(self, cell: Cell, hidden_units: int, sizes: TranslationSizes, dropout: float) -> None:
        super().__init__()
        self.hidden_units, self.dropout = hidden_units, dropout
        self.embedding = nn.Embedding(sizes.source_vocabulary, sizes.embedding_size)
        self.forwards, self.backwards = (_layer(cell, sizes.embedding_size, hidden_units) for _ in range(2))
        inputs = [2 * hidden_units] + [hidden_units] * (sizes.encoder_layers - 2)
        self.layers = nn.ModuleList(_layer(cell, size, hidden_units) for size in inputs[: sizes.encoder_layers - 1])
        self.output_size = hidden_units if self.layers else 2 * hidden_units

    def forward(self, source: Tensor, lengths: Tensor) -> Tensor:
        """Outputs [time, batch, output_size] of sentences [time, batch] of `lengths` [batch]."""
        embedded = self._drop(self.embedding(source))
        mirror = _mirror(lengths, len(source)).unsqueeze(-1)  # [time, batch, 1]
        mirrored = embedded.gather(0, mirror.expand_as(embedded))
        backwards = _read(self.backwards, mirrored, self.hidden_units)
        both = _read(self.forwards, embedded, self.hidden_units), backwards.gather(0, mirror.expand_as(backwards))
        outputs = torch.cat(both, -1)
        for number, layer in enumerate(self.layers, start=1):
            read = _read(layer, self._drop(outputs), self.hidden_units)
            outputs = outputs + read if number >= RESIDUAL_FROM else read
        return outputs

    def _drop(self, inputs: Tensor) -> Tensor:
        return inputs * _sequence_mask(self, inputs.shape[1:], inputs)


class Decoder(nn.Module):
    """Embedding, layers that each read the attended memory besides the layer below, and a softmax with a bias.

    At each step the attention asks with the bottom layer's output of the step before; its answer goes to all layers.
    So the layers above the bottom one read a whole sentence at once.
    """

    def __init__(
        self, cell: Cell, hidden_units: int, memory_size: int, sizes: TranslationSizes, dropout: float
    ) -> None:
        super().__init__()
        self.hidden_units, self.dropout = hidden_units, dropout
        self.embedding = nn.Embedding(sizes.target_vocabulary, sizes.embedding_size)
        self.attention = Attention(hidden_units, memory_size, hidden_units)
        inputs = [sizes.embedding_size] + [hidden_units] * (sizes.decoder_layers - 1)
        self.layers = nn.ModuleList(_layer(cell, size + memory_size, hidden_units) for size in inputs)
        self.softmax = nn.Linear(hidden_units, sizes.target_vocabulary)

    def forward(self, words: Tensor, memory: Memory, state: State) -> tuple[Tensor, State]:
        """Logits [time, batch, vocabulary] of what follows `words` [time, batch], and the state after them."""
        bottom, *above = self.layers
        embedded = self.embedding(words)
        mask = _sequence_mask(self, (words.shape[1], embedded.shape[-1] + memory.outputs.shape[-1]), embedded)
        hidden, cell = state[0][0], state[1][0]
        attended, read = [], []
        for step in embedded:
            attended.append(self.attention(hidden, memory.keys, memory.outputs, memory.padding))
            inputs = torch.cat([step, attended[-1]], -1) * mask
            output, cell = bottom(inputs.unsqueeze(0), hidden, cell)
            hidden = output[0]
            read.append(hidden)
        outputs, contexts = torch.stack(read), torch.stack(attended)  # [time, batch, hidden or memory]
        hiddens, cells = [hidden], [cell]
        for number, layer in enumerate(above, start=1):
            inputs = torch.cat([outputs, contexts], -1)
            inputs = inputs * _sequence_mask(self, inputs.shape[1:], inputs)
            above_outputs, cell = layer(inputs, state[0][number], state[1][number])
            outputs = outputs + above_outputs if number >= RESIDUAL_FROM else above_outputs
            hiddens.append(above_outputs[-1])
            cells.append(cell)
        outputs = outputs * _sequence_mask(self, outputs.shape[1:], outputs)
        return self.softmax(outputs), (torch.stack(hiddens), torch.stack(cells))


class TranslationModel(nn.Module):
    """Encoder and decoder in the manner of GNMT, each of 1 layer or more; weights drawn uniformly from ±init_range.

    `dropout` is the share dropped of each layer's inputs and of what the softmax reads, by one mask a sentence; masks
    come from torch's global generator, in training only. The decoder starts from zeros: all that it knows of the source
    it asks for by attention.
    """

    def __init__(
        self,
        cell: Cell,
        hidden_units: int,
        sizes: TranslationSizes,
        *,
        dropout: float = 0.0,
        init_range: float = 0.04,
    ) -> None:
        super().__init__()
        check_share("dropout", dropout)
        self.encoder = Encoder(cell, hidden_units, sizes, dropout)
        self.decoder = Decoder(cell, hidden_units, self.encoder.output_size, sizes, dropout)
        for weight in self.parameters():
            nn.init.uniform_(weight, -init_range, init_range)

    def forward(self, source: Tensor, lengths: Tensor, words: Tensor) -> Tensor:
        """Logits [target time, batch, vocabulary] of what follows `words` [target time, batch] in the translations.

        Source sentences are [time, batch], `lengths` [batch] of them, at least 1.
        """
        logits, _ = self.decoder(words, self.encode(source, lengths), self.first_state(source.shape[1]))
        return logits  # type: ignore[no-any-return]

    def encode(self, source: Tensor, lengths: Tensor) -> Memory:
        """What is read of sentences [time, batch] of `lengths` [batch]."""
        outputs = self.encoder(source, lengths)
        padding = torch.arange(len(source), device=source.device).unsqueeze(1) >= lengths
        return Memory(outputs, self.decoder.attention.keys(outputs), padding)

    def first_state(self, batch: int) -> State:
        """The decoder's h and c before a sentence, each [layers, batch, hidden]."""
        zeros = self.decoder.softmax.weight.new_zeros(len(self.decoder.layers), batch, self.decoder.hidden_units)
        return zeros, zeros


def count_parameters(cell: Cell, hidden_units: int, sizes: TranslationSizes) -> int:
    """Weights of a TranslationModel, without making them."""
    with torch.device("meta"):
        model = TranslationModel(cell, hidden_units, sizes)
    return sum(weight.numel() for weight in model.parameters())


def hidden_units_for(parameters: int, cell: Cell, sizes: TranslationSizes) -> int:
    """The hidden units whose TranslationModel comes nearest to a number of parameters.

    Raises ValueError where a single unit already has more.
    """
    return units_nearest(parameters, lambda units: count_parameters(cell, units, sizes))


def _layer(cell: Cell, input_size: int, hidden_units: int) -> RecurrentLayer:
    return RecurrentLayer(cell, input_size, hidden_units, has_bias(cell))


def _read(layer: nn.Module, inputs: Tensor, hidden_units: int) -> Tensor:
    """A layer's outputs [time, batch, hidden] of inputs [time, batch, input], from an empty state."""
    zeros = inputs.new_zeros(inputs.shape[1], hidden_units)
    return layer(inputs, zeros, zeros)[0]  # type: ignore[no-any-return]


def _mirror(lengths: Tensor, time: int) -> Tensor:
    """The places [time, batch] that reverse sentences, and leave what is behind their end where it is."""
    places = torch.arange(time, device=lengths.device).unsqueeze(1)  # [time, 1]
    return torch.where(places < lengths, lengths - 1 - places, places)


def _sequence_mask(module: Encoder | Decoder, shape: tuple[int, ...], like: Tensor) -> Tensor:
    """A dropout mask that stays the same over a sentence, or 1."""
    if module.training and module.dropout:
        return dropout_mask(tuple(shape), module.dropout, like)
    return like.new_ones(())
