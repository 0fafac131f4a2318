"""Workers and nannies that die or stand still, a scheduler out of reach: the run goes on to the same end."""

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
from conftest import assert_same_run, children_ended, wavenas
from distributed import Client
from drivers import PATIENCE, drive, ended_at, exit_code, start_driver, wait_until
from outside import HERE, lives, say, scheduler, wait_for_workers, worker_processes, workers
from small_search import NUM_CHILDREN, search_undisturbed, start_command
from wire import Proxy, free_port

from pipeline.submit import Tasks

pytestmark = [pytest.mark.faults, pytest.mark.timeout(1200)]

LOCAL = ["--set", "cluster.processes=true", "--set", "cluster.workers=2"]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return search_undisturbed(tmp_path_factory.mktemp("undisturbed"))


@pytest.fixture
def table(undisturbed: Path) -> Path:
    return undisturbed.parent / "table.parquet"


@contextmanager
def running(command: list[str | Path], folder: Path) -> Iterator[Any]:
    """A driver that has to end well."""
    output = folder.with_name("output.txt")
    driver = start_driver(command, output)
    try:
        yield driver
        assert exit_code(driver) == 0, output.read_text()
    finally:
        driver.kill()


def wait_for_children(driver: Any, folder: Path, count: int) -> None:
    """Wait until so many children have ended since now."""
    target = children_ended(folder) + count
    assert target < NUM_CHILDREN - 5, "the run is too short"
    wait_until(lambda: children_ended(folder) >= target, f"child {target}", driver)


