"""The controller: a recurrent network that writes architectures token by token (sections 3.1, 3.3, 4.1; Figure 4).

A two-layer LSTM; at each step its output goes to the softmax of the current choice, or to the sigmoids of an anchor
point, and what was drawn is the input of the next step. Sampling and replaying share one code path, `rollout`,
and a whole wave goes through it as one batch, whose rows need not face the same decision at the same step.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from models.space import Anchor, Choice, Decision, Path


@dataclass(frozen=True)
class Rollout:
    """log_probs and entropies, both (batch,) in nats: each row's sum over its decisions."""

    log_probs: Tensor
    entropies: Tensor


class Controller(nn.Module):
    """Weights of a choice come into being when it is first met, so any generator function can be a space.

    Every weight is drawn uniformly from ±init_range by a generator seeded from (seed, name of the weight), so
    the weights do not depend on the order in which choices were met.
    """

    def __init__(self, hidden_units: int = 35, num_layers: int = 2, init_range: float = 0.08, seed: int = 0) -> None:
        super().__init__()
        self.hidden_units, self.init_range, self.seed = hidden_units, init_range, seed
        self.cells = nn.ModuleList(nn.LSTMCell(hidden_units, hidden_units) for _ in range(num_layers))
        self.start = nn.Parameter(torch.empty(1, hidden_units))
        self.heads = nn.ModuleDict()
        self.embeddings = nn.ModuleDict()
        self.anchor_previous = nn.Linear(hidden_units, hidden_units, bias=False)  # W_prev
        self.anchor_current = nn.Linear(hidden_units, hidden_units, bias=False)  # W_curr
        self.anchor_score = nn.Linear(hidden_units, 1, bias=False)  # v
        self._initialise(dict(self.named_parameters()))

    def rollout(
        self,
        paths: Sequence[Path],
        tokens: Sequence[Sequence[int]] | None = None,
        generator: torch.Generator | None = None,
    ) -> Rollout:
        """Complete each path: by drawing from `generator`, or, where `tokens` are given, by taking those.

        Raises ValueError where the tokens of a row are not those of its space.
        """
        batch = len(paths)
        if tokens is not None and len(tokens) != batch:
            raise ValueError(f"{len(tokens)} rows of tokens for {batch} paths")
        log_probs = entropies = self.start.new_zeros(batch)
        inputs = self.start.expand(batch, -1)
        states: list[tuple[Tensor, ...]] = [(self.start.new_zeros(batch, self.hidden_units),) * 2 for _ in self.cells]
        anchors: list[Tensor] = []  # per anchor ordinal, the outputs (batch, hidden) of the rows there
        step = 0
        while groups := _rows_by_decision(paths):
            states = self._step(inputs, states)
            output = states[-1][0]
            inputs = torch.zeros_like(output)
            for decision, row_list in groups:
                rows = torch.tensor(row_list)
                given = None if tokens is None else torch.tensor([_token(tokens[row], step) for row in row_list])
                if isinstance(decision, Anchor):
                    taken = self._select(decision, rows, output, anchors, given, generator)
                else:
                    taken = self._choose(decision, rows, output, given, generator)
                log_probs = log_probs.index_add(0, rows, taken.log_probs)
                entropies = entropies.index_add(0, rows, taken.entropies)
                inputs = inputs.index_copy(0, rows, taken.next_inputs)
                for row, token in zip(row_list, taken.tokens.tolist(), strict=True):
                    paths[row].take(token)
            step += 1
        if tokens is not None:
            _check_lengths(paths, tokens)
        return Rollout(log_probs, entropies)

    def ensure(self, choice: Choice) -> None:
        """Give a choice its softmax and its embeddings if it has none yet."""
        key = _key(choice.name)
        if key in self.heads:
            known = self.heads[key].out_features
            if known != len(choice.values):
                raise ValueError(f"choice {choice.name!r} has {len(choice.values)} values here and {known} elsewhere")
            return
        self.heads[key] = nn.Linear(self.hidden_units, len(choice.values))
        self.embeddings[key] = nn.Embedding(len(choice.values), self.hidden_units)
        created = (f"heads.{key}.", f"embeddings.{key}.")
        self._initialise({name: weight for name, weight in self.named_parameters() if name.startswith(created)})

    def load_parameters(self, parameters: dict[str, Tensor]) -> None:
        """Take the weights that `state_dict` gave, of choices met so far too."""
        for name, weight in parameters.items():
            kind, _, rest = name.partition(".")
            if kind == "embeddings":
                choice_name = rest.removesuffix(".weight").removeprefix(_key(""))
                self.ensure(Choice(choice_name, tuple(range(len(weight)))))
        self.load_state_dict(parameters)

    def _step(self, inputs: Tensor, states: list[tuple[Tensor, ...]]) -> list[tuple[Tensor, ...]]:
        new_states: list[tuple[Tensor, ...]] = []
        for cell, state in zip(self.cells, states, strict=True):
            inputs, memory = cell(inputs, state)  # both (batch, hidden)
            new_states.append((inputs, memory))
        return new_states

    def _choose(
        self, choice: Choice, rows: Tensor, output: Tensor, given: Tensor | None, generator: torch.Generator | None
    ) -> "_Taken":
        self.ensure(choice)
        log_p = functional.log_softmax(self.heads[_key(choice.name)](output[rows]), dim=1)  # (rows, values)
        tokens = torch.multinomial(log_p.exp(), 1, generator=generator)[:, 0] if given is None else given
        if int(tokens.max()) >= len(choice.values) or int(tokens.min()) < 0:
            raise ValueError(f"token {tokens.tolist()} for {choice.name}: allowed are 0 to {len(choice.values) - 1}")
        log_probs = log_p.gather(1, tokens[:, None])[:, 0]
        entropies = -(log_p.exp() * log_p).sum(1)
        return _Taken(tokens, log_probs, entropies, self.embeddings[_key(choice.name)](tokens))

    def _select(
        self, anchor: Anchor, rows: Tensor, output: Tensor, anchors: list[Tensor],
        given: Tensor | None, generator: torch.Generator | None,
    ) -> "_Taken":  # fmt: skip
        """An anchor point: a sigmoid for each earlier one, of v·tanh(W_prev h_j + W_curr h_i)."""
        current = output[rows]  # (rows, hidden)
        if anchor.count:
            previous = torch.stack([states[rows] for states in anchors[: anchor.count]], dim=1)  # (rows, count, hidden)
            mixed = torch.tanh(self.anchor_previous(previous) + self.anchor_current(current)[:, None])
            logits = self.anchor_score(mixed)[:, :, 0]  # (rows, count)
        else:
            previous, logits = current[:, None][:, :0], current[:, :0]
        _remember(anchors, anchor.count, rows, output)
        powers = 2 ** torch.arange(anchor.count)
        if given is None:
            bits = torch.rand(logits.shape, generator=generator) < torch.sigmoid(logits)
        else:
            bits = (given[:, None] & powers) > 0
        chosen = bits.to(logits.dtype)
        log_probs = -functional.binary_cross_entropy_with_logits(logits, chosen, reduction="none").sum(1)
        entropies = functional.binary_cross_entropy_with_logits(logits, torch.sigmoid(logits), reduction="none").sum(1)
        next_inputs = (chosen[:, :, None] * previous).sum(1) / (1 + chosen.sum(1, keepdim=True))
        tokens = (bits * powers).sum(1) if given is None else given
        return _Taken(tokens, log_probs, entropies, next_inputs)

    @torch.no_grad()
    def _initialise(self, weights: dict[str, nn.Parameter]) -> None:
        for name, weight in weights.items():
            digest = hashlib.sha256(f"{self.seed}/{name}".encode()).digest()
            generator = torch.Generator().manual_seed(int.from_bytes(digest[:8], "little") >> 1)
            weight.uniform_(-self.init_range, self.init_range, generator=generator)


