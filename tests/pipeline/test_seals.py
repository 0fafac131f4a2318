"""No bit of a run's files can change unnoticed, and other programs read them all the same."""

import io
import json
import random
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from models.evolution import Individual
from pipeline.checkpoints import SearchState, read_checkpoint, save_checkpoint
from pipeline.errors import DamagedError, UserError
from pipeline.experiments import digits
from pipeline.journal import Journal, read_journal
from pipeline.run_folder import create_run, open_run
from pipeline.run_paths import RunPaths
from pipeline.schemas import TABLES
from pipeline.tables import Tables, read_part
from tasks.records import Moments, PolicyState
from tasks.weights import load_weights, save_weights

UPDATE = {"update": 0, "wave": 0, "replica": 0, "mean_reward": 0.5}


def part(folder: Path) -> Path:
    tables = Tables(RunPaths(folder))
    tables.append({"updates": [UPDATE]})
    tables.close()
    return folder / "updates" / "part-000000.parquet"


def checkpoint(folder: Path) -> Path:
    weights = {"a": np.arange(6, dtype=np.float32).reshape(2, 3)}
    moments = {"a": Moments(1.0, weights["a"], weights["a"])}
    policy = PolicyState("controller", 1, 7, weights, moments, 0.5, 0.5, (Individual((1, 2), 0.5),))
    save_checkpoint(RunPaths(folder), SearchState(7, 56, policy))
    return folder / "checkpoints" / "step-000007.npz"


def journal(folder: Path) -> Path:
    written = Journal(folder / "journal.jsonl")
    for number in range(3):
        written.append({"updates": [UPDATE | {"update": number}]})
    written.close()
    return folder / "journal.jsonl"


def config(folder: Path) -> Path:
    create_run(folder / "run", digits())
    return folder / "run" / "config.json"


def weights(folder: Path) -> Path:
    save_weights(str(folder / "weights.pt"), nn.Linear(3, 2))
    return folder / "weights.pt"


def load(path: Path) -> None:
    try:
        load_weights(str(path), nn.Linear(3, 2))
    except ValueError as error:
        raise DamagedError(str(error)) from error


READERS: dict[str, tuple[Callable[[Path], Path], Callable[[Path], object]]] = {
    "weights": (weights, load),
    "part": (part, lambda path: read_part(path, TABLES["updates"])),
    "checkpoint": (checkpoint, read_checkpoint),
    "config": (config, lambda path: open_run(path.parent)),
}


@pytest.mark.parametrize("kind", READERS)
def test_a_flip_of_any_bit_and_any_cut_are_errors_that_name_the_file(kind: str, tmp_path: Path) -> None:
    make, read = READERS[kind]
    path = make(tmp_path)
    read(path)
    whole = path.read_bytes()
    chance = random.Random(0)
    for place in range(len(whole)) if len(whole) < 400 else sorted(chance.sample(range(len(whole)), 400)):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1 << chance.randrange(8)]) + whole[place + 1 :])
        with pytest.raises(DamagedError, match=path.name):
            read(path)
    for length in [*range(0, len(whole), 1 + len(whole) // 100), len(whole) - 1]:
        path.write_bytes(whole[:length])
        with pytest.raises(DamagedError, match=path.name):
            read(path)
    path.write_bytes(whole + b"\0")
    with pytest.raises(DamagedError, match=path.name):
        read(path)


def test_a_flip_of_any_bit_of_a_journal_is_an_error_that_names_the_line(tmp_path: Path) -> None:
    path = journal(tmp_path)
    whole = path.read_bytes()
    chance = random.Random(0)
    for place in range(len(whole)):
        ends_line = whole[place] == ord("\n")
        for bit in range(8) if ends_line else [chance.randrange(8)]:
            path.write_bytes(whole[:place] + bytes([whole[place] ^ 1 << bit]) + whole[place + 1 :])
            with pytest.raises(DamagedError, match=r"journal\.jsonl, line"):
                read_journal(path)


def test_a_line_that_a_crash_tore_is_cut_off(tmp_path: Path) -> None:
    path = journal(tmp_path)
    whole = path.read_bytes()
    last = len(b"".join(whole.splitlines(keepends=True)[:-1]))
    for torn in [
        *(whole[:end] for end in range(last, len(whole))),
        whole[: last + 20] + bytes(20) + whole[last + 40 :],
    ]:
        path.write_bytes(torn)
        entries, length = read_journal(path)
        assert [entry["updates"][0]["update"] for entry in entries] == [0, 1] and length == last


def test_torch_takes_no_notice_of_a_flipped_bit_in_a_weight(tmp_path: Path) -> None:
    """Why the checkpoints of children have a digest of their own."""
    state = io.BytesIO()
    torch.save({"a": torch.arange(100.0)}, state)
    content = bytearray(state.getvalue())
    content[content.index(torch.arange(100.0).numpy().tobytes()) + 200] ^= 1
    assert not torch.equal(torch.load(io.BytesIO(content), weights_only=True)["a"], torch.arange(100.0))


def test_pandas_and_numpy_read_sealed_files(tmp_path: Path) -> None:
    assert pd.read_parquet(part(tmp_path)).mean_reward.tolist() == [0.5]
    assert pd.read_parquet(tmp_path / "updates").mean_reward.tolist() == [0.5]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert json.loads(str(np.load(checkpoint(tmp_path))["state"]))["samples"] == 56


def test_a_part_with_other_columns_is_of_another_version_and_not_damaged(tmp_path: Path) -> None:
    path = part(tmp_path)
    with pytest.raises(UserError, match=r"whole, but of another version of WaveNAS: table results") as error:
        read_part(path, TABLES["results"])
    assert not isinstance(error.value, DamagedError)


def test_a_run_of_an_earlier_version_is_told_by_its_format(tmp_path: Path) -> None:
    path = config(tmp_path)
    path.write_text('{"format": 2, "configuration": {}}')
    with pytest.raises(UserError, match=r"config\.json: format 2, where this version reads 4"):
        open_run(path.parent)
