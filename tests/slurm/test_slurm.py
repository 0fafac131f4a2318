"""Runs and clusters on a real Slurm of two nodes. Its GPUs are fake: scheduled like others, without a device."""

import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from itertools import pairwise
from pathlib import Path

import pandas as pd
import pytest
from conftest import (
    TINY,
    assert_left_in_peace,
    assert_same_run,
    dashboard_hosts,
    skip_unless_it_must_run,
    tiny_run,
    wavenas,
)
from distributed import Client
from distributed.security import Security
from private_slurm import NoSlurmError, private_slurm

from cluster.cluster import Cluster
from cluster.errors import ClusterError
from cluster.healer import job_states
from cluster.open import open_cluster
from cluster.settings import ClusterSettings, SlurmSettings

pytestmark = [pytest.mark.slurm, pytest.mark.timeout(1200)]
ROOT = Path(__file__).parents[2]
SMALL = ["cluster.slurm.jobs=2", "cluster.slurm.memory_gib=1.5", "cluster.slurm.check_seconds=1"]
TASK = "child.task=slow_task:train_and_wait"


@pytest.fixture(scope="module")
def slurm() -> Iterator[Path]:
    """The folder of a Slurm to which the commands of this process and its children speak."""
    with tempfile.TemporaryDirectory(prefix="slurm-", dir="/tmp") as folder, pytest.MonkeyPatch.context() as patch:
        try:
            with private_slurm(Path(folder)) as environment:
                for name in ("PATH", "SLURM_CONF"):
                    patch.setenv(name, environment[name])
                yield Path(folder)
        except NoSlurmError as error:
            skip_unless_it_must_run(f"no Slurm on this machine: {error}")


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same search on this machine, without waits or losses."""
    folder = tmp_path_factory.mktemp("reference") / "run"
    ended = subprocess.run(tiny_run(folder, TASK), env=environment(0), capture_output=True, text=True, timeout=200)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return folder


def test_jobs_killed_and_jobs_retired_in_mid_run_change_nothing(slurm: Path, reference: Path, tmp_path: Path) -> None:
    folder, before = tmp_path / "run", ended_jobs(slurm)
    short = ["cluster.slurm.walltime_minutes=1", "cluster.slurm.retire_minutes=0.48"]  # retires after 17 to 46 seconds
    with running(make_run(folder, *short), child_seconds=3.5) as process:
        wait_for(lambda: len(trials(folder)) >= 3, process)
        killed = max(jobs_in("RUNNING"), key=int)  # the youngest: it does not retire just now
        subprocess.run(["scancel", killed], check=True)
        output = process.communicate(timeout=900)[0]
    assert process.returncode == 0, output
    assert "jobs on Slurm: 2 workers wanted" in output
    assert sorted(trials(folder)) == list(range(20))
    assert_same_run(folder, reference)
    jobs = {number: job for number, job in ended_jobs(slurm).items() if number not in before}
    retired = [job for job in jobs.values() if job["JobState"] == "COMPLETED"]
    assert jobs[killed]["JobState"] == "CANCELLED"
    assert any(15 < seconds_of(job) < 75 for job in retired), jobs
    assert not any(job["JobState"] == "TIMEOUT" for job in jobs.values())
    assert not list((folder / "workers").glob(".*")), "certificates were left behind"


def test_jobs_whose_processes_die_retire_in_time_all_the_same(slurm: Path, reference: Path, tmp_path: Path) -> None:
    """Each child kills its process the first time, so no process ever lives for as long as a job may."""
    folder, before = tmp_path / "run", ended_jobs(slurm)
    deadly = ["child.task=slow_task:die_at_first", "search.samples=16"]
    short = ["cluster.slurm.walltime_minutes=1", "cluster.slurm.retire_minutes=0.48"]
    with running(make_run(folder, *deadly, *short), child_seconds=4) as process:
        output = process.communicate(timeout=900)[0]
    assert process.returncode == 0, output
    results, expected = (pd.read_parquet(path / "results").sort_values("trial_id") for path in (folder, reference))
    assert list(results.reward) == list(expected.reward[:16]) and (results.attempts >= 2).all()
    states = [job["JobState"] for number, job in ended_jobs(slurm).items() if number not in before]
    assert states.count("COMPLETED") >= 2 and "TIMEOUT" not in states, states


def test_a_child_longer_than_a_walltime_goes_on_from_one_worker_to_the_next(slurm: Path, tmp_path: Path) -> None:
    """It is kept when its worker is about to retire, though `child.checkpoint_minutes` have not passed."""
    folder, before = tmp_path / "run", ended_jobs(slurm)
    long = ["child.task=slow_task:train_in_long_epochs", "search.samples=1", "child.epochs=12", "cluster.slurm.jobs=1"]
    short = ["cluster.slurm.walltime_minutes=1", "cluster.slurm.retire_minutes=0.48"]
    with running(make_run(folder, *long, *short), child_seconds=5) as process:  # 60 seconds, on workers of 17 to 46
        output = process.communicate(timeout=900)[0]
    assert process.returncode == 0, output
    (result,) = pd.read_parquet(folder / "results").itertuples()
    epochs = [int(line) for line in (folder / "epochs-0").read_text().split()]
    assert result.status == "ok" and result.attempts >= 2, result
    assert sorted({*epochs}) == list(range(12))
    assert all(now >= last - 2 for last, now in pairwise(epochs)), f"epochs were lost: {epochs}"
    states = [job["JobState"] for number, job in ended_jobs(slurm).items() if number not in before]
    assert "TIMEOUT" not in states, states


def test_jobs_that_reach_their_walltime_change_nothing(slurm: Path, reference: Path, tmp_path: Path) -> None:
    folder, before = tmp_path / "run", ended_jobs(slurm)
    never_retire = 'cluster.slurm.prologue=["unset WAVENAS_RETIRE_AT"]'
    short = ["cluster.slurm.walltime_minutes=1", "cluster.slurm.retire_minutes=0.4", never_retire]
    with running(make_run(folder, *short), child_seconds=10) as process:  # a job is killed after 60 to 90 seconds
        output = process.communicate(timeout=900)[0]
    assert process.returncode == 0, output
    assert_same_run(folder, reference)
    states = [job["JobState"] for number, job in ended_jobs(slurm).items() if number not in before]
    assert "TIMEOUT" in states, states


def test_the_doctor_shows_the_job_and_what_it_will_take(slurm: Path, tmp_path: Path) -> None:
    before = ended_jobs(slurm).keys()
    sets = [part for setting in [*TINY, *SMALL] for part in ("--set", setting)]
    command = wavenas("doctor", "--cluster", "slurm", *sets)
    ended = subprocess.run(command, cwd=tmp_path, env=environment(0), capture_output=True, text=True, timeout=200)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "#SBATCH --mem=2G" in ended.stdout and "ok    walltime: workers live for 3h45m;" in ended.stdout
    assert re.search(r"the whole run: 20 children, \d+\.\d CPU-hours, .* on 2 workers", ended.stdout)
    assert "WRONG" not in ended.stdout
    assert len(ended_jobs(slurm).keys() - before) == 1, "one job tells, though the search is to have two"


def test_a_run_begun_on_slurm_ends_on_this_machine(slurm: Path, reference: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    with running(make_run(folder), child_seconds=2) as process:
        wait_for(lambda: len(trials(folder)) >= 3, process)
        os.killpg(process.pid, signal.SIGINT)
        output = process.communicate(timeout=240)[0]
    assert process.returncode != 0 and "Nothing that ended is lost." in output
    assert not jobs_in("RUNNING")
    ended = subprocess.run(
        wavenas("resume", folder, "--cluster", "local"), env=environment(0), capture_output=True, text=True, timeout=200
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert_same_run(folder, reference)


def test_preempted_and_cancelled_jobs_are_replaced(
    slurm: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, asked = ended_jobs(slurm), []
    monkeypatch.setattr("cluster.healer.job_states", lambda: asked.append(time.monotonic()) or job_states())
    with open_cluster(settings(workers=2), folder=tmp_path) as cluster:
        cluster.client.wait_for_workers(2, timeout=240)
        first = jobs_in("RUNNING")
        wait_for(lambda: asked and time.monotonic() - asked[-1] > 3)
        already = len(asked)
        time.sleep(5)
        assert len(asked) == already, "Slurm is left alone while each job has its worker"
        cluster.client.submit(print, "a long word").result(timeout=120)
        assert any("a long word" in log.read_text() for log in tmp_path.glob("worker-wavenas-*.log"))
        assert all((tmp_path / f"wavenas-{job}.err").exists() for job in first), "as their removal expects"
        assert cluster.client.scheduler.address.startswith("tls://")
        assert dashboard_hosts(cluster.client) == {"127.0.0.1"}
        assert_left_in_peace(cluster.client)
        with pytest.raises(OSError, match=r"certificate|closed|Timed out"):
            Client(cluster.client.scheduler.address, security=Security.temporary(), timeout=1)
        urgent = ["sbatch", "-p", "urgent", "-N2", "--exclusive", "--output=/dev/null", "--wrap=sleep 16"]
        subprocess.run(urgent, check=True)
        wait_for(lambda: len(jobs_in("PENDING")) >= 2)  # their replacements
        subprocess.run(["scancel", jobs_in("PENDING").pop()], check=True)
        wait_for(lambda: len(jobs_in("RUNNING")) == 2 and len(workers_of(cluster)) == 2)
        assert not jobs_in("RUNNING") & first
        assert cluster.client.submit(len, "abc").result(timeout=120) == 3
        cluster.check()
        ended = {number: job["JobState"] for number, job in ended_jobs(slurm).items() if number not in before}
        assert {ended.pop(job) for job in first} == {"PREEMPTED"}
        assert list(ended.values()) == ["CANCELLED"], "a job that waited was cancelled"


def test_jobs_that_die_at_once_end_the_run_with_their_last_words(slurm: Path, tmp_path: Path) -> None:
    broken = settings(workers=2, prologue=("echo no such module: cuda >&2", "exit 1"), attempts=2)
    message = r"(?s)[2-9] jobs in a row died without .*\.err, ends.*no such module"
    with open_cluster(broken, folder=tmp_path) as cluster, pytest.raises(ClusterError, match=message):
        check_for(cluster, seconds=120)
    assert not jobs_in("RUNNING") and not jobs_in("PENDING")


def test_a_limit_of_jobs_is_lived_with_until_it_is_lifted(
    slurm: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """sbatch is wrapped here: as many sites do, it refuses a third job."""
    sbatch, programs = shutil.which("sbatch"), tmp_path / "programs"
    programs.mkdir()
    (programs / "sbatch").write_text(f"""#!/bin/sh
