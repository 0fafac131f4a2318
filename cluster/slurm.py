"""Workers as jobs of Slurm: one worker a job, with `cluster.slurm.gpu` one GPU."""

import math
import resource
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from distributed import Client

from cluster.cluster import CONNECTIONS, Cluster, closed_at_the_end
from cluster.dask_configuration import KEEP_FREED_MEMORY, SILENT, WORKERS, as_environment
from cluster.errors import ClusterError
from cluster.healer import Healer, check_jobs
from cluster.security import network_security
from cluster.settings import ClusterSettings, SlurmSettings
from cluster.slurm_job import SLURMCluster, SlurmJob
from cluster.worker_setup import OUTPUT, RETIRE_AT

JOB_NAME = "wavenas"
JOBS = 4  # where no number is given
CERTIFICATES = ".dask-jobqueue.worker."  # how dask-jobqueue begins the names of certificate files
OPEN_FILES = resource.RLIMIT_NOFILE
FILES = 512  # that a driver has open at most beside those of its workers
FILES_OF_WORKER = 6  # two connections at rest, four at work
DEATH_SECONDS = 60  # a worker that cannot reach its scheduler for so long ends its job
CPU_WORKER = "distributed.cli.dask_worker"
GPU_WORKER = "dask_cuda.cli"
# It would start a worker on each GPU that a job sees, under names that nobody looks for.
ONE_GPU = 'FIRST="${CUDA_VISIBLE_DEVICES-0}"; export CUDA_VISIBLE_DEVICES="${FIRST%%,*}"'
WORKER_SETUP = "cluster.worker_setup"


@contextmanager
def slurm_cluster(
    settings: ClusterSettings, threads_per_child: int, folder: Path, jobs: int | None = None
) -> Iterator[Cluster]:
    """Some jobs, each replaced when it ends. Raises ClusterError where Slurm refuses such jobs.

    `folder` must be seen by all nodes: it takes the certificates, and the logs unless they go elsewhere.
    """
    folder = folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    for left in folder.glob(f"{CERTIFICATES}*"):  # by a driver that was killed
        left.unlink()
    wanted = settings.slurm.jobs or settings.workers or JOBS
    jobs = jobs or wanted
    _allow_open_files(jobs)
    with (
        closed_at_the_end(_no_jobs_yet(settings, threads_per_child, folder)) as dask_cluster,
        Client(dask_cluster, connection_limit=CONNECTIONS) as client,
    ):
        _ask_slurm(dask_cluster.job_script())
        logs = log_directory(settings, folder)
        healer = Healer(dask_cluster, jobs, settings.slurm, logs)
        try:
            where = f" partition {settings.slurm.partition}" if settings.slurm.partition else ""
            description = f"jobs on Slurm{where}: {jobs} worker{'s' if jobs > 1 else ''} wanted"
            yield Cluster(
                client,
                description,
                wanted,
                partial(check_jobs, healer, client, logs),
                on_gpus=settings.slurm.gpu,
                job_script=dask_cluster.job_script(),
                worker_seconds=(settings.slurm.walltime_minutes - 1.5 * settings.slurm.retire_minutes) * 60,
            )
        finally:
            healer.stop()


def _allow_open_files(jobs: int) -> None:
    """Raise the limit of open files to what the connections of so many workers need.

    Raises ClusterError where this process may not.
    """
    needed = FILES + FILES_OF_WORKER * jobs
    soft, hard = (math.inf if limit == resource.RLIM_INFINITY else limit for limit in resource.getrlimit(OPEN_FILES))
    if hard < needed:
        raise ClusterError(f"{jobs} workers need {needed} open files here, and `ulimit -Hn` is {hard:.0f}")
    if soft < needed:
        resource.setrlimit(OPEN_FILES, (needed, resource.getrlimit(OPEN_FILES)[1]))


def _no_jobs_yet(settings: ClusterSettings, threads_per_child: int, folder: Path) -> SLURMCluster:
    return SLURMCluster(
        job_cls=SlurmJob,
        name=JOB_NAME,
        security=network_security(settings),
        shared_temp_directory=str(folder),
        scheduler_options=_scheduler_options(settings),
        silence_logs=SILENT,
        **job_arguments(settings, threads_per_child, folder),
    )


