import math
from collections import Counter

import pytest
from toy_spaces import CONV, LAYERED, STACK, all_tokens

from models.random_policy import sample_uniformly


def test_every_architecture_of_a_space_of_equal_lengths_is_equally_likely() -> None:
    paths = CONV.paths(2, 12_800)
    sample_uniformly(paths, seed=0)
    counts = Counter(tuple(path.tokens) for path in paths)
    expected = len(paths) / 128  # 2 heights, widths and filters a layer, 1 and 2 subsets
    assert counts.keys() == set(all_tokens(CONV, 2))
    chi_square = sum((count - expected) ** 2 / expected for count in counts.values())
    assert chi_square < 127 + 4 * math.sqrt(2 * 127)


@pytest.mark.parametrize("position", range(6))
def test_every_choice_is_uniform(position: int) -> None:
    paths = STACK.paths(3, 6_000)
    sample_uniformly(paths, seed=1)
    counts = Counter(path.tokens[position] for path in paths if len(path.tokens) > position)
    options = 3 if position % 2 else 2
    share = 1 / options
    bound = 4 * math.sqrt(share * (1 - share) / counts.total())
    assert sorted(counts) == list(range(options))
    assert all(abs(count / counts.total() - share) < bound for count in counts.values())


def test_the_log_probability_is_minus_the_log_of_the_size_of_the_space() -> None:
    log_probs = sample_uniformly(CONV.paths(4, 5), seed=0)
    assert log_probs == pytest.approx([-math.log((2 * 2 * 2) ** 4 * 2 ** (0 + 1 + 2 + 3))] * 5)


def test_log_probabilities_of_sequences_of_different_length_sum_to_one() -> None:
    paths = LAYERED.paths(2, 1_000)
    log_probs = sample_uniformly(paths, seed=0)
    by_tokens = {tuple(path.tokens): log_prob for path, log_prob in zip(paths, log_probs, strict=True)}
    assert by_tokens.keys() == set(all_tokens(LAYERED, 2))
    assert sum(map(math.exp, by_tokens.values())) == pytest.approx(1)


def test_the_seed_decides_the_draws() -> None:
    def draw(seed: int) -> list[list[int]]:
        paths = LAYERED.paths(3, 20)
        sample_uniformly(paths, seed)
        return [path.tokens for path in paths]

    assert draw(3) == draw(3) != draw(4)
