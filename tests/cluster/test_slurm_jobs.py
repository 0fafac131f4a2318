"""The scripts of jobs, without Slurm. What Slurm makes of them is in tests/slurm."""

import os
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

from cluster.open import check_cluster, open_cluster
from cluster.security import network_security
from cluster.settings import ClusterSettings, SlurmSettings
from cluster.slurm import job_arguments
from cluster.slurm_job import SLURMCluster, SlurmJob
from cluster.worker_setup import RETIRE_AT


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
    assert lines[-1].split() == [
        sys.executable, "-m", "distributed.cli.dask_worker", "tcp://10.0.0.1:1", "--name", "wavenas-0",
        "--nthreads", "1", "--memory-limit", "8.00GiB", "--nanny", "--death-timeout", "60",
        "--preload", "cluster.worker_setup", "--dashboard-address", "127.0.0.1:0", "--no-dashboard",
    ]  # fmt: skip


def test_a_gpu_job_has_a_worker_of_dask_cuda(tmp_path: Path) -> None:
    assert "export CUDA_VISIBLE_DEVICES=" in script(SlurmSettings(), tmp_path), "a node may have GPUs that are not ours"
    lines = script(SlurmSettings(gpu=True, gpu_directive="--gres=gpu:a100:1", interface="ib0"), tmp_path)
    assert "#SBATCH --gres=gpu:a100:1" in lines and not any("CUDA_VISIBLE" in line for line in lines)
    assert " -m dask_cuda.cli tcp://10.0.0.1:1 --name wavenas-0 --nthreads 1 " in lines[-1]
    assert lines[-1].endswith(" --interface ib0") and "--nanny" not in lines[-1]


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
    return subprocess.run(["bash", "-c", command], check=True, capture_output=True, text=True, timeout=20).stdout


def test_a_process_that_begins_anew_retires_when_the_first_would_have(monkeypatch: pytest.MonkeyPatch) -> None:
    """Here without Slurm: the worker is told the time as by its job."""
    monkeypatch.setenv(RETIRE_AT, str(time.time() + 8))
    with open_cluster(ClusterSettings(workers=1)) as cluster:
        client = cluster.client
        first = client.run(os.getpid).popitem()[1]
        client.restart_workers(list(client.nthreads()), timeout=30)
        client.wait_for_workers(1, timeout=30)
        second = client.run(os.getpid).popitem()[1]
        assert second != first
        child = client.submit(time.sleep, 600)
        for over in (lambda: not client.nthreads(), lambda: not Path(f"/proc/{second}").exists()):
            deadline = time.monotonic() + 20
            while not over():
                assert time.monotonic() < deadline, "the worker did not retire, or waited for its child"
                time.sleep(0.1)
        assert child.status == "pending", "it waits for another worker"


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
    code = "import signal, cluster.slurm; assert signal.getsignal(signal.SIGINT) is signal.default_int_handler"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
