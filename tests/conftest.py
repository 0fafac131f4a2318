"""Fixtures that several test modules share. Runs are real: the command line, Dask workers, Parquet files."""

import os
import re
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import fmean
from typing import Any, NoReturn

import hypothesis
import numpy as np
import pandas as pd
import pytest
from distributed import Client
from filelock import FileLock
from typer.testing import CliRunner

from pipeline.checkpoints import load_checkpoint
from pipeline.command_line import app
from pipeline.run_folder import open_run
from pipeline.run_paths import RunPaths
from pipeline.search import first_state
from tasks.records import PolicyState, ReduceRequest
from tasks.shards import take_step
from tasks.waves import policy_gradient, take_rewards

TINY = [
    "search.samples=20", "search.children_per_replica=8", "search.depth=2", "search.max_depth=2", "search.control=none",
    "space.options.num_filters=[2,3,4]", "data.num_train=1000", "data.num_validation=100", "child.epochs=2",
    "cluster.workers=2",
]  # fmt: skip
# Where CI is set, as in .ci/run, the same examples are drawn each time; elsewhere others.
hypothesis.settings.register_profile("wavenas", deadline=None, derandomize="CI" in os.environ)
hypothesis.settings.load_profile("wavenas")
# what may differ between equal runs
CHANCE_COLUMNS = ["seconds", "worker", "ended_at", "examples_per_second", "attempts", "error"]
IN_THIS_PROCESS = ("cluster.workers=1", "cluster.processes=false")


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Tests of a GPU are skipped, with the reason, where there is none."""
    if item.get_closest_marker("gpu"):
        import torch

        if not torch.cuda.is_available():
            pytest.skip("needs a GPU, and torch sees none here")


def skip_unless_it_must_run(reason: str) -> NoReturn:
    """Where WAVENAS_NO_SKIPS is set, as in .ci/run for root, what a test needs has to be there."""
    (pytest.fail if os.environ.get("WAVENAS_NO_SKIPS") else pytest.skip)(reason)


def wavenas(*arguments: str | Path) -> list[str]:
    """The command line as a list, in this Python."""
    return [sys.executable, "-m", "pipeline", *map(str, arguments)]


def type_in(*arguments: str | Path, expected: int = 0) -> str:
    """Give arguments to the command line in this process; what it printed, if it ended with the expected code."""
    result = CliRunner().invoke(app, list(map(str, arguments)))
    assert result.exit_code == expected, result.output
    return result.output


def tiny_run(folder: Path, *settings: str) -> list[str]:
    """The command that makes a search of 20 tiny children in 3 waves; later settings win."""
    sets = [part for setting in [*TINY, *settings] for part in ("--set", setting)]
    return wavenas("run", "--experiment", "digits", "--run", folder, *sets)


def run_here(folder: Path, *settings: str, expected: int = 0) -> str:
    """A tiny search with its driver in this process, which has imported everything already."""
    return type_in(*tiny_run(folder, *settings)[3:], expected=expected)


def run_quietly(command: Sequence[str], expected: int = 0) -> str:
    """Run a command to its end and return what it printed; fail with it where the exit code is another."""
    ended = subprocess.run(command, capture_output=True, text=True, timeout=600)
    output = ended.stdout + ended.stderr
    assert ended.returncode == expected, output
    return output


def comparable_tables(folder: Path) -> dict[str, pd.DataFrame]:
    """The tables of a run in order of their keys, without the columns that time and place decide."""
    keys = {"samples": ["trial_id"], "results": ["trial_id"], "epochs": ["trial_id", "epoch"], "updates": ["update"]}
    tables = {}
    for name, key in keys.items():
        table = pd.read_parquet(folder / name).sort_values(key, ignore_index=True)
        tables[name] = table.drop(columns=CHANCE_COLUMNS, errors="ignore")
    return tables


def assert_same_run(folder: Path, reference: Path) -> None:
    """Equal tables, byte-equal controller."""
    ours, theirs = comparable_tables(folder), comparable_tables(reference)
    for name in theirs:
        pd.testing.assert_frame_equal(ours[name], theirs[name], check_exact=True, obj=name)
    state, expected = load_checkpoint(RunPaths(folder)), load_checkpoint(RunPaths(reference))
    assert state is not None and expected is not None and state.waves == expected.waves
    assert (state.policy.baseline_sum, state.policy.version) == (expected.policy.baseline_sum, expected.policy.version)
    assert state.policy.parameters.keys() == expected.policy.parameters.keys()
    for name, weight in expected.policy.parameters.items():
        assert state.policy.parameters[name].tobytes() == weight.tobytes(), name


def assert_replayable(folder: Path) -> None:
    """The last checkpoint, bit for bit, from the tables alone: snapshots, rewards, and the order of the gradients."""
    _, configuration = open_run(folder)
    settings, lr = configuration.search, configuration.controller.learning_rate
    names = ("samples", "results", "updates")
    samples, results, updates = (pd.read_parquet(folder / name).sort_values("wave") for name in names)
    policies: dict[int, PolicyState] = {0: first_state(configuration).policy}
    policy, pending = policies[0], []
    earned: dict[str, dict[int, float]] = {}  # by architecture and trial, of those taken in so far
    for update in updates.sort_values("update").itertuples():
        drawn = samples[samples.wave == update.wave].sort_values("trial_id")
        counted = results.set_index("trial_id").loc[drawn.trial_id]
        counted = counted[counted.status.isin(["ok", "diverged", "too_large"])]
        tokens = drawn.set_index("trial_id").tokens[counted.index]
        rewards = counted.reward.tolist()
        if settings.duplicates == "average":
            hashes = drawn.set_index("trial_id").architecture_hash[counted.index]
            for trial, kind, reward in zip(counted.index, hashes, rewards, strict=True):
                earned.setdefault(kind, {})[trial] = reward
            rewards = [
                fmean(reward for other, reward in earned[kind].items() if other <= trial)
                for trial, kind in hashes.items()
            ]
        snapshot = policies[drawn.policy_version.iloc[0]]
        assert update.staleness == policy.version - snapshot.version and update.baseline == policy.baseline
        request = ReduceRequest(
            replace(snapshot, baseline_sum=policy.baseline_sum, baseline_weight=policy.baseline_weight),
            configuration.controller, configuration.space, 1, tuple(map(tuple, tokens)), tuple(rewards),
        )  # fmt: skip
        policy = take_rewards(policy, request)
        pending.append(policy_gradient(request))
        if len(pending) == settings.gradients_per_step or update.Index == len(updates) - 1:
            policy, pending = take_step(policy, pending, lr, settings.shards), []
            policies[policy.version] = policy
        assert update.policy_version == policy.version
    state = load_checkpoint(RunPaths(folder))
    assert state is not None and state.samples == settings.samples and state.early == ()
    assert (state.policy.version, state.policy.baseline_sum) == (policy.version, policy.baseline_sum)
    for name, weight in policy.parameters.items():
        assert np.array_equal(state.policy.parameters[name], weight), name


@pytest.fixture(scope="session", autouse=True)
def own_states(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Which runs are trusted is not kept in the home of who tests."""
    os.environ["XDG_STATE_HOME"] = str(tmp_path_factory.getbasetemp() / "states")


