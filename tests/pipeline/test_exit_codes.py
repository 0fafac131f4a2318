import signal
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import wavenas

from pipeline.interruption import in_good_order

# The command line, interrupted by the import of a module whose name is its first argument.
INTERRUPTED = """
import signal, sys
from importlib.abc import MetaPathFinder

class Interrupt(MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name == struck:
            signal.raise_signal(signal.SIGINT)

struck = sys.argv.pop(1)
sys.meta_path.insert(0, Interrupt())
from pipeline.__main__ import main
main()
"""


@pytest.mark.parametrize("module", ["typer.core", "pydantic.errors", "dateutil.tz", "pipeline.run_folder", "torch.nn"])
def test_interrupted_in_the_middle_of_an_import(module: str, table: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    search = ["--experiment", "table", "--table", table, "--columns", "width,kind,skip", "--reward", "accuracy"]
    command = [sys.executable, "-c", INTERRUPTED, module, "run", *search, "--run", folder]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert ended.returncode == 130 and "Traceback" not in ended.stderr, ended.stdout + ended.stderr
    told = ["Interrupted."]
    if module == "torch.nn":  # the run is there by then
        told.append(f"Nothing that ended is lost. Go on with: {' '.join(wavenas('resume', folder))}")
    assert ended.stderr.strip().splitlines() == told
    assert (folder / "config.json").exists() == (module == "torch.nn")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interruption_that_comes_out_as_another_error_is_one_all_the_same(number: int) -> None:
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    with pytest.raises(KeyboardInterrupt), in_good_order():
        try:
            signal.raise_signal(number)
        except KeyboardInterrupt:
            raise RuntimeError("in the middle of an import") from None
    with pytest.raises(RuntimeError, match="another"), in_good_order():
        raise RuntimeError("another")
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before
