"""Where children are trained."""

from typing import Annotated, Literal

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class ClusterSettings:
    """`local` starts worker processes on this machine; `cuda` and `slurm` are not there yet."""

    kind: Literal["local", "cuda", "slurm"] = "local"
    processes: bool = True  # False: threads of the driver, for children that take no time
    workers: Annotated[int, Field(gt=0)] | None = None  # unset: as many as cores and memory bear
    worker_memory_gib: Annotated[float, Field(gt=0)] = 2.0  # what a local worker needs at least
    dashboard: str = "127.0.0.1:0"  # address of the Dask dashboard; port 0 takes any free one
    allowed_failures: Annotated[int, Field(ge=0)] = 3  # workers a child may lose before it counts as failed
