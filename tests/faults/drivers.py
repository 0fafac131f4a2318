"""Drivers that a fault strikes at a chosen moment: a real signal, and no hook in what they run.

They are forked from a server that has imported everything, so that a driver starts in a fraction of a second and a
test affords dozens of them. `wavenas` is for tests of the imports themselves, and of terminals.
"""

import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import pandas as pd

from pipeline.journal import read_journal

SERVER = multiprocessing.get_context("forkserver")
SERVER.set_forkserver_preload(["pipeline.command_line", "pipeline.driver", "distributed.dashboard.scheduler"])
LONG = 24  # rows of a part, and of the journal
PATIENCE = 400.0  # seconds that a driver may take to meet its end


@dataclass(frozen=True)
class Moment:
    """The `call`th call of a function, "module:name" or "module:Class.name": before it, after it, or a while later."""

    function: str
    call: int = 1
    after: bool = False
    delay: float | None = None  # seconds from the call on; the driver goes on meanwhile
    numbers: tuple[int, ...] = (signal.SIGKILL,)  # signals that it sends itself, one after the other
    torn: float | None = None  # of os:fsync: only this share of what was written since the last one is on the disk


def start_driver(arguments: Sequence[str | Path], output: Path, moment: Moment | None = None) -> Any:
    """The command line in a process of its own, struck at a moment; its output is appended to a file."""
    driver = SERVER.Process(target=_drive, args=([*map(str, arguments)], str(output), moment))
    driver.start()
    return driver


def drive(arguments: Sequence[str | Path], output: Path, moment: Moment | None = None) -> int:
    """The exit code of a driver, negative where a signal ended it."""
    driver = start_driver(arguments, output, moment)
    return exit_code(driver)


def exit_code(driver: Any) -> int:
    """Wait for a driver to end. One that hangs is killed, and the test fails."""
    driver.join(PATIENCE)
    if driver.exitcode is None:
        driver.kill()
        raise AssertionError(f"the driver hung for {PATIENCE:g} seconds")
    return int(driver.exitcode)


def ended_at(folder: Path) -> pd.Series:
    """When the children of a run ended, in microseconds, that count and are published, or in the journal."""
    ended: dict[int, tuple[str, int]] = {}
    if any((folder / "results").glob("part-*.parquet")):
        results = pd.read_parquet(folder / "results")
        times = results.ended_at.astype("datetime64[us, UTC]").astype("int64")
        ended |= dict(zip(results.trial_id, zip(results.status, times, strict=True), strict=True))
    if (folder / "journal.jsonl").exists():
        rows = [row for entry in read_journal(folder / "journal.jsonl")[0] for row in entry.get("results", [])]
        ended |= {row["trial_id"]: (row["status"], row["ended_at"]) for row in rows}
    return pd.Series({trial: at for trial, (status, at) in ended.items() if status == "ok"}, dtype="int64")


def wait_until(condition: Callable[[], bool], what: str, driver: Any = None) -> None:
    """Raises AssertionError where it takes too long, or the driver ends before."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert driver is None or driver.exitcode is None, f"the driver ended ({driver.exitcode}) before {what}"
        assert time.monotonic() < deadline, f"waited {PATIENCE:g} seconds for {what}"
        time.sleep(0.02)


def _drive(arguments: list[str], output: str, moment: Moment | None) -> None:
    import pipeline.tables
    from pipeline.__main__ import main

    with Path(output).open("ab") as file:
        os.dup2(file.fileno(), sys.stdout.fileno())
        os.dup2(file.fileno(), sys.stderr.fileno())
    for name in ("PART_ROWS", "JOURNAL_ROWS"):  # so that parts are closed, and the journal emptied, every few waves
        assert hasattr(pipeline.tables, name)
        setattr(pipeline.tables, name, LONG)
    if moment is not None:
        _arm(moment)
    sys.argv[1:] = arguments
    main()


def _arm(moment: Moment) -> None:
    """Wrap the function so that the moment's call of it brings the signals."""
    module, _, path = moment.function.partition(":")
    holder: Any = import_module(module)
    *holders, name = path.split(".")
    for part in holders:
        holder = getattr(holder, part)
    function: Callable[..., Any] = getattr(holder, name)
    calls = 0
    synced: dict[int, int] = {}

    def wrapped(*arguments: Any, **named: Any) -> Any:
        nonlocal calls
        calls += 1
        due = calls == moment.call
        if moment.torn is not None:
            _tear(arguments[0], synced, moment.torn if due else None)
        if due and not moment.after:
            _strike_when_due(moment)
        returned = function(*arguments, **named)
        if due and moment.after:
            _strike_when_due(moment)
        return returned

    setattr(holder, name, wrapped)


def _strike_when_due(moment: Moment) -> None:
    if moment.delay is None:
        _strike(moment.numbers)
    else:
        threading.Timer(moment.delay, _strike, [moment.numbers]).start()


def _strike(numbers: tuple[int, ...]) -> None:
    for number in numbers:
        os.kill(os.getpid(), number)
        time.sleep(0.2)


def _tear(descriptor: int, synced: dict[int, int], share: float | None) -> None:
    """Remember how long a file was when it was last flushed; with a share, cut off the rest of what came since.

    Of a file that was there before, all is taken to be flushed when it is first seen, but for those written aside.
    """
    file, state = Path(f"/proc/self/fd/{descriptor}"), os.fstat(descriptor)
    if file.is_dir():
        return
    first = 0 if file.readlink().name.startswith(".") else state.st_size
    before = min(synced.get(state.st_ino, first), state.st_size)
    if share is not None:
        os.truncate(file, before + int(share * (state.st_size - before)))
    synced[state.st_ino] = state.st_size
