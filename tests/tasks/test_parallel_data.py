import numpy as np
import torch

from models.beam_search import END
from tasks.parallel_data import Pairs, batch_of, batches, sentences
from tasks.text_data import PADDING


def pairs(*lengths: tuple[int, int]) -> Pairs:
    """Sentences of some lengths and translations of others; the words of pair n are 10·n, 10·n + 1, …"""
    sides = []
    for side, padding in enumerate((END, PADDING)):
        words = [10 * n + place for n, length in enumerate(lengths, start=1) for place in range(length[side])]
        ends = np.cumsum([length[side] for length in lengths])
        sides.append(sentences(np.array(words), ends, padding, torch.device("cpu")))
    return Pairs(*sides)


def test_a_batch_is_padded_and_shifted() -> None:
    batch = batch_of(pairs((1, 1), (2, 3), (0, 2)), torch.tensor([1, 0, 2]))
    assert batch.source.T.tolist() == [[20, 21, 0], [10, 0, 0], [0, 0, 0]]
    assert batch.lengths.tolist() == [3, 2, 1]
    assert batch.inputs.T.tolist() == [[0, 20, 21, 22], [0, 10, 0, 0], [0, 30, 31, 0]]
    assert batch.targets.T.tolist() == [[20, 21, 22, 0], [10, 0, PADDING, PADDING], [30, 31, 0, PADDING]]


def test_each_pair_comes_once_among_others_of_its_length() -> None:
    lengths = [(number % 7 + 1, number * 5 % 11 + 1) for number in range(50)]
    for generator in (None, torch.Generator().manual_seed(0)):
        found = list(batches(pairs(*lengths), 8, generator))
        assert sorted(row for batch in found for row in batch.rows.tolist()) == list(range(50))
        spans = [[lengths[row][1] for row in batch.rows.tolist()] for batch in found]
        assert all(max(span) - min(span) <= 3 for span in spans)


def test_the_generator_decides_order_and_company() -> None:
    data = pairs(*[(3, number // 10 + 1) for number in range(40)])

    def rows(seed: int | None) -> list[list[int]]:
        generator = None if seed is None else torch.Generator().manual_seed(seed)
        return [batch.rows.tolist() for batch in batches(data, 4, generator)]

    assert rows(1) == rows(1) != rows(2)
    assert sorted(map(sorted, rows(1))) != sorted(map(sorted, rows(2)))
    assert [row for batch in rows(None) for row in batch] == list(range(40))
