"""What every measurement tells: the machine, the code, and the versions that speed depends on."""

import os
import platform
import subprocess
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil
import torch

INSTRUCTIONS = ("avx2", "avx512_f", "avx512_bf16", "amx_bf16", "bf16", "sve")  # as torch names them


def machine() -> dict[str, Any]:
    """The processor, its cores, instructions and memory, the GPU, the date, the commit, and the versions."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    capabilities = torch.cpu.get_capabilities()
    return {
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
        "commit": commit(),
        "processor": names[0] if names else platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "memory_gib": round(psutil.virtual_memory().total / 2**30),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "instructions": [name for name in INSTRUCTIONS if capabilities.get(name, False)],
        "python": platform.python_version(),
        "torch": torch.__version__,
    }


def describe(measured: dict[str, Any]) -> str:
    """Where and when something was measured, in a line."""
    instructions = measured["instructions"]
    bfloat16 = "bfloat16" if {"avx512_bf16", "amx_bf16", "bf16"} & set(instructions) else "no bfloat16"
    return (
        f"{measured['date']}, commit {measured['commit']}: {measured['processor']}, {measured['cores']} cores, "
        f"{measured['memory_gib']} GiB, {bfloat16} ({', '.join(instructions) or 'no vectors'}), "
        f"{measured['gpu'] or 'no GPU'}, Python {measured['python']}, torch {measured['torch']}"
    )


def commit() -> str:
    """The commit of this code, and whether it was changed since."""
    git = ["git", "-C", str(Path(__file__).parent)]
    try:
        name = subprocess.run([*git, "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=True)
        changed = subprocess.run([*git, "status", "--porcelain", "-uno"], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return name.stdout.strip() + (" with changes" if changed.stdout else "")


def real_data(name: str) -> Path | None:
    """A file or folder of the data that WAVENAS_DATA names, where it is there."""
    root = os.environ.get("WAVENAS_DATA")
    return path if root and (path := Path(root).resolve() / name).exists() else None


def no_data(name: str) -> str:
    """Why something was not measured."""
    root = os.environ.get("WAVENAS_DATA")
    return f"WAVENAS_DATA is {root or 'not set'}, and names no folder with {name}"
