"""dask-jobqueue's jobs on Slurm, with three faults mended."""

import asyncio
import signal
from collections.abc import Sequence
from typing import Any
from weakref import WeakKeyDictionary

from distributed.core import Status

_on_interrupt = signal.getsignal(signal.SIGINT)
from dask_jobqueue import SLURMCluster  # noqa: E402
from dask_jobqueue.slurm import SLURMJob  # noqa: E402

signal.signal(signal.SIGINT, _on_interrupt)  # the import has Ctrl-C end the process at once, as if all had gone well

__all__ = ["AT_ONCE", "SLURMCluster", "SlurmJob"]
AT_ONCE = 8  # processes of sbatch and scancel: hundreds would need more memory and open files than a login node grants
_turns: WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Semaphore] = WeakKeyDictionary()


class SlurmJob(SLURMJob):  # type: ignore[misc]
    """A job that says when it was refused or has ended, without which a cluster of them cannot be closed.

    A cluster submits and cancels all of its jobs at once: each waits for its turn.
    """

    async def start(self) -> None:
        try:
            await super().start()
        except BaseException:
            self.status = Status.failed
            raise

    async def close(self) -> None:
        await super().close()
        self.status = Status.closed

    @staticmethod
    async def _call(cmd: Sequence[str], **options: Any) -> str:
        turn = _turns.setdefault(asyncio.get_running_loop(), asyncio.Semaphore(AT_ONCE))
        async with turn:
            return await SLURMJob._call(cmd, **options)  # type: ignore[no-any-return]
