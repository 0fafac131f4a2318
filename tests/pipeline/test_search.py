"""A whole search through the command line: what it leaves, and that nothing can make it come out otherwise."""

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pandas as pd
import pytest
from conftest import IN_THIS_PROCESS, assert_same_run, children_ended, run_here, run_quietly, tiny_run, type_in, wavenas

from models.space import SearchSpace
from pipeline.run_folder import driver_lock
from pipeline.run_paths import RunPaths


def test_a_search_leaves_tables_that_pandas_reads(finished_run: Path) -> None:
    results = pd.read_parquet(finished_run / "results")
    samples = pd.read_parquet(finished_run / "samples")
    epochs = pd.read_parquet(finished_run / "epochs")
    updates = pd.read_parquet(finished_run / "updates")
    assert sorted(results.trial_id) == sorted(samples.trial_id) == list(range(20))
    assert samples.wave.value_counts().sort_index().tolist() == [8, 8, 4]
    assert (results.status == "ok").all() and results.status.dtype == "category"
    assert len(epochs) == 40 and set(epochs.epoch) == {0, 1}
    last = epochs[epochs.epoch == 1].set_index("trial_id").validation_metric
    assert (results.set_index("trial_id").metric == last).all()  # the best of the last epoch, reward_epochs = 1
    assert results.reward.tolist() == [metric**3 for metric in results.metric.tolist()]
    assert updates.policy_version.tolist() == [1, 2, 3] and (updates.num_ok == [8, 8, 4]).all()
    assert str(results.ended_at.dtype) == "datetime64[us, UTC]"


def test_the_baseline_is_made_of_earlier_waves_alone(finished_run: Path) -> None:
    rewards = pd.read_parquet(finished_run / "results").sort_values("trial_id").reward.tolist()
    updates = pd.read_parquet(finished_run / "updates").sort_values("update")
    total = weight = 0.0
    expected = [0.0]
    for index, reward in enumerate(rewards[:16], start=1):
        total, weight = 0.95 * total + 0.05 * reward, 0.95 * weight + 0.05
        if index % 8 == 0:
            expected.append(total / weight)
    assert updates.baseline.tolist() == pytest.approx(expected)


def test_tokens_spell_the_architecture_of_their_row(finished_run: Path) -> None:
    options = {"filter_heights": [1, 3, 5], "filter_widths": [1, 3, 5], "num_filters": [2, 3, 4]}
    space = SearchSpace("models.conv_space:conv_space", options)
    for row in pd.read_parquet(finished_run / "samples").itertuples():
        assert json.loads(row.architecture) == json.loads(json.dumps(space.decode(row.depth, row.tokens).to_json()))


def test_a_finished_run_says_what_it_found_and_what_to_type_next(finished_run: Path) -> None:
    output = (finished_run / "output.txt").read_text()
    assert "20 children, 0 failed. The best is trial" in output
    assert "convolution" in output and "Classifier: global average pooling" in output
    command = re.search(r"import pandas.*", output)
    assert command is not None
    printed = run_quietly(
        [wavenas()[0], "-c", f"print(len({command[0].split('; ')[1]}))".replace("pd.", "__import__('pandas').")]
    )
    assert printed.strip() == "5"
    assert {path.name for path in (finished_run / "report").iterdir()} >= {"report.html", "rewards.png", "best_1.svg"}
    assert len(list((finished_run / "checkpoints").iterdir())) == 3
    assert (finished_run / "journal.jsonl").stat().st_size == 0
    config = json.loads((finished_run / "config.json").read_text())
    assert config["packages"]["torch"] and config["configuration"]["search"]["samples"] == 20


def test_the_readmes_example_reads_a_run(finished_run: Path) -> None:
    readme = (Path(__file__).parents[2] / "README.md").read_text()
    (code,) = [code for code in re.findall(r"```python\n(.*?)```", readme, re.DOTALL) if "pd.read_parquet" in code]
    printed = run_quietly([wavenas()[0], "-c", code.replace("runs/digits-1", str(finished_run))])
    assert printed.split()[0] == "trial_id" and printed.count("layers") == 5


