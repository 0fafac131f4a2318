"""Which device and precision a worker trains in, and what an exhausted memory and a device that failed look like."""

import gc
import os
from contextlib import AbstractContextManager

import torch

GPU_SHARE = "WAVENAS_GPU_SHARE"  # variable with the part of a GPU's memory that this process may take; unset: all
# In the messages of RuntimeErrors that torch has no class of its own for.
OUT_OF_MEMORY = (
    "DefaultCPUAllocator",
    "CUDA error: out of memory",
    "CUDA driver error: out of memory",
    "CUBLAS_STATUS_ALLOC_FAILED",
    "CUBLAS_STATUS_NOT_INITIALIZED",  # no memory was left for what the library keeps
    "CUDNN_STATUS_NOT_INITIALIZED",
    "DEVICE_ALLOCATION_FAILED",
    "unable to find an engine",  # of cuDNN, since none got the memory that it works in
)
DEVICE_FAILED = ("CUDA error", "CUDA driver error", "CUDNN_STATUS_EXECUTION_FAILED", "CUBLAS_STATUS_EXECUTION_FAILED")


def pick_device() -> torch.device:
    """The first GPU this process may see, or the CPU."""
    return torch.device("cuda", 0) if torch.cuda.is_available() else torch.device("cpu")


def pick_precision(wanted: str, device: torch.device) -> torch.dtype:
    """`auto` is bfloat16 where the hardware computes in it, else float32: elsewhere it is emulated and slow."""
    if wanted != "auto":
        return torch.bfloat16 if wanted == "bfloat16" else torch.float32
    if device.type == "cuda":
        has_bfloat16 = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        capabilities = torch.cpu.get_capabilities()
        has_bfloat16 = any(capabilities.get(name, False) for name in ("avx512_bf16", "amx_bf16", "bf16"))
    return torch.bfloat16 if has_bfloat16 else torch.float32


def autocast(device: torch.device, precision: torch.dtype, cached: bool = True) -> AbstractContextManager[None]:
    """Products in this precision, where it is another than float32. Converted weights may be cached within, or not."""
    return torch.autocast(device.type, precision, enabled=precision != torch.float32, cache_enabled=cached)


def prepare_process(threads: int) -> None:
    """Make training repeatable in this process: a fixed number of threads, deterministic kernels, float32 as it is.

    Where children share a GPU, this one takes no more of its memory than its part.
    """
    if (share := os.environ.get(GPU_SHARE)) and torch.cuda.is_available():
        torch.cuda.set_per_process_memory_fraction(float(share))
    torch.set_num_threads(threads)
    torch.backends.cudnn.benchmark = False
    torch.backends.cudnn.deterministic = True
    torch.backends.cudnn.allow_tf32 = False  # 10 bits in place of 23, in convolutions that are asked for in float32


def is_out_of_memory(error: BaseException) -> bool:
    """True for the errors that torch and Python raise when an allocation fails, on a GPU or on the CPU."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and any(sign in str(error) for sign in OUT_OF_MEMORY)


def is_device_failure(error: BaseException) -> bool:
    """True for the errors of a GPU, or its driver, after which a process can compute nothing any more."""
    if is_out_of_memory(error) or not isinstance(error, RuntimeError):
        return False
    return isinstance(error, torch.AcceleratorError) or any(sign in str(error) for sign in DEVICE_FAILED)


def free_memory() -> None:
    """Give back what an attempt that ended has left on the device."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