exec 9> {programs}/lock; flock 9
echo >> {programs}/calls
[ -e {programs}/lifted ] || [ $(squeue --noheader --name wavenas | wc -l) -lt 2 ] || exit 1
exec {sbatch} "$@"
""")
    (programs / "sbatch").chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
    with open_cluster(settings(workers=3, attempts=2, cpus=1, memory_gib=1), folder=tmp_path / "logs") as cluster:
        cluster.client.wait_for_workers(2, timeout=240)
        calls = len((programs / "calls").read_text().splitlines())
        check_for(cluster, seconds=20)
        assert len(workers_of(cluster)) == 2
        more = len((programs / "calls").read_text().splitlines()) - calls
        assert 1 <= more < 9, "ever more seldom"
        (programs / "lifted").touch()
        wait_for(lambda: len(workers_of(cluster)) == 3)
        cluster.check()


def test_jobs_that_would_wait_for_ever_end_the_run_with_slurms_reason(slurm: Path, tmp_path: Path) -> None:
    too_long = settings(partition="urgent", walltime_minutes=90, attempts=2)  # its limit is 60
    with open_cluster(too_long, folder=tmp_path) as cluster, pytest.raises(ClusterError, match="PartitionTimeLimit"):
        check_for(cluster, seconds=120)


def test_what_slurm_would_refuse_is_refused_at_the_start(slurm: Path, tmp_path: Path) -> None:
    refused = pytest.raises(ClusterError, match=r"(?s)Slurm refuses such jobs: .*[Pp]artition.*#SBATCH -p nowhere")
    with refused, open_cluster(settings(partition="nowhere"), folder=tmp_path):
        pass


def test_a_job_with_a_fake_gpu_has_one_gpu_and_a_worker_of_dask_cuda_that_retires(slurm: Path, tmp_path: Path) -> None:
    before = ended_jobs(slurm)
    prologue = ("export DASK_CUDA_TEST_DISABLE_DEVICE_SPECIFIC=1",)
    short = settings(workers=2, gpu=True, prologue=prologue, walltime_minutes=2, retire_minutes=0.9)
    with open_cluster(short, folder=tmp_path) as cluster:
        cluster.client.wait_for_workers(2, timeout=240)
        first = jobs_in("RUNNING")
        seen = cluster.client.run(lambda: dict(os.environ))
        assert [worker["CUDA_VISIBLE_DEVICES"] for worker in seen.values()] == ["0", "0"]
        assert_left_in_peace(cluster.client)
        assert {worker["SLURMD_NODENAME"] for worker in seen.values()} == {"node1", "node2"}  # each has one GPU
        wait_for(lambda: first <= ended_jobs(slurm).keys())
        assert {ended_jobs(slurm)[job]["JobState"] for job in first} == {"COMPLETED"}
        assert not first & before.keys()
        wait_for(lambda: len(jobs_in("RUNNING") - first) == 2 and len(workers_of(cluster)) == 2)
        assert cluster.client.submit(len, "abc").result(timeout=120) == 3


def settings(workers: int = 1, **slurm: object) -> ClusterSettings:
    """Small jobs, looked after every second."""
    small = {"memory_gib": 1.5, "walltime_minutes": 5, "retire_minutes": 1, "check_seconds": 1}
    return ClusterSettings(kind="slurm", workers=workers, slurm=SlurmSettings(**{**small, **slurm}))  # type: ignore[arg-type]


def make_run(folder: Path, *more: str) -> list[str]:
    """`make run CLUSTER=slurm` of a small search, in the environment that runs this test."""
    sets = " ".join(f"--set {shlex.quote(setting)}" for setting in [*TINY, TASK, *SMALL, *more])
    environment = Path(sys.prefix)
    return [
        "make", "--no-print-directory", "-o", f"{environment}/.ready", "run", f"VENV={environment}", "CLUSTER=slurm",
        "EXPERIMENT=digits", f"ARGS=--run {folder} {sets}",
    ]  # fmt: skip


@contextmanager
def running(command: list[str], child_seconds: float) -> Iterator[subprocess.Popen[str]]:
    """A command with a process group of its own, which ends with the context."""
    process = subprocess.Popen(
        command, cwd=ROOT, env=environment(child_seconds), text=True, start_new_session=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    try:
        yield process
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def environment(child_seconds: float) -> dict[str, str]:
    path = os.pathsep.join([str(Path(__file__).parent), str(ROOT)])
    return {**os.environ, "PYTHONPATH": path, "CHILD_SECONDS": str(child_seconds)}


def wait_for(condition: Callable[[], bool], process: subprocess.Popen[str] | None = None, seconds: float = 120) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        ended = process is not None and process.poll() is not None
        assert not ended, process.communicate()[0]  # type: ignore[union-attr]
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.2)


def check_for(cluster: Cluster, seconds: float) -> None:
    """Ask as the driver does while it waits."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        cluster.check()
        time.sleep(0.1)


