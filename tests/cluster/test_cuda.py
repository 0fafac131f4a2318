"""Workers on GPUs. Where a test says fake GPU, dask-cuda is told by its own test switch to touch no device."""

import os
from dataclasses import replace
from pathlib import Path

import pytest

from cluster.cuda import GPU_SHARE
from cluster.errors import ClusterError
from cluster.open import check_cluster, open_cluster
from cluster.settings import ClusterSettings
from tasks.device import prepare_process

FAKE_GPU = "DASK_CUDA_TEST_DISABLE_DEVICE_SPECIFIC"


def test_fake_gpus_have_a_process_for_each_child(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(FAKE_GPU, "1")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")
    settings = ClusterSettings(kind="cuda", children_per_gpu=2)
    check_cluster(settings)
    with open_cluster(settings) as cluster:
        workers = cluster.client.scheduler_info(n_workers=-1)["workers"].values()
        assert len(workers) == cluster.num_workers == 4
        assert cluster.on_gpus
        assert cluster.description == "2 GPUs of this machine, 2 at a time on each"
        assert all(worker["nthreads"] == 1 for worker in workers)
        seen = cluster.client.run(_gpu_process_and_share)
        assert sorted(gpu for gpu, _, _ in seen.values()) == ["0", "0", "1", "1"]
        assert len({process for _, process, _ in seen.values()} | {os.getpid()}) == 5
        assert {part for _, _, part in seen.values()} == {"0.4500"}
    with open_cluster(replace(settings, children_per_gpu=1)) as cluster:
        seen = cluster.client.run(_gpu_process_and_share)
        assert {part for _, _, part in seen.values()} == {None}, "of the cluster before"


@pytest.mark.parametrize("visible", ["NoDevFiles", "0,", "0,zero"])
def test_a_list_of_gpus_that_is_none_is_a_clear_error(visible: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(FAKE_GPU, "1")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    message = f"CUDA_VISIBLE_DEVICES: {visible}"
    with pytest.raises(ClusterError, match=message), open_cluster(ClusterSettings(kind="cuda")):
        pass


@pytest.mark.parametrize("visible", [None, "", "-1"])
def test_without_a_gpu_it_says_so_before_anything_starts(visible: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    if visible is None:
        _skip_where_there_are_gpus()
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    else:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    with pytest.raises(ValueError, match=r"no GPU visible .* use --cluster local"):
        check_cluster(ClusterSettings(kind="cuda"))


def test_a_gpu_that_does_not_answer_is_a_clear_error(monkeypatch: pytest.MonkeyPatch) -> None:
    _skip_where_there_are_gpus()
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    message = r"no GPU visible \(CUDA_VISIBLE_DEVICES: 0\)"
    with pytest.raises(ClusterError, match=message), open_cluster(ClusterSettings(kind="cuda")):
        pass


def test_a_number_of_workers_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    with pytest.raises(ValueError, match=r"cluster.workers = 3: with cuda it is the number of GPUs"):
        check_cluster(ClusterSettings(kind="cuda", workers=3))


@pytest.mark.gpu
def test_children_share_a_real_gpu_in_processes_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTORCH_CUDA_ALLOC_CONF", "expandable_segments:True")  # a user's own
    with open_cluster(ClusterSettings(kind="cuda", children_per_gpu=2)) as cluster:
        seen = cluster.client.run(_gpu_process_and_share)
        assert len({process for _, process, _ in seen.values()}) == cluster.num_workers
        assert all(error == "OutOfMemoryError" for error in cluster.client.run(_take_three_quarters).values())


def _gpu_process_and_share() -> tuple[str, int, str | None]:
    return os.environ["CUDA_VISIBLE_DEVICES"].split(",")[0], os.getpid(), os.environ.get(GPU_SHARE)


def _take_three_quarters() -> str:
    """More than one of two children may have of a GPU."""
    import torch

    prepare_process(1)
    try:
        torch.empty(torch.cuda.mem_get_info()[1] * 3 // 4, dtype=torch.uint8, device="cuda")
    except torch.OutOfMemoryError as error:
        return type(error).__name__
    return "no error"


def _skip_where_there_are_gpus() -> None:
    if Path("/proc/driver/nvidia").exists():
        pytest.skip("this machine has GPUs")
