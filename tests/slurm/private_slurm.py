"""A real Slurm of two small nodes on this machine, in a folder of its own: no systemd, no cgroups, nothing in /etc.

Needs root, and apt-get where Slurm is not installed. By hand, until Ctrl-C:

    python tests/slurm/private_slurm.py FOLDER
"""

import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

PACKAGES = {"munged": "munge", "slurmctld": "slurmctld", "slurmd": "slurmd", "sbatch": "slurm-client"}
SYSTEM_PATH = "/usr/sbin:/sbin"
NODES = ("node1", "node2")
LONGEST_FOLDER = 70  # characters: a socket's whole path may have 107
CONFIGURATION = """
ClusterName=private
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports[0]}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool-%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd-%n.pid
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
JobCompType=jobcomp/filetxt
JobCompLoc={folder}/ended_jobs.txt
MpiDefault=none
MailProg=/bin/true
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
SchedulerParameters=batch_sched_delay=0,sched_interval=1,bf_interval=1
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
KillWait=5
ReturnToService=2
SlurmdParameters=config_overrides
GresTypes=gpu
PlugStackConfig={folder}/plugstack.conf
NodeName={nodes[0]} NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[1]} CPUs=2 RealMemory=4096 Gres=gpu:1
NodeName={nodes[1]} NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[2]} CPUs=2 RealMemory=4096 Gres=gpu:1
PartitionName=normal Nodes=ALL Default=YES PriorityTier=1 MaxTime=600 DefaultTime=5
PartitionName=urgent Nodes=ALL PriorityTier=9 MaxTime=60 DefaultTime=5 PreemptMode=OFF
"""


class NoSlurmError(Exception):
    """Why there can be no Slurm on this machine."""


@contextmanager
def private_slurm(folder: Path) -> Iterator[dict[str, str]]:
    """Install what is missing, start the daemons, stop them at the end. Gives the environment for Slurm's commands.

    Raises NoSlurmError where the machine has not what it takes, and RuntimeError, with the logs, where a daemon fails.
    """
    _require(folder)
    folder.mkdir(parents=True, exist_ok=True)
    environment = {
        **os.environ,
        "PATH": f"{os.environ['PATH']}:{SYSTEM_PATH}",
        "SLURM_CONF": str(folder / "slurm.conf"),
    }
    _install()
    _configure(folder)
    with ExitStack() as daemons:
        try:
            for name, command in _commands(folder).items():
                daemons.enter_context(_daemon(name, command, folder, environment))
                if name == "munged":
                    _wait(lambda: (folder / "munge.socket").exists(), "munged", folder)
            _wait(lambda: _idle_nodes(environment) == len(NODES), "a node", folder)
            yield environment
        finally:
            _cancel_all(environment)


def _require(folder: Path) -> None:
    if os.geteuid() != 0:
        raise NoSlurmError("needs root: Slurm's daemons start jobs as their owners")
    if _missing() and shutil.which("apt-get") is None:
        raise NoSlurmError(f"needs apt-get, or {', '.join(PACKAGES)} installed")
    if len(str(folder)) > LONGEST_FOLDER:
        raise NoSlurmError(f"{folder}: a path of at most {LONGEST_FOLDER} characters is needed, for sockets in it")


def _missing() -> list[str]:
    path = f"{os.environ['PATH']}:{SYSTEM_PATH}"
    return [package for program, package in PACKAGES.items() if shutil.which(program, path=path) is None]


def _install() -> None:
    """Debian's packages. Without systemd, and at run level 1, their services do not start by themselves."""
    if not (packages := _missing()):
        return
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive", "RUNLEVEL": "1"}
    lock = ["-o", "DPkg::Lock::Timeout=120", "-q"]
    for arguments in (["update"], ["install", "--yes", "--no-install-recommends", *packages]):
        ended = subprocess.run(["apt-get", *lock, *arguments], env=environment, capture_output=True, text=True)
        if ended.returncode:
            raise RuntimeError(f"apt-get {arguments[0]} failed:\n{ended.stdout}{ended.stderr}")


