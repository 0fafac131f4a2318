"""What a worker sees: asked before a long run is started."""

import os
import socket
from dataclasses import dataclass
from pathlib import Path

import torch

from tasks.device import pick_device, pick_precision
from tasks.packages import package_versions


@dataclass(frozen=True)
class ProbeRequest:
    """Files to look at: one that the driver wrote, the data set, one to be written for the driver to find."""

    written: str
    data_path: str
    to_write: str


@dataclass(frozen=True)
class Probe:
    """A worker's answers."""

    host: str
    device: str  # with the GPU's name, or why there is none
    precision: str  # that `auto` stands for
    cpus: int  # that this process may use
    read: str | None  # content of the file that the driver wrote
    data_found: bool
    packages: dict[str, str]


def probe(request: ProbeRequest) -> Probe:
    """Look around on a worker."""
    written, to_write = Path(request.written), Path(request.to_write)
    read = written.read_text() if written.is_file() else None
    if to_write.parent.is_dir():
        to_write.write_text(read or "")
    device = pick_device()
    return Probe(
        host=socket.gethostname(),
        device=_describe(device),
        precision=str(pick_precision("auto", device)).removeprefix("torch."),
        cpus=len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1,
        read=read,
        data_found=Path(request.data_path).exists(),
        packages=package_versions(),
    )


def _describe(device: torch.device) -> str:
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if device.type == "cuda":
        return f"{torch.cuda.get_device_name(device)} (CUDA_VISIBLE_DEVICES={visible})"
    return "CPU" if not visible else f"CPU, though CUDA_VISIBLE_DEVICES={visible}"
