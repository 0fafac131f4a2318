"""Look a cluster over before a long run is spent on it."""

import math
import shutil
import tempfile
import time
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from rich.console import Console

from cluster.cluster import Cluster
from cluster.errors import ClusterError
from cluster.open import open_cluster
from models.random_policy import sample_uniformly
from models.space import SearchSpace
from pipeline.checks import check_configuration
from pipeline.children import Children
from pipeline.configuration import Configuration
from pipeline.console import say
from pipeline.datasets import prepare_data
from pipeline.interruption import in_good_order
from pipeline.progress import format_seconds
from pipeline.run_paths import RunPaths
from pipeline.search import trial_of
from pipeline.submit import Tasks
from pipeline.time_left import Child, seconds_of_run
from pipeline.workload import children_to_come
from tasks.packages import package_versions
from tasks.probe import Probe, ProbeRequest, probe
from tasks.records import COUNTED, Trial, TrialResult
from tasks.settings import IMAGE_TASK, LANGUAGE_TASK, RetrySettings, depth_at

TRIAL_EPOCHS = 2  # the first epoch has costs of its own
SHORT = 20.0  # seconds
AGAIN = 1_000  # added to the number of a trial that is trained twice
NO_RETRIES = RetrySettings(failed=0, out_of_memory=0, timed_out=0)
KEEPING = (IMAGE_TASK, LANGUAGE_TASK)  # tasks that keep checkpoints
GIB = 2**30
ENOUGH_DISK = 5 * GIB


@dataclass(frozen=True)
class Finding:
    """What was looked at and found; `wrong` where a run would fail or be wasted."""

    what: str
    found: str
    wrong: bool = False


def examine(configuration: Configuration, runs: Path, console: Console) -> bool:
    """Print what there is to know about a run of a configuration in a folder of runs. True where all is well.

    Raises UserError for what is wrong with the configuration or the data, as a run would.
    """
    check_configuration(configuration)
    runs.mkdir(parents=True, exist_ok=True)
    well = True
    with in_good_order(), tempfile.TemporaryDirectory(prefix=".doctor-", dir=runs) as name:
        paths = RunPaths(Path(name).resolve())
        data_path = prepare_data(configuration.data, RunPaths(runs / "run").prepared_data)
        for finding in _findings(configuration, paths, data_path, console):
            well = well and not finding.wrong
            mark = "WRONG" if finding.wrong else "ok   "
            say(console, f"{mark} {finding.what}: {finding.found}")
    return well


def _findings(configuration: Configuration, paths: RunPaths, data_path: Path, console: Console) -> Iterator[Finding]:
    yield Finding("data", f"{data_path}")
    yield _disk(paths.folder)
    try:
        threads = configuration.child.threads
        settings = replace(configuration.cluster, allowed_failures=0)  # what ends one worker would end others too
        with open_cluster(settings, threads, paths.workers, jobs=1) as cluster:
            if cluster.job_script:
                say(console, f"A job:\n{cluster.job_script}")
            yield Finding("cluster", cluster.description)
            yield from _worker_findings(configuration, cluster, paths, data_path)
    except ClusterError as error:
        yield Finding("cluster", str(error), wrong=True)


def _worker_findings(
    configuration: Configuration, cluster: Cluster, paths: RunPaths, data_path: Path
) -> Iterator[Finding]:
    tasks = Tasks(cluster.client, cluster.check)
    word, written, answer = uuid.uuid4().hex, paths.folder / "from_driver", paths.folder / "from_worker"
    written.write_text(word)
    started = time.monotonic()
    tasks.submit([f"probe-{word}"], probe, [ProbeRequest(str(written), str(data_path), str(answer))], 0)
    (ended,) = tasks.wait()
    if ended.error:
        yield Finding("first worker", f"{type(ended.error).__name__}: {ended.error}", wrong=True)
        return
    worker: Probe = ended.value
    yield Finding("first worker", f"on {worker.host} after {format_seconds(time.monotonic() - started)}")
    shared = worker.read == word and answer.is_file() and answer.read_text() == word
    yield Finding("shared folder", f"{paths.folder.parent}{'' if shared else ' is not the same there'}", not shared)
    there = "can" if worker.data_found else "cannot"
    yield Finding("data on the worker", f"{data_path} {there} be seen", not worker.data_found)
    yield _versions(worker)
    yield _device(worker, cluster.on_gpus)
    yield from _estimate(configuration, cluster, tasks, paths, data_path, worker)


def _disk(folder: Path) -> Finding:
    free = shutil.disk_usage(folder).free
    return Finding("free disk", f"{free / GIB:.0f} GiB at {folder.parent}", free < ENOUGH_DISK)


def _device(worker: Probe, on_gpus: bool) -> Finding:
    cpus = f"{worker.cpus} CPU{'s' if worker.cpus > 1 else ''}"
    blind = on_gpus and worker.device.startswith("CPU")
    return Finding("device", f"{worker.device}, {worker.precision}, {cpus}", blind)


def _versions(worker: Probe) -> Finding:
    here = package_versions()
    differing = [
        f"{name} {worker.packages[name]} there, {version} here"
        for name, version in here.items()
        if worker.packages[name] != version
    ]
    found = "; ".join(differing) or f"as here: Python {here['python']}, torch {here['torch']}, dask {here['dask']}"
    return Finding("packages", found, bool(differing))


