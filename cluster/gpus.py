"""The GPUs of this machine."""

import os
from pathlib import Path


def num_gpus() -> int:
    """GPUs of CUDA_VISIBLE_DEVICES, or else all of the machine."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        return len([device for device in visible.split(",") if device.strip() not in ("", "-1")])
    if not any(Path(driver).exists() for driver in ("/proc/driver/nvidia", "/dev/dxg")):
        return 0
    from dask_cuda.utils import get_gpu_count
    from pynvml import NVMLError

    try:
        return int(get_gpu_count())
    except NVMLError:  # a driver that does not answer
        return 0