def test_status_and_report_of_a_run_whose_last_wave_was_not_committed(finished_run: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    shutil.copytree(finished_run, folder)
    sorted((folder / "checkpoints").iterdir())[-1].unlink()
    shutil.rmtree(folder / "report")
    assert "No driver is at work on it. Go on with: " in type_in("status", folder)
    (folder / "control").mkdir()
    shutil.copy(folder / "config.json", folder / "control")  # begun, without a result
    assert "report/report.html" in type_in("report", folder)
    assert "control" not in (folder / "report" / "summary.txt").read_text()


def test_a_run_without_one_reward_fails(tmp_path: Path) -> None:
    tiny = ["search.samples=4", "cluster.processes=false", "cluster.workers=1"]
    output = run_here(tmp_path / "run", *tiny, "child.batch_size=1", "child.task=math:sqrt", expected=1)
    assert "none of them well" in output and "not one child ended well enough to be rewarded" in output
    assert (pd.read_parquet(tmp_path / "run" / "results").status == "failed").all()


def test_the_control_has_a_lock_of_its_own(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    tiny = ["search.control=random", "search.samples=4", "child.epochs=1"]
    run_here(folder, *tiny, "cluster.processes=false", "cluster.workers=1")
    for path in (folder / "control" / "checkpoints").iterdir():
        path.unlink()
    with driver_lock(RunPaths(folder / "control")):
        assert "another driver is at work" in type_in("resume", folder, expected=2)


def test_resuming_a_finished_run_changes_nothing(finished_run: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(finished_run, tmp_path / "run"))
    before = {path: path.read_bytes() for path in folder.rglob("*.p*t*") if "report" not in path.parts}
    type_in("resume", folder)
    assert before == {path: path.read_bytes() for path in before}


@pytest.mark.parametrize("workers", [1, 3])
def test_any_number_of_workers_gives_the_same_tables(workers: int, finished_run: Path, tmp_path: Path) -> None:
    run_here(tmp_path / "run", f"cluster.workers={workers}")
    assert_same_run(tmp_path / "run", finished_run)


@pytest.mark.faults
def test_killed_in_mid_wave_and_resumed_it_equals_a_run_never_killed(
    finished_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "run"
    _start_and_signal(folder, signal.SIGKILL, monkeypatch)
    before = pd.read_parquet(folder / "results")
    type_in("resume", folder)
    assert_same_run(folder, finished_run)
    after = pd.read_parquet(folder / "results").set_index("trial_id").loc[before.trial_id]
    assert (after.ended_at.to_numpy() == before.ended_at.to_numpy()).all()
    assert children_ended(folder) == 20, "a finished child was trained again"


@pytest.mark.parametrize("number", [signal.SIGINT, pytest.param(signal.SIGTERM, marks=pytest.mark.faults)])
def test_interrupted_it_prints_the_command_that_resumes_it(
    number: int, finished_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "run"
    code, output = _start_and_signal(folder, number, monkeypatch)
    assert code == 130, output
    command = re.search(r"Go on with: (.*)", output)
    assert command is not None, output
    assert "Traceback" not in output
    run_quietly(shlex.split(command[1]))
    assert_same_run(folder, finished_run)


@pytest.mark.faults
def test_a_child_whose_worker_keeps_dying_is_lost(tmp_path: Path) -> None:
    task = "child.task=deadly_task:die_unless_first"
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parent)}  # workers find the module there
    command = tiny_run(
        tmp_path / "run", task, "search.samples=2", "search.children_per_replica=2", "cluster.allowed_failures=1"
    )
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=240)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    results = pd.read_parquet(tmp_path / "run" / "results").set_index("trial_id")
    assert results.status.tolist() == ["ok", "lost_worker"]
    assert results.attempts[1] == 2 and "its worker died 2 times" in results.error[1]
    updates = pd.read_parquet(tmp_path / "run" / "updates")
    assert (updates.num_ok[0], updates.num_failed[0]) == (1, 1) and updates.mean_reward[0] == results.reward[0]


@pytest.mark.faults
def test_a_child_whose_worker_dies_goes_on_from_its_last_epoch(tmp_path: Path) -> None:
    few = ["search.samples=2", "search.children_per_replica=2", "child.epochs=8"]
    run_here(tmp_path / "reference", *few, *IN_THIS_PROCESS)
    task = ["child.task=deadly_task:die_once_kept", "child.checkpoint_minutes=1e-9"]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parent)}
    command = tiny_run(tmp_path / "run", *few, *task)
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=240)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    left = sorted((tmp_path / "run" / "children").glob("trial-*"))
    assert [path.name for path in left] == ["trial-000000.died", "trial-000001.died"], "kept until its result is in"
    assert all(int(path.read_text()) >= 1 for path in left)
    assert_same_run(tmp_path / "run", tmp_path / "reference")


def test_the_control_is_a_random_search_of_as_many_children(tmp_path: Path) -> None:
    output = run_here(
        tmp_path / "run", "search.control=random", "search.samples=8", "cluster.processes=false", "cluster.workers=1"
    )
    control = pd.read_parquet(tmp_path / "run" / "control" / "updates")
    assert len(pd.read_parquet(tmp_path / "run" / "control" / "results")) == 8
    assert control.gradient_norm.isna().all()
    assert re.search(r"best reward +\d\.\d+ +\d\.\d+", output) and "one seed each" in output


def test_children_that_are_too_large_are_outcomes_with_reward_0(tmp_path: Path) -> None:
    run_here(
        tmp_path / "run",
        "search.max_parameters=150",
        "search.samples=8",
        "cluster.processes=false",
        "cluster.workers=1",
    )
    results = pd.read_parquet(tmp_path / "run" / "results")
    large = results.parameters > 150
    assert 0 < large.sum() < 8
    assert (results.status[large] == "too_large").all() and (results.status[~large] == "ok").all()
    assert (results.reward[large] == 0).all() and (results.epochs[large] == 0).all()
    assert pd.read_parquet(tmp_path / "run" / "updates").num_ok.tolist() == [8]


def _start_and_signal(folder: Path, number: int, monkeypatch: pytest.MonkeyPatch) -> tuple[int, str]:
    """Start a tiny run, signal it in the midst of its second wave, and wait. Returns exit code and output.

    Trials from 12 on begin once it has ended: no load of the machine makes the signal come too late.
    """
    go = folder.with_name("go")
    monkeypatch.setenv("WAVENAS_TEST_GO", str(go))
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent))  # workers find the task there
    process = subprocess.Popen(
        tiny_run(folder, "child.task=held_task:held_from_12"),
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True,
    )  # fmt: skip
    deadline = time.monotonic() + 200
    while children_ended(folder) < 12 and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.05)
    if number == signal.SIGINT:
        os.killpg(process.pid, number)  # as a terminal does
    else:
        process.send_signal(number)
    output, _ = process.communicate(timeout=240)
    assert children_ended(folder) == 12, output
    go.touch()
    return process.returncode, output
