"""Other libraries in an environment of the bench's own, so that none is a dependency of the project's."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

SCRIPTS = Path(__file__).parent / "peers"
ENVIRONMENT = Path("runs/bench/peers")
PACKAGES = {"optuna": "optuna==5.0.0", "ray": "ray[tune]==2.60.0"}
LONGEST = 900  # seconds that a script may take


def install(package: str) -> str | None:
    """Install a peer. The reason where that fails, as without a network."""
    python = ENVIRONMENT / "bin" / "python"
    done = ENVIRONMENT / f".{PACKAGES[package]}"
    if done.exists():
        return None
    try:
        if not python.exists():
            subprocess.run([sys.executable, "-m", "venv", ENVIRONMENT], check=True, capture_output=True, text=True)
        pip = [str(python), "-m", "pip", "install", "--quiet", PACKAGES[package]]
        subprocess.run(pip, check=True, capture_output=True, text=True, timeout=300)
    except (subprocess.SubprocessError, OSError) as error:
        told = getattr(error, "stderr", None) or str(error)
        return f"{PACKAGES[package]} cannot be installed: {told.strip().splitlines()[-1]}"
    done.touch()
    return None


def run_peer(package: str, script: str, *arguments: object) -> dict[str, Any]:
    """What a script of `bench/peers` printed last, as JSON; {"absent": reason} where its library cannot be had."""
    if reason := install(package):
        return {"absent": reason}
    command = [str((ENVIRONMENT / "bin" / "python").absolute()), str(SCRIPTS / script), *map(str, arguments)]
    try:
        ended = subprocess.run(command, capture_output=True, text=True, timeout=LONGEST)
    except subprocess.TimeoutExpired:
        return {"absent": f"{script} was not done after {LONGEST} seconds"}
    if ended.returncode:
        told = ended.stderr.strip().splitlines() or [f"exit status {ended.returncode}"]
        return {"absent": f"{script} failed: {told[-1]}"}
    measured: dict[str, Any] = json.loads(ended.stdout.strip().splitlines()[-1])
    return measured
