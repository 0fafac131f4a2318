"""Attention with one hidden layer (section 4.2, the translation model; Bahdanau et al. 2015)."""

import torch
from torch import Tensor, nn


class Attention(nn.Module):
    """Weighs what was read by a network of one hidden layer of `units`: v · tanh(W query + U memory)."""

    def __init__(self, query_size: int, memory_size: int, units: int) -> None:
        super().__init__()
        self.query = nn.Linear(query_size, units, bias=False)
        self.key = nn.Linear(memory_size, units)
        self.score = nn.Linear(units, 1, bias=False)

    def keys(self, memory: Tensor) -> Tensor:
        """What of a memory [time, batch, memory] does not depend on the query: [time, batch, units]."""
        return self.key(memory)  # type: ignore[no-any-return]

    def forward(self, query: Tensor, keys: Tensor, memory: Tensor, padding: Tensor) -> Tensor:
        """The mean of a memory [time, batch, memory], weighted for each query [batch, query]: [batch, memory].

        Places where `padding` [time, batch] is true weigh nothing; each column has one where it is not.
        """
        scores = self.score(torch.tanh(self.query(query) + keys)).squeeze(-1)  # [time, batch]
        weights = scores.float().masked_fill(padding, -torch.inf).softmax(0)
        return (weights.unsqueeze(-1) * memory).sum(0)  # type: ignore[no-any-return]
