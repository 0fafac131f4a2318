"""The scripts of jobs, without Slurm. What Slurm makes of them is in tests/slurm."""

import asyncio
import contextlib
import os
import shlex
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import dask
import psutil
import pytest
from distributed import Client

from cluster.dask_configuration import WORKERS, as_environment
from cluster.healer import remove_output
from cluster.open import check_cluster, open_cluster
from cluster.security import network_security
from cluster.settings import ClusterSettings, SlurmSettings
from cluster.slurm import ONE_GPU, job_arguments
from cluster.slurm_job import AT_ONCE, SLURMCluster, SlurmJob
from cluster.worker_setup import OUTPUT, RETIRE_AT


def script(slurm: SlurmSettings, folder: Path, threads: int = 1) -> list[str]:
    """Lines of the script of a job whose scheduler is at tcp://10.0.0.1:1."""
    arguments = job_arguments(ClusterSettings(kind="slurm", slurm=slurm), threads, folder)
    return SlurmJob("tcp://10.0.0.1:1", name="wavenas-0", **arguments).job_script().splitlines()


def test_a_cpu_job_has_one_worker_of_one_thread(tmp_path: Path) -> None:
    lines = script(SlurmSettings(partition="batch", account="lab", walltime_minutes=60), tmp_path, threads=2)
    assert [line for line in lines if line.startswith("#SBATCH")] == [
        "#SBATCH -J wavenas",
        f"#SBATCH -e {tmp_path}/wavenas-%J.err",
        f"#SBATCH -o {tmp_path}/wavenas-%J.out",
        "#SBATCH -p batch",
        "#SBATCH -A lab",
        "#SBATCH -n 1",
        "#SBATCH --cpus-per-task=2",
        "#SBATCH --mem=8G",
        "#SBATCH -t 60",
        "#SBATCH --no-requeue",
    ]
    assert {"export OMP_NUM_THREADS=2", "export MKL_NUM_THREADS=2", f"export MALLOC_TRIM_THRESHOLD_={2**30}"} <= {
        *lines
    }
    assert {f"export {name}={value}" for name, value in as_environment(WORKERS).items()} <= {*lines}
    assert lines[-1].split() == [
        sys.executable, "-m", "distributed.cli.dask_worker", "tcp://10.0.0.1:1", "--name", "wavenas-0",
        "--nthreads", "1", "--memory-limit", "8.00GiB", "--nanny", "--death-timeout", "60",
        "--preload", "cluster.worker_setup", "--dashboard-address", "127.0.0.1:0", "--no-dashboard",
    ]  # fmt: skip


def test_dask_reads_what_its_workers_are_told_from_the_variables_of_a_job() -> None:
    told = dask.config.collect_env({name: str(value) for name, value in as_environment(WORKERS).items()})
    read = dask.config.merge(dask.config.config, told)
    for name, value in WORKERS.items():
        assert dask.config.get(name, config=read) == value, name
        assert dask.config.get(name) != value, "Dask's default: nothing need be told"


def test_a_gpu_job_has_a_worker_of_dask_cuda(tmp_path: Path) -> None:
    assert "export CUDA_VISIBLE_DEVICES=" in script(SlurmSettings(), tmp_path), "a node may have GPUs that are not ours"
    lines = script(SlurmSettings(gpu=True, gpu_directive="--gres=gpu:a100:1", interface="ib0"), tmp_path)
    assert "#SBATCH --gres=gpu:a100:1" in lines
    assert " -m dask_cuda.cli tcp://10.0.0.1:1 --name wavenas-0 --nthreads 1 " in lines[-1]
    assert lines[-1].endswith(" --interface ib0") and "--nanny" not in lines[-1]
    assert [line for line in lines if "CUDA_VISIBLE" in line] == [ONE_GPU]