@dataclass(frozen=True)
class _Taken:
    """What a group of rows decided at one step: all (rows,), and next_inputs (rows, hidden)."""

    tokens: Tensor
    log_probs: Tensor
    entropies: Tensor
    next_inputs: Tensor


def _key(choice_name: str) -> str:
    """A choice's name among its module's: as it is, it might be that of an attribute, such as `type`."""
    return f"choice_{choice_name}"


def _rows_by_decision(paths: Sequence[Path]) -> list[tuple[Decision, list[int]]]:
    groups: dict[Decision, list[int]] = {}
    for row, path in enumerate(paths):
        if path.decision is not None:
            groups.setdefault(path.decision, []).append(row)
    return list(groups.items())


def _token(tokens: Sequence[int], step: int) -> int:
    if step >= len(tokens):
        raise ValueError(f"{len(tokens)} tokens where the space has more decisions")
    return tokens[step]


def _check_lengths(paths: Sequence[Path], tokens: Sequence[Sequence[int]]) -> None:
    for path, given in zip(paths, tokens, strict=True):
        if len(given) > len(path.tokens):
            raise ValueError(f"{len(given)} tokens where the space has {len(path.tokens)} decisions")


def _remember(anchors: list[Tensor], ordinal: int, rows: Tensor, output: Tensor) -> None:
    """Keep the outputs of rows that stand at their anchor point number `ordinal` (in rows order of the batch)."""
    if ordinal == len(anchors):
        anchors.append(torch.zeros_like(output))
    anchors[ordinal] = anchors[ordinal].index_copy(0, rows, output[rows])