def _configure(folder: Path) -> None:
    host = socket.gethostname().partition(".")[0]
    text = CONFIGURATION.format(folder=folder, host=host, ports=_free_ports(1 + len(NODES)), nodes=NODES)
    (folder / "slurm.conf").write_text(text)
    (folder / "cgroup.conf").write_text("CgroupPlugin=cgroup/v1\n")  # slurmd loads one always; v1 touches nothing
    (folder / "plugstack.conf").touch()
    gpu = folder / "gpu0"  # a device like /dev/null: for a plain file, jobs would not be told of their GPU
    if not gpu.exists():
        subprocess.run(["mknod", str(gpu), "c", "1", "3"], check=True)
    (folder / "gres.conf").write_text("".join(f"NodeName={node} Name=gpu File={gpu}\n" for node in NODES))
    for name in ("state", *(f"spool-{node}" for node in NODES)):
        (folder / name).mkdir(exist_ok=True)
    key = folder / "munge.key"
    key.touch(0o600)
    key.write_bytes(os.urandom(128))


def _free_ports(count: int) -> list[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [listening.getsockname()[1] for listening in sockets]
    for listening in sockets:
        listening.close()
    return ports


def _commands(folder: Path) -> dict[str, list[str]]:
    """Every daemon in the foreground, so that it is a child of this process."""
    munged = ["munged", "--foreground", "--force", f"--key-file={folder}/munge.key", f"--socket={folder}/munge.socket"]
    munged += [f"--pid-file={folder}/munged.pid", f"--log-file={folder}/munged.log", f"--seed-file={folder}/munge.seed"]
    nodes = {f"slurmd-{node}": ["slurmd", "-D", "-c", "-N", node] for node in NODES}
    return {"munged": munged, "slurmctld": ["slurmctld", "-D", "-c"], **nodes}


@contextmanager
def _daemon(name: str, command: list[str], folder: Path, environment: dict[str, str]) -> Iterator[None]:
    """Run until the end of the context, or of this process, however that ends."""
    with (folder / f"{name}.out").open("ab") as output:
        with_parent = ["setpriv", "--pdeathsig", "TERM", *command]
        process = subprocess.Popen(
            with_parent, env=environment, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True
        )
        try:
            yield
        finally:
            process.terminate()
            try:
                process.wait(timeout=15)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _wait(condition, what: str, folder: Path) -> None:  # type: ignore[no-untyped-def]
    deadline = time.monotonic() + 60
    while not condition():
        if time.monotonic() > deadline:
            logs = "\n".join(f"== {log}\n{log.read_text()[-2000:]}" for log in folder.glob("*.out"))
            raise RuntimeError(f"{what} did not get ready in a minute\n{logs}")
        time.sleep(0.1)


def _idle_nodes(environment: dict[str, str]) -> int:
    return len(_ask(environment, "sinfo", "-h", "-N", "-p", "normal", "-t", "idle", "-o", "%N").split())


def _ask(environment: dict[str, str], *command: str) -> str:
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=30).stdout


def _cancel_all(environment: dict[str, str]) -> None:
    """End the jobs, so that no step of theirs outlives the daemons."""
    deadline = time.monotonic() + 30
    while (jobs := _ask(environment, "squeue", "-h", "-o", "%i").split()) and time.monotonic() < deadline:
        _ask(environment, "scancel", *jobs)
        time.sleep(0.5)


def main() -> None:
    """Run a Slurm by hand."""
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(tempfile.mkdtemp(prefix="slurm-", dir="/tmp"))
    with private_slurm(folder.resolve()) as environment:
        print(f"export SLURM_CONF={environment['SLURM_CONF']}", flush=True)
        try:
            while True:
                time.sleep(3600)
        except KeyboardInterrupt:
            print("stopping")


if __name__ == "__main__":
    main()
