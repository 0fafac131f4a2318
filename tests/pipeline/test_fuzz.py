"""Whatever a user gives: an error that names it, or a configuration; never another exception, and no worker.

The quick tier tries a few hundred cases, `pytest -m faults` ten thousand and more.
"""

import io
import json
import random
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from PIL import Image

from models.space import SearchSpace
from pipeline import datasets
from pipeline.checks import check_configuration
from pipeline.configuration import from_dict, override, to_dict
from pipeline.datasets import prepare_data
from pipeline.errors import UserError
from pipeline.experiments import EXPERIMENTS, digits, experiment_named, with_table
from pipeline.journal import read_journal
from pipeline.run_folder import create_run, open_run
from pipeline.seals import write_json
from pipeline.site import with_site
from tasks.settings import DataSettings

TEXT = st.text(max_size=20)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=6,
)
KEYS = [f"{section}.{key}" for section, keys in to_dict(digits()).items() if isinstance(keys, dict) for key in keys]
TIERS = [pytest.param(1, id="quick"), pytest.param(30, id="many", marks=pytest.mark.faults)]


def cases(number: int) -> Callable[[Any], Any]:
    return settings(
        max_examples=number, deadline=None, database=None, suppress_health_check=list(HealthCheck), print_blob=True
    )


def try_many(
    tier: int,
    number: int,
    strategy: st.SearchStrategy[Any],
    attempt: Callable[[Any], object],
    named: Callable[[Any], Sequence[str | Path]],
) -> None:
    """Cases drawn from a strategy; a UserError has one of the names of its case, and nothing else may be raised."""

    tried = 0

    @cases(tier * number)
    @given(strategy)
    def one(case: Any) -> None:
        nonlocal tried
        tried += 1
        try:
            attempt(case)
        except UserError as error:
            names = [str(name) for name in named(case)]
            assert any(name in str(error) for name in names), f"none of {names} in: {error}"

    one()
    assert tried >= tier * number * 0.9, f"{tried} cases"


def toml(value: Any) -> str:
    try:
        return json.dumps(value)
    except (TypeError, ValueError):
        return repr(value)


def keys_of(given: list[str]) -> list[str]:
    """Of assignments: the key with its value, or with that of an item, where it is a setting; all of what is none."""
    parts = [assignment.partition("=") for assignment in given]
    keys = [".".join(part.strip() for part in key.split(".")) for key, equals, _ in parts if equals]
    settings = [f"{key}{end}" for key in keys if key in KEYS for end in (" = ", ".")]
    unknown = [f"unknown key {key.partition('.')[0]}" for key in keys if key not in KEYS]
    return [
        *settings,
        *unknown,
        *(key for key in keys if key not in KEYS),
        *(f"--set {assignment}" for assignment in given),
    ]


@pytest.mark.parametrize("tier", TIERS)
def test_assignments(tier: int) -> None:
    key = st.sampled_from(KEYS) | st.lists(TEXT, max_size=4).map(".".join)
    one = st.tuples(key, VALUES.map(toml) | TEXT).map("=".join) | TEXT
    try_many(tier, 60, st.lists(one, min_size=1, max_size=3), lambda given: override(digits(), given), keys_of)


@pytest.mark.parametrize("tier", TIERS)
def test_assignments_that_pass_are_checked_before_anything_starts(tier: int) -> None:
    numbers = st.integers(-2, 70) | st.floats(-2, 2) | st.sampled_from(["none", "true", '"x"', "[1, 2]", "{}"])
    options = ["space.options.num_filters", "space.options.filter_heights", "space.options.depth", "space.function"]
    key = st.sampled_from([*KEYS, *options])
    names = st.sampled_from(list(EXPERIMENTS))

    def attempt(case: tuple[str, list[tuple[str, Any]]]) -> None:
        name, assignments = case
        small = ["search.depth=2", "search.max_depth=2", "controller.hidden_units=4"]
        given = [f"{key}={value}" for key, value in assignments if key not in ("search.depth", "search.max_depth")]
        configuration = override(experiment_named(name), [*small, *given])
        assume(configuration.controller.hidden_units < 100 and configuration.controller.num_layers < 5)
        check_configuration(configuration)

    try_many(
        tier,
        15,
        st.tuples(names, st.lists(st.tuples(key, numbers), min_size=1, max_size=2)),
        attempt,
        lambda case: ["space.options", *(key.split(".")[-1] for key, _ in case[1])],
    )


