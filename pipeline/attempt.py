"""One attempt at training a child, on a worker of Dask's. Workers import this: no pandas, no pyarrow."""

import os
import socket
from contextlib import suppress
from dataclasses import dataclass

from distributed import get_worker
from distributed.utils import sync

from cluster.worker_setup import bound_output
from tasks.records import Trial, TrialResult
from tasks.trial import run_trial

_ended: dict[str, list[str]] = {}  # keys of attempts that ended in this process and are yet to be told, by topic


@dataclass(frozen=True)
class Attempt:
    """A trial under the key of its task, and the topic under which its start is made known."""

    key: str
    topic: str
    trial: Trial


def train_attempt(attempt: Attempt) -> TrialResult:
    """Tell the driver that this attempt begins here, since Dask knows only where it was sent, and train the child.

    What ended here before is told along with it: this child may take the process down, and their results with it.
    """
    bound_output()
    worker = get_worker()
    process = f"{socket.gethostname()}:{os.getpid()}"
    message = {
        "key": attempt.key, "address": worker.address, "name": str(worker.name), "process": process,
        "ended": _ended.pop(attempt.topic, []),
    }  # fmt: skip
    with suppress(OSError):  # answered, so known before the child can take this process down
        sync(worker.loop, worker.scheduler.log_event, topic=attempt.topic, msg=message)
    result = run_trial(attempt.trial)
    _ended.setdefault(attempt.topic, []).append(attempt.key)
    return result
