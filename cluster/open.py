"""Open the cluster that the settings describe."""

import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import dask

from cluster.cluster import Cluster
from cluster.dask_configuration import dask_configuration, silence_dask
from cluster.settings import ClusterSettings

TLS_FILES = ("tls_ca_file", "tls_cert", "tls_key")


@contextmanager
def open_cluster(
    settings: ClusterSettings, threads_per_child: int = 1, folder: Path | None = None, jobs: int | None = None
) -> Iterator[Cluster]:
    """The cluster of `settings.kind`; closed at the end. Raises ClusterError where it cannot be opened.

    `folder` takes what workers write and read: their output, and on other machines logs and certificates. Where workers
    are jobs, `jobs` has so many submitted instead of all.
    """
    silence_dask()
    with dask.config.set(dask_configuration(settings)):
        if settings.kind == "local":
            from cluster.local import local_cluster

            opened = local_cluster(settings, threads_per_child, folder)
        elif settings.kind == "cuda":
            from cluster.cuda import cuda_cluster

            opened = cuda_cluster(settings, folder)
        elif settings.kind == "slurm":
            from cluster.slurm import slurm_cluster

            opened = slurm_cluster(settings, threads_per_child, folder or Path("workers"), jobs)
        else:
            from cluster.address import cluster_at_address

            opened = cluster_at_address(settings)
        with opened as cluster:
            yield cluster


def check_cluster(settings: ClusterSettings) -> None:
    """Raise ValueError, before anything starts, where the settings ask for a cluster that cannot be opened."""
    _check_tls(settings)
    if settings.kind == "address":
        _check_address(settings)
    if settings.kind == "cuda":
        if sys.platform != "linux":
            raise ValueError("cluster.kind = 'cuda': dask-cuda is for Linux; allowed here is local or address")
        from cluster.cuda import check_gpus

        check_gpus(settings)
    if settings.kind == "slurm":
        from cluster.slurm import check_slurm

        check_slurm(settings)


def _check_address(settings: ClusterSettings) -> None:
    if not re.fullmatch(r"(tcp|tls)://.+:\d+", settings.address or ""):
        raise ValueError(f"cluster.address = {settings.address!r}: allowed is tcp://HOST:PORT or tls://HOST:PORT")
    if settings.address.startswith("tls:") and settings.tls_ca_file is None:  # type: ignore[union-attr]
        raise ValueError(
            f"cluster.address = {settings.address!r} needs certificates: cluster.tls_ca_file, tls_cert and tls_key"
        )


def _check_tls(settings: ClusterSettings) -> None:
    given = {name: getattr(settings, name) for name in TLS_FILES if getattr(settings, name) is not None}
    if given and len(given) < len(TLS_FILES):
        raise ValueError(f"cluster.{', '.join(given)}: allowed is all of {', '.join(TLS_FILES)}, or none")
    for name, file in given.items():
        if not Path(file).is_file():
            raise ValueError(f"cluster.{name} = {file!r}: no such file")