def mutated(data: Any, chance: random.Random) -> Any:
    """JSON data with one value, key or branch changed."""
    if isinstance(data, dict) and data and chance.random() < 0.9:
        key = chance.choice(sorted(data))
        if chance.random() < 0.1:
            return {k: v for k, v in data.items() if k != key}
        return {**data, key: mutated(data[key], chance)}
    return chance.choice([None, -1, 0, 1e308, float("nan"), "", "x", [], {}, [[]], True, 10**400, {"a": 1}, "models"])


@pytest.mark.parametrize("tier", TIERS)
def test_config_json(tier: int, tmp_path: Path) -> None:
    path = create_run(tmp_path, digits()).config
    whole = json.loads(path.read_text())
    written = path.read_bytes()

    def attempt(seed: int) -> None:
        chance = random.Random(seed)
        if chance.random() < 0.5:  # a stranger's, sealed
            changed = mutated({key: whole[key] for key in ("format", "configuration", "packages")}, chance)
            write_json(path, changed if isinstance(changed, dict) else {"format": 3, "configuration": changed})
        else:
            content = bytearray(written)
            for _ in range(chance.randrange(1, 4)):
                content[chance.randrange(len(content))] = chance.randrange(256)
            path.write_bytes(content[: chance.choice([len(content), chance.randrange(len(content))])])
        open_run(tmp_path)

    try_many(tier, 60, st.integers(0, 2**32), attempt, lambda case: [path])


@pytest.mark.parametrize("tier", TIERS)
def test_site_files(tier: int, tmp_path: Path) -> None:
    path = tmp_path / "site.toml"
    keys = st.sampled_from(["kind", "workers", "address", "slurm", "tls", "dashboard", "jobs"]) | TEXT
    lines = st.tuples(keys, VALUES.map(toml)).map(lambda pair: f"{pair[0]} = {pair[1]}")
    heads = st.sampled_from(["[cluster]", "[cluster.slurm]", "[search]", "", "[[cluster]]", "cluster = 1"])
    texts = st.tuples(heads, st.lists(lines, max_size=3)).map(lambda pair: "\n".join([pair[0], *pair[1]]).encode())

    def attempt(content: bytes) -> None:
        path.write_bytes(content)
        with_site(digits(), path)

    try_many(tier, 60, texts.map(lambda t: t) | st.binary(max_size=60), attempt, lambda case: [path])


COLUMNS = st.lists(st.sampled_from(["a", "b", "r", "a.b", "", "c"]), min_size=1, max_size=3)


def frames(chance: random.Random) -> pa.Table:
    """A table with columns of any kind."""
    rows = chance.randrange(0, 4)
    kinds: list[Callable[[], Any]] = [
        lambda: chance.randrange(5), lambda: chance.random(), lambda: chance.choice("xyz"), lambda: None,
        lambda: chance.random() < 0.5, lambda: b"\xff", lambda: pd.Timestamp("2020-01-01"), lambda: [1],
        lambda: {"k": 1}, lambda: float("nan"), lambda: float("inf"), lambda: pd.Timedelta(1), lambda: 2**63 - 1,
    ]  # fmt: skip
    columns = {}
    for name in chance.sample(["a", "b", "r", "a.b", "c"], chance.randrange(0, 5)):
        kind = chance.choice(kinds)
        array = pa.array([kind() if chance.random() < 0.9 else None for _ in range(rows)])
        plain = not pa.types.is_nested(array.type) and not pa.types.is_null(array.type)
        columns[name] = array.dictionary_encode() if plain and chance.random() < 0.2 else array
    return pa.table(columns)


@pytest.mark.parametrize("tier", TIERS)
def test_tables_of_networks(tier: int, tmp_path: Path) -> None:
    path = tmp_path / "table.parquet"

    def attempt(case: tuple[int, list[str]]) -> None:
        chance, columns = random.Random(case[0]), case[1]
        pq.write_table(frames(chance), path)
        if chance.random() < 0.3:
            content = bytearray(path.read_bytes())
            content[chance.randrange(len(content))] = chance.randrange(256)
            path.write_bytes(content[: chance.choice([len(content), chance.randrange(len(content))])])
        configuration = with_table(experiment_named("table"), path, ",".join(columns), "r", None)
        json.dumps(to_dict(configuration), allow_nan=False)
        check_configuration(configuration)
        prepare_data(configuration.data, tmp_path / "cache")

    try_many(tier, 60, st.tuples(st.integers(0, 2**32), COLUMNS), attempt, lambda case: [path, "--columns"])