def trials(folder: Path) -> list[int]:
    """Trials in the results, as often as they are there."""
    try:
        return list(pd.read_parquet(folder / "results").get("trial_id", []))
    except FileNotFoundError:
        return []


def jobs_in(state: str) -> set[str]:
    """Numbers of the jobs of workers that are in a state."""
    command = ["squeue", "--noheader", "--name", "wavenas", "--states", state, "--format", "%i"]
    return set(subprocess.run(command, check=True, capture_output=True, text=True).stdout.split())


def ended_jobs(slurm: Path) -> dict[str, dict[str, str]]:
    """Slurm's own record of the workers' jobs that have ended, by number."""
    if not (slurm / "ended_jobs.txt").exists():
        return {}
    records = [dict(re.findall(r"(\w+)=(\S*)", line)) for line in (slurm / "ended_jobs.txt").read_text().splitlines()]
    return {record["JobId"]: record for record in records if record["Name"] == "wavenas"}


def seconds_of(job: dict[str, str]) -> float:
    """How long a job ran."""
    return (datetime.fromisoformat(job["EndTime"]) - datetime.fromisoformat(job["StartTime"])).total_seconds()


def workers_of(cluster: Cluster) -> dict[str, object]:
    return cluster.client.scheduler_info(n_workers=-1)["workers"]  # type: ignore[no-any-return]
