from collections.abc import Iterator

import pytest
import torch

from cluster import cuda
from tasks import device
from tasks.device import is_device_failure, is_out_of_memory, pick_device, pick_precision, prepare_process

CPU = torch.device("cpu")


@pytest.fixture
def restored_threads() -> Iterator[None]:
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


@pytest.mark.parametrize(("name", "dtype"), [("float32", torch.float32), ("bfloat16", torch.bfloat16)])
@pytest.mark.parametrize("device", [CPU, torch.device("cuda", 0)])
def test_an_explicit_precision_is_taken_on_any_device(name: str, dtype: torch.dtype, device: torch.device) -> None:
    assert pick_precision(name, device) is dtype


def test_auto_on_a_cpu_is_bfloat16_only_where_the_cpu_has_it() -> None:
    computes_in_it = any(torch.cpu.get_capabilities().get(name) for name in ("avx512_bf16", "amx_bf16", "bf16"))
    assert pick_precision("auto", CPU) is (torch.bfloat16 if computes_in_it else torch.float32)


def test_the_device_is_the_first_gpu_or_the_cpu() -> None:
    assert pick_device() == (torch.device("cuda", 0) if torch.cuda.is_available() else CPU)


@pytest.mark.parametrize("threads", [1, 2])
def test_a_process_gets_as_many_threads_as_asked(threads: int, restored_threads: None) -> None:
    prepare_process(threads)
    assert torch.get_num_threads() == threads
    assert torch.backends.cudnn.deterministic
    assert not torch.backends.cudnn.benchmark and not torch.backends.cudnn.allow_tf32


def test_a_process_takes_its_share_of_a_gpu(monkeypatch: pytest.MonkeyPatch, restored_threads: None) -> None:
    shares: list[float] = []
    monkeypatch.setattr("torch.cuda.set_per_process_memory_fraction", shares.append)
    monkeypatch.setenv(cuda.GPU_SHARE, "0.45")
    for there in (False, True):
        monkeypatch.setattr("torch.cuda.is_available", lambda there=there: there)
        prepare_process(1)
    assert shares == [0.45] and device.GPU_SHARE == cuda.GPU_SHARE


def test_an_allocation_that_torch_cannot_make_is_out_of_memory() -> None:
    with pytest.raises(RuntimeError) as raised:
        torch.empty(2**60)
    assert is_out_of_memory(raised.value)


def test_other_errors_are_not_out_of_memory() -> None:
    assert is_out_of_memory(MemoryError())
    assert is_out_of_memory(torch.OutOfMemoryError("CUDA out of memory"))
    for message in (
        "CUDA driver error: out of memory",
        "cuDNN error: CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED",
        "CUDA error: CUBLAS_STATUS_NOT_INITIALIZED when calling `cublasCreate(handle)`",
        "GET was unable to find an engine to execute this computation",
    ):
        assert is_out_of_memory(RuntimeError(message)) and not is_device_failure(RuntimeError(message)), message
    assert is_device_failure(RuntimeError("CUDA driver error: an illegal memory access was encountered"))
    assert not is_out_of_memory(RuntimeError("mat1 and mat2 shapes cannot be multiplied"))
    assert not is_out_of_memory(ValueError("token 9 for size"))
