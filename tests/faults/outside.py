"""What others start before a run: a scheduler, its workers, and a network between them and the driver that breaks."""

import contextlib
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
from distributed import get_worker
from distributed.utils import sync
from drivers import wait_until

HERE = Path(__file__).parent


@contextmanager
def started(*arguments: str, **environment: str) -> Iterator[subprocess.Popen[bytes]]:
    """A command of Dask's, ended with all that it started."""
    environment = {**os.environ, "PYTHONPATH": f"{HERE}:{Path.cwd()}", **environment}
    command = [sys.executable, "-m", "distributed.cli.dask_" + arguments[0], *arguments[1:]]
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    ) as process:
        try:
            yield process
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, 9)


@contextmanager
def scheduler(port: int, worker_ttl: str = "5 minutes") -> Iterator[subprocess.Popen[bytes]]:
    """A scheduler that listens on a port of this machine and gives up workers it has not heard of for so long."""
    where = ["--host", "127.0.0.1", "--port", str(port), "--no-dashboard", "--no-show"]
    with started("scheduler", *where, DASK_DISTRIBUTED__SCHEDULER__WORKER_TTL=worker_ttl) as process:
        wait_until(lambda: _listens(port), "the scheduler")
        yield process


def _listens(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        return True
    return False


@contextmanager
def workers(port: int, count: int) -> Iterator[subprocess.Popen[bytes]]:
    """The nanny process of so many workers."""
    one_thread = ["--nworkers", str(count), "--nthreads", "1", "--no-dashboard"]
    with started("worker", f"tcp://127.0.0.1:{port}", *one_thread) as process:
        yield process


def say(word: str) -> None:
    """Have a worker send a word under the topic `words`; it has arrived at the scheduler when this ends."""
    worker = get_worker()
    sync(worker.loop, worker.scheduler.log_event, topic="words", msg=word)


def worker_processes(parent: int) -> list[psutil.Process]:
    """The workers that a process has started and that live."""
    found = []
    for process in psutil.Process(parent).children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess, psutil.ZombieProcess):
            if "spawn_main" in " ".join(process.cmdline()):
                found.append(process)
    return found


def lives(process: psutil.Process) -> bool:
    """Whether a process has not ended; its parent, which may be gone, need not have taken notice."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def wait_for_workers(parent: int, count: int, driver: Any = None) -> list[psutil.Process]:
    """The workers of a process once there are so many."""
    wait_until(lambda: len(worker_processes(parent)) >= count, f"{count} workers", driver)
    return worker_processes(parent)