@pytest.mark.parametrize("tier", TIERS)
def test_text_files(tier: int, tmp_path: Path) -> None:
    words = st.lists(
        st.sampled_from(["the", "of", "<unk>", "<eos>", "\n", "\r", "\0", "\u2028", "ä", "\ufeff"]), max_size=12
    )
    contents = words.map(lambda parts: " ".join(parts).encode()) | st.binary(max_size=30)
    numbers = st.none() | st.integers(-1, 12)

    def attempt(case: tuple[bytes, bytes, Any, Any, Any]) -> None:
        train, valid, vocabulary, num_train, num_validation = case
        for name, content in (("train", train), ("valid", valid), ("test", b"x")):
            (tmp_path / f"{name}.txt").write_bytes(content)
        given = {"vocabulary": vocabulary, "num_train": num_train, "num_validation": num_validation}
        data = to_dict(digits()) | {"data": {"dataset": "text", "folder": str(tmp_path), **given}}
        prepared = prepare_data(from_dict(data, "test").data, tmp_path / "cache")
        arrays = [np.load(prepared / f"{name}.npy") for name in ("train", "validation", "vocabulary")]
        assert all(array.min() >= 0 and array.max() < len(arrays[2]) for array in arrays[:2])

    try_many(
        tier, 60, st.tuples(contents, contents, numbers, numbers, numbers), attempt, lambda case: [tmp_path, "data."]
    )


@pytest.mark.parametrize("tier", TIERS)
def test_images(tier: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasets, "CIFAR10_TRAIN", 2)
    monkeypatch.setattr(datasets, "CIFAR10_TEST", 2)
    whole = io.BytesIO()
    Image.fromarray(np.zeros((32, 32, 3), np.uint8)).save(whole, "PNG")

    def attempt(seed: int) -> None:
        chance = random.Random(seed)
        images = [bytearray(whole.getvalue()) for _ in range(2)]
        if chance.random() < 0.5:
            images[1][chance.randrange(len(images[1]))] = chance.randrange(256)
        content: list[Any] = [{"bytes": bytes(image), "path": None} for image in images]
        if chance.random() < 0.3:
            content[0] = chance.choice([None, {"bytes": None}, {"bytes": b""}])
        labels = chance.choice([[0, 9], [0, 10], [0, None], [-1, 2], [0.5, 1.0], ["a", "b"], [True, False]])
        for name in ("train", "test"):
            pq.write_table(pa.table({"img": content, "label": labels}), tmp_path / f"{name}.parquet")
        if chance.random() < 0.4:
            damaged = bytearray((tmp_path / "train.parquet").read_bytes())
            damaged[chance.randrange(len(damaged))] = chance.randrange(256)
            (tmp_path / "train.parquet").write_bytes(damaged)
        prepare_data(DataSettings(folder=str(tmp_path), num_validation=1), tmp_path / "cache")

    try_many(tier, 30, st.integers(0, 2**32), attempt, lambda case: [tmp_path / "train.parquet"])


@pytest.mark.parametrize("tier", TIERS)
def test_tokens(tier: int) -> None:
    spaces = [EXPERIMENTS[name]().space for name in ("digits", "ptb", "cifar10_pooling")]
    spaces.append(override(digits(), ["space.function=models.layer_space:layer_space", "space.options={}"]).space)

    def attempt(case: tuple[int, int, list[int]]) -> None:
        space = spaces[case[0]]
        try:
            SearchSpace(space.function, space.options).decode(case[1], case[2])
        except ValueError as error:
            assert "token" in str(error)

    tokens = st.lists(st.integers(-1, 5) | st.integers(), max_size=30)
    try_many(tier, 30, st.tuples(st.integers(0, 3), st.integers(1, 3), tokens), attempt, lambda case: [])


@pytest.mark.parametrize("tier", TIERS)
def test_journals(tier: int, tmp_path: Path) -> None:
    from pipeline.journal import journal_line

    path = tmp_path / "journal.jsonl"
    names = st.sampled_from(["samples", "results", "updates", "epochs", "other"])
    rows = st.dictionaries(st.sampled_from(["trial_id", "update", "epoch", "status", "tokens", "reward"]), VALUES)
    entries = st.dictionaries(names, st.lists(rows, max_size=2) | VALUES, max_size=2)

    def attempt(case: tuple[list[Any], bytes]) -> None:
        lines = b"".join(journal_line(entry) for entry in case[0])
        path.write_bytes(lines + case[1])
        read_journal(path)

    try_many(tier, 40, st.tuples(st.lists(entries, max_size=3), st.binary(max_size=20)), attempt, lambda case: [path])
