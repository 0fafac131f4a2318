"""Worker processes on the GPUs of this machine."""

import copy
import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import dask
from distributed import Client
from distributed.system import MEMORY_LIMIT

from cluster.cluster import CONNECTIONS, Cluster, closed_at_the_end
from cluster.dask_configuration import SILENT, output_in
from cluster.errors import ClusterError
from cluster.gpus import num_gpus
from cluster.local import check_workers
from cluster.settings import ClusterSettings

NO_GPU = "cluster.kind = 'cuda': no GPU visible (CUDA_VISIBLE_DEVICES: {}); without one, use --cluster local"
START_SECONDS = 300
GPU_SHARE = "WAVENAS_GPU_SHARE"  # variable with a worker's part of a GPU's memory; those of torch may be the user's own
SHARED = 0.9  # of a GPU's memory is for the children that share it; the rest is for what CUDA keeps per process


def check_gpus(settings: ClusterSettings) -> None:
    """Raise ValueError where no GPU is visible, or a number of workers is given beside that of the GPUs."""
    if num_gpus() == 0:
        raise ValueError(_no_gpu())
    if settings.workers is not None:
        raise ValueError(
            f"cluster.workers = {settings.workers}: with cuda it is the number of GPUs times cluster.children_per_gpu;"
            " allowed is none. CUDA_VISIBLE_DEVICES chooses GPUs"
        )


@contextmanager
def cuda_cluster(settings: ClusterSettings, folder: Path | None) -> Iterator[Cluster]:
    """`children_per_gpu` worker processes on each GPU. Raises ClusterError where the GPUs do not answer."""
    gpus, each = num_gpus(), settings.children_per_gpu
    with (
        dask.config.set(_memory_share(each) | output_in(folder)),
        closed_at_the_end(_one_worker_a_gpu(settings, gpus * each)) as dask_cluster,
        Client(dask_cluster, connection_limit=CONNECTIONS) as client,
    ):
        _add_workers(dask_cluster, each)
        try:
            client.wait_for_workers(gpus * each, timeout=START_SECONDS)
        except TimeoutError as error:
            raise ClusterError(f"not all {gpus * each} workers on GPUs began within {START_SECONDS} seconds") from error
        description = f"{gpus} GPU{'s' if gpus > 1 else ''} of this machine, {each} at a time on each"
        yield Cluster(client, description, gpus * each, partial(check_workers, client, dask_cluster), on_gpus=True)


def _one_worker_a_gpu(settings: ClusterSettings, workers: int):  # type: ignore[no-untyped-def]
    from dask_cuda import LocalCUDACluster
    from pynvml import NVMLError

    try:
        return LocalCUDACluster(
            threads_per_worker=1,
            host="127.0.0.1",
            dashboard_address=settings.dashboard,
            worker_dashboard_address=None,
            memory_limit=MEMORY_LIMIT // workers,
            device_memory_limit=None,  # Dask has nothing to spill: no result lies on a GPU
            silence_logs=SILENT,
            preload=["cluster.worker_setup"],
        )
    except (NVMLError, ValueError) as error:  # the latter for a list of GPUs that is none
        raise ClusterError(f"{_no_gpu()} ({error})") from error


def _add_workers(dask_cluster, each: int) -> None:  # type: ignore[no-untyped-def]
    """dask-cuda names a worker by its GPU and starts one; children need a process each, so more of the same join it."""
    for name, specification in list(dask_cluster.worker_spec.items()):
        for number in range(1, each):
            dask_cluster.worker_spec[f"{name}-{number}"] = copy.deepcopy(specification)
    dask_cluster.scale(len(dask_cluster.worker_spec))


def _memory_share(each: int) -> dict[str, str]:
    """An equal part of the GPU for each process: a child that wants more fails itself, not its neighbours."""
    if each == 1:
        return {}
    return {f"distributed.nanny.environ.{GPU_SHARE}": f"{SHARED / each:.4f}"}


def _no_gpu() -> str:
    return NO_GPU.format(os.environ.get("CUDA_VISIBLE_DEVICES", "unset"))