@pytest.mark.parametrize(("given", "seen"), [("3", "3"), ("MIG-a,MIG-b", "MIG-a"), ("2,3", "2"), ("", ""), (None, "0")])
def test_a_worker_sees_one_gpu_however_many_a_job_has(given: str | None, seen: str) -> None:
    environment = {"PATH": os.environ["PATH"], **({} if given is None else {"CUDA_VISIBLE_DEVICES": given})}
    script = f"{ONE_GPU}\nprintenv CUDA_VISIBLE_DEVICES"
    told = subprocess.run(["bash", "-c", script], env=environment, capture_output=True)
    assert told.stdout.decode().strip() == seen


def test_a_site_can_change_the_script(tmp_path: Path) -> None:
    slurm = SlurmSettings(
        cpus=4, memory_gib=1.5, skip_directives=("--mem=",), directives=("--mem-per-cpu=2G", "--qos=low"),
        prologue=("module load cuda", "export OMP_NUM_THREADS=3"), python="/opt/python",
        local_directory="/scratch", log_directory=str(tmp_path / "logs"),
    )  # fmt: skip
    lines = script(slurm, tmp_path)
    assert {"#SBATCH --mem-per-cpu=2G", "#SBATCH --qos=low", f"#SBATCH -e {tmp_path}/logs/wavenas-%J.err"} <= {*lines}
    assert not any("--mem=" in line for line in lines)
    assert "#SBATCH --cpus-per-task=4" in lines
    assert lines.index("export OMP_NUM_THREADS=4") < lines.index("module load cuda") < len(lines) - 1
    assert lines[-1].startswith("/opt/python -m ")
    assert "--memory-limit 1.50GiB" in lines[-1] and "--local-directory /scratch" in lines[-1]


def test_a_worker_retires_before_its_walltime_whatever_the_chance(tmp_path: Path) -> None:
    lines = script(SlurmSettings(walltime_minutes=60, retire_minutes=6), tmp_path)
    (line,) = [line for line in lines if line.startswith("export WAVENAS_RETIRE_AT=")]
    now = int(time.time())
    told = [run_in_shell(f"RANDOM={seed}; {line}; echo $WAVENAS_RETIRE_AT") for seed in range(20)]
    assert all(51 * 60 <= int(at) - now <= 57 * 60 + 60 for at in told) and len({*told}) > 10
    assert "--preload cluster.worker_setup" in lines[-1]


def run_in_shell(command: str) -> str:
    return subprocess.run(["bash", "-c", command], check=True, capture_output=True, text=True, timeout=60).stdout


def test_a_process_that_begins_anew_retires_by_the_clock_and_leaves_its_child(monkeypatch: pytest.MonkeyPatch) -> None:
    """Here without Slurm: the worker is told the time as by its job."""
    with open_cluster(ClusterSettings(workers=1)) as cluster:
        client = cluster.client
        known, child = set(client.nthreads()), client.submit(time.sleep, 600)
        (first,) = client.run(os.getpid).values()
        monkeypatch.setenv(RETIRE_AT, str(time.time() + 3))
        os.kill(first, signal.SIGKILL)
        wait_until(lambda: first not in {process.pid for process in worker_processes(os.getpid())})
        wait_until(lambda: worker_processes(os.getpid()))
        wait_until(lambda: retired(client) or set(client.nthreads()) - known)
        wait_until(lambda: retired(client), seconds=25)  # Dask's own lifetime would wait for the child for longer
        assert child.status == "pending", "it waits for another worker"


def retired(client: Client) -> bool:
    return not client.nthreads() and not worker_processes(os.getpid())


def wait_until(condition: Callable[[], object], seconds: float = 120) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "the worker did not retire, or waited for its child"
        time.sleep(0.05)


def worker_processes(parent: int) -> list[psutil.Process]:
    """Processes of workers that live, however deep."""
    found = []
    for process in psutil.Process(parent).children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess, psutil.ZombieProcess):
            if any("spawn_main" in word for word in process.cmdline()):
                found.append(process)
    return found