@pytest.mark.parametrize("mode", ["waves", "async"])
def test_workers_killed_one_by_one_and_all_at_once(mode: str, undisturbed: Path, table: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    with running(start_command(folder, table, *LOCAL, "--set", f"search.mode={mode}"), folder) as driver:
        for number in range(3):
            wait_for_children(driver, folder, 10)
            found = wait_for_workers(driver.pid, 2, driver)
            for process in found if number % 3 == 2 else found[:1]:
                process.kill()
    assert_same_run(folder, undisturbed)


def test_a_worker_that_stands_still_for_a_while_holds_nothing_up_for_good(
    undisturbed: Path, table: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    with running(start_command(folder, table, *LOCAL), folder) as driver:
        for _ in range(3):
            wait_for_children(driver, folder, 10)
            stopped = wait_for_workers(driver.pid, 2, driver)[0]
            stopped.suspend()
            time.sleep(2)
            stopped.resume()
    assert_same_run(folder, undisturbed)


@pytest.mark.parametrize("processes", ["true", "false"])
def test_a_driver_that_stands_still_for_long_goes_on(
    processes: str, undisturbed: Path, table: Path, tmp_path: Path
) -> None:
    folder, output = tmp_path / "run", tmp_path / "output.txt"
    command = start_command(folder, table, "--set", f"cluster.processes={processes}", "--set", "cluster.workers=2")
    ttl = {"DASK_DISTRIBUTED__SCHEDULER__WORKER_TTL": "5s"}
    with output.open("wb") as file:
        driver = subprocess.Popen(
            wavenas(*command), env={**os.environ, "PYTHONPATH": str(HERE), **ttl}, stdout=file, stderr=file
        )
    try:
        for _ in range(2):
            target = children_ended(folder) + 15
            wait_until(lambda target=target: children_ended(folder) >= target or driver.poll() is not None, "children")
            driver.send_signal(signal.SIGSTOP)
            time.sleep(12)
            driver.send_signal(signal.SIGCONT)
        assert driver.wait(PATIENCE) == 0, output.read_text()
    finally:
        driver.kill()
    assert_same_run(folder, undisturbed)


def test_the_only_worker_killed_may_take_long_to_come_again(undisturbed: Path, table: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    alone = ["--set", "cluster.processes=true", "--set", "cluster.workers=1"]
    with running(start_command(folder, table, *alone), folder) as driver:
        wait_for_children(driver, folder, 10)
        (killed,) = worker_processes(driver.pid)
        killed.kill()
        wait_until(lambda: killed not in worker_processes(driver.pid), "its end", driver)
        (slow,) = wait_for_workers(driver.pid, 1, driver)
        slow.suspend()
        time.sleep(20)  # Dask would have let it go after 15
        slow.resume()
    assert_same_run(folder, undisturbed)


def test_a_worker_that_stands_still_for_good_is_given_up(undisturbed: Path, table: Path, tmp_path: Path) -> None:
    folder, port = tmp_path / "run", free_port()
    with (
        scheduler(port, worker_ttl="10s"),
        workers(port, 1) as nanny,
        workers(port, 1),
        running(start_command(folder, table, "--cluster", f"tcp://127.0.0.1:{port}"), folder) as driver,
    ):
        wait_for_children(driver, folder, 10)
        (stopped,) = wait_for_workers(nanny.pid, 1)
        stopped.suspend()  # and nobody lets it go on
    assert_same_run(folder, undisturbed)


def test_the_workers_of_a_killed_driver_end_too(table: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    driver = start_driver(start_command(folder, table, *LOCAL), tmp_path / "output.txt")
    wait_for_children(driver, folder, 3)
    left = worker_processes(driver.pid)
    assert len(left) == 2
    driver.kill()
    wait_until(lambda: not any(map(lives, left)), "workers to end")


def test_a_nanny_killed_with_its_workers_is_replaced_by_another(undisturbed: Path, table: Path, tmp_path: Path) -> None:
    folder, port = tmp_path / "run", free_port()
    with scheduler(port), ExitStack() as stack:
        nanny = stack.enter_context(workers(port, 1))
        with running(start_command(folder, table, "--cluster", f"tcp://127.0.0.1:{port}"), folder) as driver:
            wait_for_children(driver, folder, 10)
            (worker,) = wait_for_workers(nanny.pid, 1)
            os.kill(nanny.pid, signal.SIGKILL)
            wait_until(lambda: not lives(worker), "the worker of a killed nanny to end")
            stack.enter_context(workers(port, 1))
    assert_same_run(folder, undisturbed)


def test_a_connection_that_breaks_for_a_while_is_opened_again(undisturbed: Path, table: Path, tmp_path: Path) -> None:
    folder, port = tmp_path / "run", free_port()
    with scheduler(port), workers(port, 2):
        wire = Proxy(port)
        command = start_command(folder, table, "--cluster", f"tcp://127.0.0.1:{wire.port}")
        with running(command, folder) as driver:
            for seconds in (0.0, 2.0, 5.0):
                wait_for_children(driver, folder, 10)
                wire.cut()
                time.sleep(seconds)
                wire.mend()
    assert_same_run(folder, undisturbed)
    assert "the connection to the scheduler was lost" in (folder / "run.log").read_text()


def test_a_connection_that_stalls_for_a_while_holds_nothing_up_for_good(
    undisturbed: Path, table: Path, tmp_path: Path
) -> None:
    folder, port = tmp_path / "run", free_port()
    with scheduler(port), workers(port, 2):
        wire = Proxy(port)
        command = start_command(folder, table, "--cluster", f"tcp://127.0.0.1:{wire.port}")
        with running(command, folder) as driver:
            for seconds in (2.0, 10.0):
                wait_for_children(driver, folder, 10)
                wire.stall()
                time.sleep(seconds)
                wire.flow()
    assert_same_run(folder, undisturbed)


def test_a_scheduler_that_is_started_again_goes_on_with_the_run(undisturbed: Path, table: Path, tmp_path: Path) -> None:
    folder, port = tmp_path / "run", free_port()
    with ExitStack() as stack:
        first = stack.enter_context(scheduler(port))
        stack.enter_context(workers(port, 1))
        with running(start_command(folder, table, "--cluster", f"tcp://127.0.0.1:{port}"), folder) as driver:
            wait_for_children(driver, folder, 10)
            os.kill(first.pid, signal.SIGKILL)
            first.wait()
            stack.enter_context(scheduler(port))
            stack.enter_context(workers(port, 1))
    assert_same_run(folder, undisturbed)


def test_a_scheduler_that_is_started_again_while_nothing_is_under_way_passes_words_on() -> None:
    port, heard = free_port(), list[str]()
    with ExitStack() as stack:
        first = stack.enter_context(scheduler(port))
        stack.enter_context(workers(port, 1))
        client = stack.enter_context(Client(f"tcp://127.0.0.1:{port}"))
        tasks = Tasks(client)
        tasks.listen("words", heard.append)
        tasks.run("first", say, "one")
        os.kill(first.pid, signal.SIGKILL)
        wait_until(lambda: client.status != "running", "the loss of the connection")
        stack.enter_context(scheduler(port))
        stack.enter_context(workers(port, 1))
        wait_until(lambda: client.status == "running", "the connection")
        tasks.run("second", say, "two")
    assert heard == ["one", "two"]


def test_a_connection_that_stays_broken_ends_the_run_with_an_error_and_a_resume_goes_on(
    undisturbed: Path, table: Path, tmp_path: Path
) -> None:
    folder, port, output = tmp_path / "run", free_port(), tmp_path / "output.txt"
    with scheduler(port), workers(port, 2):
        wire = Proxy(port)
        soon = ["--cluster", f"tcp://127.0.0.1:{wire.port}", "--set", "cluster.connect_seconds=5"]
        driver = start_driver(start_command(folder, table, *soon), output)
        wait_for_children(driver, folder, 20)
        wire.cut()
        assert exit_code(driver) == 1, output.read_text()
        assert "ClusterError: the connection to the Dask scheduler is lost" in output.read_text()
        assert "Nothing that ended is lost" in output.read_text()
        before = ended_at(folder)
        assert len(before) >= 15
        assert drive(["resume", folder, "--cluster", f"tcp://127.0.0.1:{port}"], output) == 0, output.read_text()
    assert (ended_at(folder)[before.index] == before).all()
    assert_same_run(folder, undisturbed)
