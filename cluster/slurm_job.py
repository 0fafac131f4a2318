"""dask-jobqueue's jobs on Slurm, with two faults mended."""

import signal

from distributed.core import Status

_on_interrupt = signal.getsignal(signal.SIGINT)
from dask_jobqueue import SLURMCluster  # noqa: E402
from dask_jobqueue.slurm import SLURMJob  # noqa: E402

signal.signal(signal.SIGINT, _on_interrupt)  # the import has Ctrl-C end the process at once, as if all had gone well

__all__ = ["SLURMCluster", "SlurmJob"]


class SlurmJob(SLURMJob):  # type: ignore[misc]
    """A job that says when it was refused or has ended, without which a cluster of them cannot be closed."""

    async def start(self) -> None:
        try:
            await super().start()
        except BaseException:
            self.status = Status.failed
            raise

    async def close(self) -> None:
        await super().close()
        self.status = Status.closed
