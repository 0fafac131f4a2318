from pathlib import Path

import numpy as np
import pytest
import torch

from tasks.text_data import PADDING, load_text, windows


@pytest.mark.parametrize(
    ("count", "columns", "steps"), [(13, 3, 2), (13, 3, 100), (41, 20, 35), (2, 20, 35), (8, 1, 7)]
)
def test_every_token_but_the_first_is_predicted_once_from_the_one_before_it(
    count: int, columns: int, steps: int
) -> None:
    pairs = []
    for inputs, targets in windows(torch.arange(100, 100 + count), columns, steps):
        assert inputs.shape == targets.shape and len(inputs) <= steps
        assert inputs.shape[1] == min(columns, count - 1)
        pairs += torch.stack([inputs, targets], -1)[targets != PADDING].tolist()
    assert sorted(pairs) == [[token - 1, token] for token in range(101, 100 + count)]


def test_a_column_goes_on_from_window_to_window() -> None:
    first, second, third = windows(torch.arange(11), 2, 2)
    assert first[0].tolist() == [[0, 5], [1, 6]] and first[1].tolist() == [[1, 6], [2, 7]]
    assert second[0].tolist() == [[2, 7], [3, 8]]
    assert third[1].tolist() == [[5, 10]]


def test_prepared_numbers_are_loaded(tmp_path: Path) -> None:
    np.save(tmp_path / "train.npy", np.array([0, 1, 2], np.int32))
    np.save(tmp_path / "validation.npy", np.array([2, 1], np.int32))
    np.save(tmp_path / "vocabulary.npy", np.array(["the", "<unk>", "of"]))
    text = load_text(str(tmp_path), torch.device("cpu"))
    assert (text.train.tolist(), text.validation.tolist(), text.vocabulary_size) == ([0, 1, 2], [2, 1], 3)
    assert text.train.dtype == torch.int64