@pytest.fixture(scope="session")
def finished_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny search that nothing disturbed, for all processes that test. Not to be changed."""
    base = tmp_path_factory.getbasetemp()
    common = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    folder = common / "finished"
    with FileLock(common / "finished.lock"):
        if not (output := folder / "output.txt").exists():
            output.write_text(run_quietly(tiny_run(folder)))
    return folder


def children_ended(folder: Path) -> int:
    """Children whose end is in the log of a run: each was durable before."""
    log = folder / "run.log"
    return len(re.findall(r"^.{23} \w+ trial \d+: ", log.read_text(), re.MULTILINE)) if log.exists() else 0


@pytest.fixture(scope="session")
def small_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished search of 6 tiny children in this process, for what comes after a search. Not to be changed."""
    folder = tmp_path_factory.mktemp("runs") / "small"
    run_here(folder, "search.samples=6", "search.children_per_replica=3", *IN_THIS_PROCESS)
    return folder


@pytest.fixture(scope="session")
def real_data() -> Callable[[str], Path]:
    """The folder of a real data set under WAVENAS_DATA; skips where it is not there."""

    def find(name: str) -> Path:
        root = os.environ.get("WAVENAS_DATA")
        if not root:
            pytest.skip("WAVENAS_DATA is unset: no real data")
        folder = Path(root) / name
        if not folder.is_dir():
            pytest.skip(f"{folder} does not exist")
        return folder

    return find


def dashboard_hosts(client: Client) -> set[str]:
    """Where the dashboard of a scheduler in this process listens, by its sockets."""
    sockets = client.cluster.scheduler.http_server._sockets.values()
    return {socket.getsockname()[0] for socket in sockets}


def assert_left_in_peace(client: Client) -> None:
    """Dask does nothing in workers beside their child that it can do without, and the rest seldom."""

    def periodic_callbacks(dask_worker: Any) -> dict[str, float]:  # milliseconds
        return {name: callback.callback_time for name, callback in dask_worker.periodic_callbacks.items()}

    for beside in client.run(periodic_callbacks).values():
        assert "heartbeat" in beside and not {"profile", "memory_monitor"} & {*beside}
        assert beside["tick"] == 1_000 and beside["monitor"] == 5_000


@pytest.fixture
def random_image() -> np.ndarray:
    """32×32 RGB in uint8."""
    return np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)


def search_table(table: Path, folder: Path, *more: str | Path, expected: int = 0) -> str:
    """Search the columns of a table, with the driver in this process."""
    fixed = ["--columns", "width, kind,skip", "--reward", "accuracy", "--samples", "160"]
    return type_in("run", "--experiment", "table", "--table", table, *fixed, "--run", folder, *more, expected=expected)


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """The table of `write_table`."""
    return write_table(tmp_path)


def write_table(folder: Path) -> Path:
    """Three columns of 4, 3 and 2 values; the accuracy grows with each; one combination is missing, one twice."""
    rows = [
        {
            "width": width,
            "kind": kind,
            "skip": skip,
            "accuracy": 0.3 + 0.1 * width + 0.1 * "abc".index(kind) + 0.1 * skip,
        }
        for width in (1, 2, 3, 4)
        for kind in "abc"
        for skip in (False, True)
    ]
    rows = [row for row in rows if (row["width"], row["kind"], row["skip"]) != (1, "a", False)]
    rows.append({**rows[-1], "accuracy": rows[-1]["accuracy"] - 0.02})
    pd.DataFrame(rows).sample(frac=1, random_state=0).to_parquet(folder / "table.parquet")
    return folder / "table.parquet"
