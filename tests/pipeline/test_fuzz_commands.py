"""Whatever is wrong with what a command is given: exit code 2 with its name, no traceback, no worker, no new run."""

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from damaged_runs import make_runs
from hypothesis import given
from hypothesis import strategies as st
from test_fuzz import KEYS, TEXT, TIERS, cases
from typer.testing import CliRunner

from pipeline import driver
from pipeline.command_line import app
from pipeline.seals import read_json, write_json

OPEN_ENDED = {"space.options", "final.grid"}  # which take any table
VALID = "search.seed"  # which each command is given beside
TYPED = sorted(set(KEYS) - OPEN_ENDED - {VALID})
OPEN_CLUSTER = driver.open_cluster
WRONG = ["{a = 1}", "[[[]]]", "[{}]"]  # for every one of them


@pytest.fixture(autouse=True)
def no_cluster(monkeypatch: pytest.MonkeyPatch) -> None:
    def opened(*_: object) -> None:
        raise AssertionError("a cluster was opened")

    monkeypatch.setattr(driver, "open_cluster", opened)


def refused(name: str, *arguments: str | Path) -> None:
    ended = CliRunner().invoke(app, list(map(str, arguments)))
    told = " ".join(ended.output.split())
    assert ended.exit_code == 2 and isinstance(ended.exception, SystemExit), f"{arguments}: {ended.output}"
    assert "Traceback" not in told and " ".join(name.split()) in told, f"{name!r} not in {told}"


@pytest.mark.parametrize("tier", TIERS)
def test_settings(tier: int, tmp_path: Path) -> None:
    wrong = st.tuples(st.sampled_from(TYPED), st.sampled_from(WRONG))
    unknown = st.tuples(TEXT.map(lambda text: "search.x" + "".join(filter(str.isalnum, text))), st.just("1"))

    @cases(20 * tier)
    @given(wrong | unknown, st.sampled_from(["digits", "cifar10_small", "ptb_small"]), st.booleans())
    def one(setting: tuple[str, str], experiment: str, first: bool) -> None:
        key, value = setting
        sets = [f"{VALID}=3", f"{key}={value}"]
        options = [part for one in (sets[::-1] if first else sets) for part in ("--set", one)]
        refused(key, "run", "--experiment", experiment, "--run", tmp_path / "run", *options)
        assert not (tmp_path / "run").exists()

    one()


@pytest.mark.parametrize("tier", TIERS)
def test_files_of_a_new_run(tier: int, tmp_path: Path) -> None:
    table, site = tmp_path / "networks.parquet", tmp_path / "site.toml"

    @cases(20 * tier)
    @given(st.integers(0, 2**32))
    def one(seed: int) -> None:
        chance = random.Random(seed)
        content: dict[str, list[Any]] = {"a": [1, 2], "b": ["x", "y"], "r": [0.1, 0.2]}
        content[chance.choice("abr")] = chance.choice([[[1], [2]], [b"x", b"y"], [{}, {"k": 1}], [None, None]])
        pq.write_table(pa.table(content), table)
        if chance.random() < 0.4:
            table.write_bytes(table.read_bytes()[: chance.randrange(table.stat().st_size - 8)])
        where = ["--run", tmp_path / "run"]
        refused(
            str(table), "run", "--experiment", "table", "--table", table, "--columns", "a,b", "--reward", "r", *where
        )
        lines = ["[cluster]", chance.choice(["kind = 7", "workers = 'x'", "unknown = 1", "=", "workers = 0"])]
        site.write_bytes("\n".join(lines).encode() + chance.choice([b"", b"\n", b"\n[search]\nseed = 1"]))
        refused(str(site), "run", "--experiment", "digits", "--site", site, *where)
        assert not (tmp_path / "run").exists()

    one()


def with_wrong_value(path: Path, chance: random.Random) -> str:
    """Put a value of no setting's type into a sealed config.json; the setting's name."""
    content = read_json(path)
    section, name = chance.choice(TYPED).split(".", 1)
    content["configuration"][section][name] = chance.choice([{"a": 1}, [[[]]]])
    write_json(path, content)
    return f"{section}.{name}"


def flip_any(path: Path, chance: random.Random) -> str:
    content = bytearray(path.read_bytes())
    content[chance.randrange(len(content))] ^= 1 << chance.randrange(8)
    path.write_bytes(content)
    return str(path)


@pytest.mark.parametrize("tier", TIERS)
def test_files_of_a_run_that_is_resumed(tier: int, tmp_path: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(driver, "open_cluster", OPEN_CLUSTER)
        run = make_runs(tmp_path) / "run"
    parts = sorted(run.glob("*/part-*.parquet"))
    whole = {path: path.read_bytes() for path in (run / "config.json", run / "journal.jsonl", *parts)}
    faults: list[tuple[Path, Callable[[Path, random.Random], str]]] = [
        *((path, flip_any) for path in whole), *[(run / "config.json", with_wrong_value)] * 4,
    ]  # fmt: skip

    @cases(20 * tier)
    @given(st.integers(0, 2**32))
    def one(seed: int) -> None:
        chance = random.Random(seed)
        path, fault = chance.choice(faults)
        refused(fault(path, chance), "resume", run)
        path.write_bytes(whole[path])

    one()