def _estimate(
    configuration: Configuration, cluster: Cluster, tasks: Tasks, paths: RunPaths, data_path: Path, worker: Probe
) -> Iterator[Finding]:
    """Train one child of the first depth and one of the last for two epochs, and play the whole run through."""
    search = configuration.search
    depths = sorted({depth_at(0, search), depth_at(search.samples - 1, search)})
    yield Finding(
        "now", f"training children of depth {' and '.join(map(str, depths))}, for {TRIAL_EPOCHS} epochs at most"
    )
    children = Children(tasks, paths.folder.name, configuration.child, NO_RETRIES)
    trials = [_trial(configuration, depth, number, paths, data_path) for number, depth in enumerate(depths)]
    results = [_train(tasks, children, trial) for trial in trials]
    for depth, result in zip(depths, results, strict=True):
        if result.error:  # one that ended well tells what its first try ended with
            wrong = result.status not in COUNTED
            yield Finding(f"a child of depth {depth}", f"{result.status}: {result.error.strip()}", wrong)
            if wrong:
                return
    epochs = [_epoch_seconds(result) for result in results]
    seconds = [_child_seconds(configuration, result) for result in results]
    tried = [
        Child(depth, took, "", 0.0, flops=result.training.flops if result.training else None)
        for depth, took, result in zip(depths, seconds, results, strict=True)
    ]
    told = [" to ".join(dict.fromkeys(map(_told, some))) for some in (epochs, seconds)]
    on_gpu = not worker.device.startswith("CPU")
    shared = on_gpu and configuration.cluster.children_per_gpu > 1
    alone = ", alone on its GPU: those that share one take longer, unless it had little to do" if shared else ""
    yield Finding("an epoch", f"{told[0]}; a child takes about {told[1]}{alone}")
    if cluster.worker_seconds is not None:
        yield _walltime(configuration, cluster.worker_seconds, max(epochs), max(seconds))
    workers = max(cluster.num_workers, len(tasks.workers.addresses()))  # more may have come since it was opened
    yield _whole_run(configuration, tried, workers, on_gpu)


def _whole_run(configuration: Configuration, tried: Sequence[Child], workers: int, on_gpu: bool) -> Finding:
    """What a run costs, if its children are like those that were tried, and nothing else takes time."""
    search, at_once = configuration.search, configuration.wave_size
    end, spent = seconds_of_run(tried, children_to_come(configuration, ()), min(workers, at_once))
    devices = spent / configuration.cluster.children_per_gpu if on_gpu else spent * configuration.child.threads
    unit = "GPU-hours" if on_gpu else "CPU-hours"
    busy = f", of which {at_once} are busy at most" if at_once < workers else ""
    return Finding(
        "the whole run",
        f"{search.samples:,} children{' and as many of the control' if search.control else ''}, "
        f"{devices / 3600:,.1f} {unit}, {format_seconds(end)} on {workers} worker{'s' if workers > 1 else ''}{busy}",
    )


def _walltime(configuration: Configuration, worker_seconds: float, epoch: float, child: float) -> Finding:
    kept = configuration.child.checkpoint_minutes is not None and configuration.child.task in KEEPING
    between = min(epoch, child) if kept else child  # an epoch that ends shortly before its worker retires is kept
    found = f"workers live for {format_seconds(worker_seconds)}"
    if between >= worker_seconds:
        return Finding("walltime", f"{found}, less than the {format_seconds(between)} a child needs at a stretch", True)
    goes_on = "a child goes on from its checkpoint on another" if child > worker_seconds else "long enough for a child"
    return Finding("walltime", f"{found}; {goes_on}")


def _train(tasks: Tasks, children: Children, trial: Trial) -> TrialResult:
    """A short child is trained twice: the first in a process takes a few seconds more."""
    result = _once(tasks, children, trial)
    if result.error or result.seconds >= SHORT:
        return result
    return _once(tasks, children, replace(trial, trial_id=trial.trial_id + AGAIN, checkpoint_path=None))


def _once(tasks: Tasks, children: Children, trial: Trial) -> TrialResult:
    children.train([trial])
    while True:
        for result in children.take(tasks.wait()):
            return result


def _trial(configuration: Configuration, depth: int, number: int, paths: RunPaths, data_path: Path) -> Trial:
    """A random architecture, however large, to be trained for two epochs."""
    (path,) = SearchSpace(configuration.space.function, configuration.space.options).paths(depth, 1)
    sample_uniformly([path], configuration.search.seed)
    short = replace(
        configuration,
        search=replace(configuration.search, max_parameters=None, max_flops=None),
        child=replace(configuration.child, epochs=min(TRIAL_EPOCHS, configuration.child.epochs)),
        language=replace(configuration.language, epochs=min(TRIAL_EPOCHS, configuration.language.epochs)),
    )
    return trial_of(short, paths, data_path, {"trial_id": number, "seed": 0, "depth": depth, "tokens": path.tokens})


def _epoch_seconds(result: TrialResult) -> float:
    """Of its last epoch; of the whole child where its task does not tell of epochs."""
    epochs = result.training.epochs if result.training else ()
    return epochs[-1].seconds if epochs else result.seconds


def _child_seconds(configuration: Configuration, result: TrialResult) -> float:
    epochs = result.training.epochs if result.training else ()
    if not epochs:
        return result.seconds
    text = configuration.data.dataset == "text"
    count = configuration.language.epochs if text else configuration.child.epochs
    return epochs[-1].seconds * count + max(0.0, result.seconds - math.fsum(epoch.seconds for epoch in epochs))


def _told(seconds: float) -> str:
    return f"{seconds:.1f}s" if seconds < 10 else format_seconds(seconds)
