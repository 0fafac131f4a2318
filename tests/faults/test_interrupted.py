"""Ctrl-C and SIGTERM at any moment, once and twice: nothing is lost, the next command is told, no process is left."""

import os
import re
import signal
import subprocess
import time
from contextlib import suppress
from pathlib import Path

import pytest
from conftest import assert_same_run, children_ended, wavenas
from drivers import Moment, drive, exit_code, start_driver, wait_until
from outside import HERE, lives, worker_processes
from small_search import NUM_CHILDREN, search_undisturbed, start_command

pytestmark = [pytest.mark.faults, pytest.mark.timeout(1200)]

SIGNALS = {
    "Ctrl-C": (signal.SIGINT,),
    "SIGTERM": (signal.SIGTERM,),
    "Ctrl-C twice": (signal.SIGINT, signal.SIGINT),
    "SIGTERM, then Ctrl-C twice": (signal.SIGTERM, signal.SIGINT, signal.SIGINT),
}


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return search_undisturbed(tmp_path_factory.mktemp("undisturbed"))


@pytest.fixture
def table(undisturbed: Path) -> Path:
    return undisturbed.parent / "table.parquet"


@pytest.mark.parametrize("mode", ["waves", "async"])
@pytest.mark.parametrize("signals", SIGNALS)
def test_interrupted_while_children_train(
    signals: str, mode: str, undisturbed: Path, table: Path, tmp_path: Path
) -> None:
    folder, output = tmp_path / "run", tmp_path / "output.txt"
    command = start_command(folder, table, "--set", f"search.mode={mode}", "--set", "search.replicas=1")
    struck = Moment("pipeline.tables:Tables.append", 12, delay=0.01, numbers=SIGNALS[signals])
    assert drive(command, output, struck) == 130, output.read_text()
    assert f"Go on with: {' '.join(wavenas('resume', folder))}" in output.read_text()
    assert "Traceback" not in output.read_text()
    assert children_ended(folder) < NUM_CHILDREN
    assert drive(["resume", folder], output) == 0, output.read_text()
    assert_same_run(folder, undisturbed)


@pytest.mark.parametrize("signals", SIGNALS)
def test_interrupted_with_workers_none_is_left(signals: str, table: Path, tmp_path: Path) -> None:
    folder, output = tmp_path / "run", tmp_path / "output.txt"
    local = ["--set", "cluster.processes=true", "--set", "cluster.workers=2"]
    driver = start_driver(start_command(folder, table, *local), output)
    wait_until(lambda: children_ended(folder) >= 3, "children", driver)
    workers = worker_processes(driver.pid)
    assert len(workers) == 2
    for number in SIGNALS[signals]:
        with suppress(ProcessLookupError):  # it has ended already
            os.kill(driver.pid, number)
        time.sleep(0.2)
    assert exit_code(driver) == 130, output.read_text()
    assert "Go on with: " in output.read_text() and "Traceback" not in output.read_text()
    wait_until(lambda: not any(map(lives, workers)), "workers to end")


@pytest.mark.parametrize("function", ["pipeline.driver:open_cluster", "pipeline.driver:prepare_data"])
@pytest.mark.parametrize("signals", SIGNALS)
def test_interrupted_while_the_run_opens(
    signals: str, function: str, undisturbed: Path, table: Path, tmp_path: Path
) -> None:
    folder, output = tmp_path / "run", tmp_path / "output.txt"
    command = start_command(folder, table)
    delay = 0.1 if function.endswith("cluster") else None
    code = drive(command, output, Moment(function, delay=delay, numbers=SIGNALS[signals]))
    assert code in (130, -signal.SIGTERM) and "Traceback" not in output.read_text(), output.read_text()
    begun = (folder / "config.json").exists()
    assert begun == ("Go on with: " in output.read_text()) == function.endswith("cluster")
    assert drive(["resume", folder] if begun else command, output) == 0, output.read_text()
    assert_same_run(folder, undisturbed)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_in_its_report_the_run_is_done_and_its_report_made_by_resume(
    number: int, undisturbed: Path, table: Path, tmp_path: Path
) -> None:
    folder, output = tmp_path / "run", tmp_path / "output.txt"
    struck = Moment("pipeline.report.write:summary_text", numbers=(number,))
    assert drive(start_command(folder, table), output, struck) == 130, output.read_text()
    assert not (folder / "report" / "rewards.png").exists()
    assert_same_run(folder, undisturbed)
    assert drive(["resume", folder], output) == 0, output.read_text()
    assert (folder / "report" / "rewards.png").exists()
    assert_same_run(folder, undisturbed)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_ended_at_any_moment_of_its_start_it_can_be_started(
    number: int, undisturbed: Path, table: Path, tmp_path: Path
) -> None:
    """The real command, from its first instruction on: nothing is imported yet."""
    folder, output = tmp_path / "run", tmp_path / "output.txt"
    command = wavenas(*start_command(folder, table))
    started = time.monotonic()
    subprocess.run(wavenas("experiments"), check=True, capture_output=True)
    start_up = 2 * (time.monotonic() - started)
    environment = {**os.environ, "PYTHONPATH": str(HERE)}
    for share in (0.0, 0.1, 0.2, 0.35, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0):
        with output.open("ab") as file:
            process = subprocess.Popen(command, env=environment, stdout=file, stderr=file)
        time.sleep(share * start_up)
        process.send_signal(number)
        code, told = process.wait(120), output.read_text()
        assert code in (130, -number, 0) or (code, "Fatal Python error: init_" in told) == (1, True), (
            told
        )  # Python's own
        if (folder / "config.json").exists():
            command = wavenas("resume", folder)
    traces = re.findall(r"^Traceback.*?^(\w+)(?::|$)", output.read_text(), re.MULTILINE | re.DOTALL)
    assert set(traces) <= {"KeyboardInterrupt"}, output.read_text()
    assert drive(command[3:], output) == 0, output.read_text()
    assert_same_run(folder, undisturbed)
