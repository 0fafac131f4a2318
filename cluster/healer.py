"""Keep a number of jobs on Slurm alive: whatever ends a job, another one takes its place."""

import logging
import os
import subprocess
import threading
import time
from collections import deque
from contextlib import suppress
from pathlib import Path

from distributed import Client

from cluster.cluster import check_scheduler
from cluster.errors import ClusterError
from cluster.settings import SlurmSettings
from cluster.slurm_job import AT_ONCE, SLURMCluster
from cluster.worker_setup import output_name

log = logging.getLogger("wavenas")
LONGEST_WAIT = 60.0  # seconds between rounds while jobs die at once
SELDOM = 20  # times `check_seconds`: between two questions to Slurm while jobs only wait
KEPT = 200  # jobs that had a worker and ended whose output is kept
TAIL = 20  # lines shown of a job's errors
NEVER = {"PartitionTimeLimit", "PartitionNodeLimit", "BadConstraints", "InvalidAccount", "InvalidQOS"}  # will it start


class Healer:
    """Replaces jobs that have ended or never get a worker, on a thread of its own: the driver waits for results.

    Dask's own scaling does not see a job that dies before its worker registers, nor one that was refused.
    """

    def __init__(self, dask_cluster: SLURMCluster, wanted: int, settings: SlurmSettings, logs: Path):
        self.dask_cluster, self.wanted, self.settings, self.logs = dask_cluster, wanted, settings, logs
        self.died_early = 0  # jobs, in a row, that never had a worker
        self.refusal = ""  # why Slurm took or started no job, the last time
        self.gave_up = False
        self._rounds = 0  # in a row, in which such jobs were found
        self._had_worker: set[str] = set()  # names of jobs
        self._without_worker_since: dict[str, float] = {}  # running jobs by name
        self._without_worker: set[str] | None = None  # jobs by name, when Slurm was asked the last time
        self._ask_at, self._pause = 0.0, 0.0
        self._ended: deque[tuple[str, str]] = deque()  # names and numbers of jobs whose output is kept
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="healer", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End the thread, before the cluster is closed."""
        self._stopped.set()
        self._thread.join()

    def _run(self) -> None:
        wait = 0.0
        while not self._stopped.wait(wait) and not self.gave_up:
            try:
                self._heal()
            except Exception:
                log.exception("looking after the jobs failed; it is tried again")
            wait = min(self.settings.check_seconds * 2**self._rounds, LONGEST_WAIT)

    def _heal(self) -> None:
        workers = worker_names(self.dask_cluster)
        if not self._is_time_to_ask(workers):
            return
        states = job_states()
        if states is None:
            return  # Slurm does not answer; what runs goes on
        workers = worker_names(self.dask_cluster)
        if workers - self._had_worker:
            self._had_worker |= workers
            self.died_early, self._rounds, self.refusal = 0, 0, ""
        lost = self._lost(states, workers)
        early = self._died_early(lost)
        self.died_early += len(early)
        self._rounds += bool(early)
        self.gave_up = self._rounds >= self.settings.attempts and not workers
        if lost:
            log.warning("%d jobs ended, %d of them without having had a worker", len(lost), len(early))
        if not self.gave_up:
            self._replace(lost)

    def _died_early(self, lost: list[str]) -> list[str]:
        """Those that never had a worker. A refusal counts only where no job is left: there may be a limit to them."""
        jobs = self.dask_cluster.workers
        all_lost = len(lost) == len(jobs)
        return [name for name in lost if name not in self._had_worker and (all_lost or jobs[name].job_id)]

    def _is_time_to_ask(self, workers: set[str]) -> bool:
        """Not while each job has its worker, and ever more seldom while jobs only wait: Slurm has others to serve."""
        jobs, now = dict(self.dask_cluster.workers), time.monotonic()
        without = {name for name, job in jobs.items() if name not in workers and job.job_id}  # refused ones have none
        self._without_worker_since = {name: at for name, at in self._without_worker_since.items() if name in without}
        if without != self._without_worker:
            self._without_worker, self._ask_at, self._pause = without, now, 0.0
        complete = len(jobs) == self.wanted and jobs.keys() <= workers & self._had_worker
        if complete or now < self._ask_at:
            return False
        self._pause = min(max(2 * self._pause, self.settings.check_seconds), SELDOM * self.settings.check_seconds)
        self._ask_at = now + self._pause
        return True

    def _lost(self, states: dict[str, tuple[str, str]], workers: set[str]) -> list[str]:
        """Names of jobs that Slurm does not know any more, will never start, or that run for long without a worker."""
        lost, now = [], time.monotonic()
        for name, job in list(self.dask_cluster.workers.items()):
            state, reason = states.get(job.job_id, ("ENDED", ""))
            if name in workers:
                continue
            if state == "PENDING" and reason in NEVER:
                self.refusal = f"job {job.job_id} would wait for ever: {reason}"
                lost.append(name)
            elif state not in ("RUNNING", "ENDED"):
                self._without_worker_since.pop(name, None)
            elif state == "ENDED":
                lost.append(name)
            elif now - self._without_worker_since.setdefault(name, now) > self.settings.start_minutes * 60:
                log.warning("job %s ran for %g minutes without a worker", job.job_id, self.settings.start_minutes)
                lost.append(name)
        return lost

    def _replace(self, lost: list[str]) -> None:
        """Forget the lost jobs, cancelling what is left of them, and submit as many as are missing."""
        for name in lost:
            if name in self._had_worker:
                self._ended.append((name, str(self.dask_cluster.workers[name].job_id)))
            self._without_worker_since.pop(name, None)
        self._had_worker -= {*lost}
        while len(self._ended) > KEPT:
            remove_output(self.logs, *self._ended.popleft())
        try:
            self.dask_cluster.sync(_change_jobs, self.dask_cluster, lost, self.wanted)
        except (RuntimeError, ValueError) as error:  # a refused job has no number, and is lost in the next round
            self.refusal = str(error)
            log.warning("a job could not be submitted: %s", error)


async def _change_jobs(dask_cluster: SLURMCluster, lost: list[str], wanted: int) -> None:
    for name in lost:
        dask_cluster.worker_spec.pop(name, None)
    await dask_cluster  # a name can be given again, so its old job must be gone
    while len(dask_cluster.worker_spec) < wanted:  # a refusal of some ends it here, and Slurm need not refuse them all
        for _ in range(min(AT_ONCE, wanted - len(dask_cluster.worker_spec))):
            dask_cluster.worker_spec.update(dask_cluster.new_worker_spec())
        await dask_cluster


def remove_output(logs: Path, name: str, number: str) -> None:
    """What a job and its worker wrote."""
    with suppress(OSError):
        for file in (*logs.glob(f"*-{number}.err"), *logs.glob(f"*-{number}.out"), logs / output_name(name)):
            file.unlink(missing_ok=True)


def worker_names(dask_cluster: SLURMCluster) -> set[str]:
    """Names of the workers that are registered, which are those of their jobs."""
    return {worker["name"] for worker in list(dask_cluster.scheduler_info["workers"].values())}


def job_states() -> dict[str, tuple[str, str]] | None:
    """State and reason of this user's jobs that have not ended, by number, or None where Slurm does not answer."""
    command = ["squeue", "--noheader", "--user", str(os.getuid()), "--format", "%i %T %r"]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, timeout=20)
    except subprocess.TimeoutExpired:
        return None
    if answer.returncode:
        return None
    jobs = [line.split(maxsplit=2) for line in answer.stdout.splitlines()]
    return {number: (state, reason) for number, state, reason in jobs if state != "COMPLETING"}


def check_jobs(healer: Healer, client: Client, logs: Path) -> None:
    """Raise ClusterError where the scheduler is lost, or no worker is left and jobs die faster than they start."""
    check_scheduler(client)
    if healer.gave_up:
        raise ClusterError(f"{healer.died_early} jobs in a row died without a worker; {_last_words(healer, logs)}")


def _last_words(healer: Healer, logs: Path) -> str:
    refusal = f"of the last, Slurm said: {healer.refusal}; " if healer.refusal else ""
    files = [file for file in logs.glob("*.err") if file.stat().st_size]
    if not files:
        return f"{refusal}there is no output in {logs}"
    newest = max(files, key=lambda file: file.stat().st_mtime)
    lines = newest.read_text(errors="replace").splitlines()[-TAIL:]
    return f"{refusal}the newest output, {newest}, ends with:\n" + "\n".join(lines)
