"""Where children are trained."""

from dataclasses import field
from typing import Annotated, Literal

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

PositiveInt = Annotated[int, Field(gt=0)]
PositiveFloat = Annotated[float, Field(gt=0, allow_inf_nan=False)]
STRICT = ConfigDict(extra="forbid")


@dataclass(frozen=True, kw_only=True, config=STRICT)
class SlurmSettings:
    """A job on Slurm: it has one worker, and with `gpu` one GPU."""

    jobs: PositiveInt | None = None  # unset: cluster.workers, or else 4
    partition: str | None = None
    account: str | None = None
    walltime_minutes: PositiveInt = 240
    retire_minutes: PositiveFloat = 10.0  # before its walltime ends, give or take half of it, a worker hands over
    memory_gib: PositiveFloat = 8.0
    cpus: PositiveInt | None = None  # unset: child.threads
    gpu: bool = False  # jobs with a GPU and a worker of dask-cuda
    gpu_directive: str = "--gres=gpu:1"  # how this site is asked for one GPU
    directives: tuple[str, ...] = ()  # more of them, such as "--constraint=a100"
    skip_directives: tuple[str, ...] = ()  # those of our own that this site refuses, such as "--mem="
    prologue: tuple[str, ...] = ()  # shell lines before the worker starts, such as "module load cuda"
    python: str | None = None  # interpreter on the nodes; unset: this one
    interface: str | None = None  # network interface of scheduler and workers, such as "ib0"
    scheduler_host: str | None = None  # address by which nodes reach this machine; unset: Dask finds it
    scheduler_port: Annotated[int, Field(ge=0, lt=65_536)] = 0  # 0: any free one
    log_directory: str | None = None  # unset: workers/ in the run folder; seen by all nodes
    local_directory: str | None = None  # scratch of the workers on their nodes
    check_seconds: PositiveFloat = 3.0  # how often lost jobs are looked for
    start_minutes: PositiveFloat = 10.0  # how long a job that runs may go without a worker
    attempts: PositiveInt = 6  # rounds of jobs that may die, none having had a worker, before the run gives up


@dataclass(frozen=True, kw_only=True, config=STRICT)
class ClusterSettings:
    """`local` and `cuda` start workers on this machine, `slurm` as jobs; `address` is a scheduler that runs already."""

    kind: Literal["local", "cuda", "slurm", "address"] = "local"
    workers: PositiveInt | None = None  # of `local`; unset: as many as cores and memory bear
    address: str | None = None  # of `address`: tcp://HOST:PORT or tls://HOST:PORT
    processes: bool = True  # of `local`; False: threads of the driver, for children that take no time
    worker_memory_gib: PositiveFloat = 2.0  # what a worker of `local` needs at least
    children_per_gpu: PositiveInt = 1  # of `cuda`: processes that share a GPU, and its memory evenly
    dashboard: str = "127.0.0.1:0"  # address of the Dask dashboard; port 0 takes any free one
    allowed_failures: Annotated[int, Field(ge=0)] | None = None  # workers a child may lose; unset: 3, on Slurm 10
    connect_seconds: PositiveFloat = 20.0  # of `address`
    tls: bool = True  # between machines: encrypted, and only who has the certificate
    tls_ca_file: str | None = None  # certificate files (PEM); unset: temporary ones for each run
    tls_cert: str | None = None
    tls_key: str | None = None
    slurm: SlurmSettings = field(default_factory=SlurmSettings)

    @property
    def failures_allowed(self) -> int:
        """Workers that a child may lose before it counts as failed: jobs end for many reasons."""
        if self.allowed_failures is not None:
            return self.allowed_failures
        return 10 if self.kind == "slurm" else 3