def check_slurm(settings: ClusterSettings) -> None:
    """Raise ValueError where no job can be submitted from here, or a worker would never live long enough."""
    slurm = settings.slurm
    if shutil.which("sbatch") is None or shutil.which("squeue") is None:
        raise ValueError("cluster.kind = 'slurm': no sbatch and squeue here; allowed is a machine that submits jobs")
    if slurm.retire_minutes >= slurm.walltime_minutes / 2:
        raise ValueError(
            f"cluster.slurm.retire_minutes = {slurm.retire_minutes:g}: allowed is less than half of"
            f" cluster.slurm.walltime_minutes = {slurm.walltime_minutes}"
        )
    if settings.children_per_gpu > 1:
        raise ValueError(
            f"cluster.children_per_gpu = {settings.children_per_gpu}: a job has one worker; where Slurm shares GPUs,"
            ' ask for a part of one, as by cluster.slurm.gpu_directive="--gres=shard:1"'
        )


def job_arguments(settings: ClusterSettings, threads_per_child: int, folder: Path) -> dict[str, Any]:
    """What dask-jobqueue makes the script of a job from."""
    slurm = settings.slurm
    cpus = slurm.cpus or threads_per_child
    memory = f"{slurm.memory_gib * 1024:.0f}MiB"
    return {
        "cores": 1,  # threads of the worker: one, so that it trains one child at a time
        "processes": 1,
        "job_cpu": cpus,
        "memory": memory,
        "walltime": str(slurm.walltime_minutes),
        "queue": slurm.partition,
        "account": slurm.account,
        "job_name": JOB_NAME,
        "interface": slurm.interface,
        "python": slurm.python or sys.executable,
        "death_timeout": DEATH_SECONDS,
        "log_directory": str(log_directory(settings, folder)),
        "local_directory": slurm.local_directory,
        "worker_command": GPU_WORKER if slurm.gpu else CPU_WORKER,
        "worker_extra_args": ["--preload", WORKER_SETUP, "--dashboard-address", "127.0.0.1:0", "--no-dashboard"],
        # a job that Slurm requeued itself would come back under a name that is replaced already
        "job_extra_directives": ["--no-requeue", *([slurm.gpu_directive] if slurm.gpu else []), *slurm.directives],
        "job_directives_skip": list(slurm.skip_directives),
        "job_script_prologue": [*_exports(settings, cpus, folder), *slurm.prologue, *([ONE_GPU] if slurm.gpu else [])],
    }


def log_directory(settings: ClusterSettings, folder: Path) -> Path:
    """Where the outputs of jobs go."""
    return Path(settings.slurm.log_directory).resolve() if settings.slurm.log_directory else folder


def _exports(settings: ClusterSettings, cpus: int, folder: Path) -> list[str]:
    """Environment of a worker. When it retires is reckoned from the start of its job, whatever becomes of processes."""
    variables = {
        **KEEP_FREED_MEMORY,
        **as_environment(WORKERS),
        "OMP_NUM_THREADS": cpus,
        "MKL_NUM_THREADS": cpus,
        OUTPUT: shlex.quote(str(log_directory(settings, folder))),
        RETIRE_AT: _retirement(settings.slurm),
        **({} if settings.slurm.gpu else {"CUDA_VISIBLE_DEVICES": ""}),  # not all GPUs, where Slurm does not hide them
    }
    return [f"export {name}={value}" for name, value in variables.items()]


def _retirement(slurm: SlurmSettings) -> str:
    """Shell arithmetic: `retire_minutes` before the walltime ends, by chance up to half of it sooner or later.

    Jobs that start together would otherwise hand over together.
    """
    first, spread = (slurm.walltime_minutes - 1.5 * slurm.retire_minutes) * 60, slurm.retire_minutes * 60
    return f"$(( $(date +%s) + {first:.0f} + RANDOM % {spread + 1:.0f} ))"


def _scheduler_options(settings: ClusterSettings) -> dict[str, Any]:
    slurm = settings.slurm
    options: dict[str, Any] = {"dashboard_address": settings.dashboard, "port": slurm.scheduler_port}
    if slurm.scheduler_host:
        options["host"] = slurm.scheduler_host
    return options


def _ask_slurm(script: str) -> None:
    """Have Slurm check a job without submitting it, since a refusal later would be a line in a log."""
    with tempfile.NamedTemporaryFile("w", suffix=".sh") as file:
        file.write(script)
        file.flush()
        command = ["sbatch", "--test-only", file.name]
        try:
            answer = subprocess.run(command, capture_output=True, text=True, timeout=60)
        except subprocess.TimeoutExpired as error:
            raise ClusterError("Slurm did not answer `sbatch --test-only` within 60 seconds") from error
    if answer.returncode:
        raise ClusterError(f"Slurm refuses such jobs: {answer.stderr.strip()}\nThe job was:\n{script}")
