import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import run_quietly, wavenas

from pipeline.errors import UserError
from pipeline.experiments import digits
from pipeline.run_folder import create_run, driver_lock, free_folder, is_running, open_run
from pipeline.run_paths import RunPaths

HOLD = """
import sys, pathlib
from pipeline.run_folder import driver_lock
from pipeline.run_paths import RunPaths
with driver_lock(RunPaths(pathlib.Path(sys.argv[1]))):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_a_run_is_opened_as_it_was_created(tmp_path: Path) -> None:
    create_run(tmp_path / "run", digits())
    paths, configuration = open_run(tmp_path / "run")
    assert configuration == digits() and paths.folder == tmp_path / "run"


def test_two_drivers_on_one_folder_are_refused(tmp_path: Path) -> None:
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert holder.stdout is not None and holder.stdout.readline() == "held\n"
    assert is_running(RunPaths(tmp_path))
    with pytest.raises(UserError, match=rf"\(process {holder.pid} on "), driver_lock(RunPaths(tmp_path)):
        pytest.fail("two drivers")
    holder.kill()
    holder.communicate()
    assert not is_running(RunPaths(tmp_path))
    with driver_lock(RunPaths(tmp_path)):
        pass


def test_free_folder_counts_up(tmp_path: Path) -> None:
    assert free_folder(tmp_path, "digits").name == "digits-1"
    (tmp_path / "digits-1").mkdir()
    assert free_folder(tmp_path, "digits").name == "digits-2"


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="file/run: cannot be written to: Not a directory"):
        create_run(tmp_path / "file" / "run", digits())


def test_a_run_that_fails_tells_where_to_look_and_how_to_go_on(tmp_path: Path) -> None:
    create_run(tmp_path / "run", digits())
    (tmp_path / "run" / "samples").write_text("in the way of the table")
    output = run_quietly(wavenas("resume", tmp_path / "run"), expected=1)
    assert f"error: {tmp_path}/run/samples: cannot be written: File exists" in output
    assert "Nothing that ended is lost.\nMake room there, or let it be written to, and go on with: " in output
    assert f"pipeline resume {tmp_path}/run" in output
    assert "Traceback" not in output and "Traceback" in (tmp_path / "run" / "run.log").read_text()


def test_a_disk_without_locks_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import fcntl

    def refuse(descriptor: int, how: int) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", refuse)
    message = r"cannot be locked, so that it has one driver alone: No locks available"
    with pytest.raises(UserError, match=message), driver_lock(RunPaths(tmp_path)):
        pytest.fail("no lock")