def test_certificates_go_to_workers_in_files_that_only_their_owner_reads(tmp_path: Path) -> None:
    settings = ClusterSettings(kind="slurm")
    with SLURMCluster(
        job_cls=SlurmJob,
        security=network_security(settings),
        shared_temp_directory=str(tmp_path),
        scheduler_options={"dashboard_address": "127.0.0.1:0"},
        **job_arguments(settings, 1, tmp_path),
    ) as cluster:
        assert cluster.scheduler_address.startswith("tls://")
        words = cluster.job_script().splitlines()[-1].split()
        files = [Path(words[words.index(f"--tls-{name}") + 1]) for name in ("ca-file", "cert", "key")]
        assert all(file.parent == tmp_path and stat.S_IMODE(file.stat().st_mode) == 0o600 for file in files)
        assert "PRIVATE KEY" in files[2].read_text() and "PRIVATE" not in " ".join(words)
    del cluster


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"slurm": {"retire_minutes": 40, "walltime_minutes": 60}},
            "cluster.slurm.retire_minutes = 40: allowed is less",
        ),
        ({"children_per_gpu": 2}, "cluster.children_per_gpu = 2: a job has one worker"),
    ],
)
def test_settings_of_slurm_are_checked(
    settings: dict, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("sbatch", "squeue"):
        (tmp_path / name).touch(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ValueError, match=message):
        check_cluster(ClusterSettings(kind="slurm", **settings))


def test_a_machine_without_slurm_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(ValueError, match="no sbatch and squeue here"):
        check_cluster(ClusterSettings(kind="slurm"))


def test_ctrl_c_is_left_as_it_was() -> None:
    code = "import signal; b = signal.getsignal(2); import cluster.slurm; assert signal.getsignal(2) is b"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_commands_of_slurm_take_turns(tmp_path: Path) -> None:
    """Each says how many are at work, itself among them."""
    command = ["sh", "-c", f"touch {tmp_path}/$$; ls {tmp_path} | wc -l; sleep 0.1; rm {tmp_path}/$$"]

    async def call_all() -> list[str]:
        return await asyncio.gather(*(SlurmJob._call(command) for _ in range(40)))

    for _ in range(2):  # each time in a loop of its own
        assert 2 <= max(int(answer) for answer in asyncio.run(call_all())) <= AT_ONCE


def test_open_files_are_allowed_for_all_workers() -> None:
    code = """
import resource, cluster.slurm as slurm
for limits in ((200, 6000), (5500, 6000), (1000, 1000)):
    resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    try:
        slurm._allow_open_files(800)
        print(resource.getrlimit(resource.RLIMIT_NOFILE))
    except slurm.ClusterError as error:
        print(error)
"""
    told = run_in_shell(f"{sys.executable} -c {shlex.quote(code)}").splitlines()
    refusal = "800 workers need 5312 open files here, and `ulimit -Hn` is 1000"
    assert told == ["(5312, 6000)", "(5500, 6000)", refusal]


def test_what_a_worker_prints_goes_to_a_file_that_is_bounded(tmp_path: Path) -> None:
    code = (
        "from types import SimpleNamespace as Worker; from cluster import worker_setup as setup; setup.MOST = 10_000\n"
        "setup.dask_setup(Worker(name='wavenas-3'))\n"
        "for number in range(100): setup.bound_output(); print('x' * 500, flush=True)\n"
        "print('the last words')"
    )
    (line,) = [line for line in script(SlurmSettings(), tmp_path / "a folder") if OUTPUT in line]
    assert run_in_shell(f"{line}; {sys.executable} -c {shlex.quote(code)}") == ""
    written = tmp_path / "a folder" / "worker-wavenas-3.log"
    assert written.stat().st_size < 11_000 and written.read_text().endswith("the last words\n")


def test_output_of_a_job_is_removed_with_that_of_its_worker(tmp_path: Path) -> None:
    gone = ["wavenas-7.err", "wavenas-7.out", "worker-wavenas-3.log"]
    left = ["wavenas-17.err", "wavenas-71.out", "worker-wavenas-33.log", "wavenas-8.err"]
    for name in [*gone, *left]:
        (tmp_path / name).touch()
    remove_output(tmp_path, "wavenas-3", "7")
    assert {path.name for path in tmp_path.iterdir()} == {*left}
