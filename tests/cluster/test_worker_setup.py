"""What becomes of the output of a worker's process."""

import subprocess
import sys
from pathlib import Path

CHATTER = """
import os, sys
from pathlib import Path
from types import SimpleNamespace
from cluster import worker_setup
worker_setup.MOST = 10_000
worker_setup.dask_setup(SimpleNamespace(name="0"))
for child in range(50):
    os.write(1 + child % 2, b"%d " % child * 300)
    worker_setup.bound_output()
"""


def test_a_file_that_grows_too_large_is_emptied_and_written_on(tmp_path: Path) -> None:
    environment = {"WAVENAS_WORKER_OUTPUT": str(tmp_path), "PYTHONPATH": str(Path.cwd())}
    subprocess.run([sys.executable, "-c", CHATTER], env=environment, check=True, timeout=120)
    written = (tmp_path / "worker-0.log").read_bytes()
    assert 0 < len(written) <= 10_000 + 900 and b"\0" not in written and b"0 " not in written[:2]
    assert written.endswith(b"49 ") or not written.count(b"49 ")
