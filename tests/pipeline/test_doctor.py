"""`wavenas doctor`: what it finds before a long run is spent."""

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from conftest import TINY, type_in
from distributed import LocalCluster

from pipeline.configuration import override
from pipeline.doctor import _device, _versions, _walltime, _whole_run
from pipeline.experiments import cifar10, digits
from pipeline.submit import Tasks
from pipeline.time_left import Child
from tasks.packages import package_versions
from tasks.probe import Probe, ProbeRequest, probe
from tasks.records import Training, Trial

HERE_ALONE = [*TINY, "cluster.workers=1", "cluster.processes=false"]
HERE = Probe("host", "CPU", "float32", 2, "word", True, package_versions())


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("pipeline.doctor.ENOUGH_DISK", 0)


def doctor(*settings: str, expected: int = 0) -> str:
    return type_in("doctor", *as_sets([*TINY, "cluster.workers=1", *settings]), expected=expected)


def as_sets(settings: Sequence[str]) -> list[str]:
    return [part for setting in settings for part in ("--set", setting)]


def test_a_cluster_where_all_is_well(tmp_path: Path) -> None:
    output = doctor("search.control=random", "search.samples=1000", "search.depth=2", "search.max_depth=3")
    for what in ("data", "free disk", "first worker", "shared folder", "packages", "device", "now", "an epoch"):
        assert f"ok    {what}: " in output, output
    assert "WRONG" not in output
    assert re.search(
        r"the whole run: 1,000 children and as many of the control, \d+\.\d CPU-hours, .* on 1 worker", output
    )
    assert [path.name for path in (tmp_path / "runs").iterdir()] == [".prepared"], "it leaves the prepared data alone"


def test_a_scheduler_may_get_its_workers_later(monkeypatch: pytest.MonkeyPatch) -> None:
    """The estimate goes by the workers that there are once one has answered."""
    options = {"processes": False, "protocol": "tcp://", "host": "127.0.0.1", "dashboard_address": ":0"}
    with LocalCluster(n_workers=0, threads_per_worker=1, **options) as running:

        def later(*arguments: Any) -> Tasks:  # what there is has been looked at
            running.scale(2)
            running.wait_for_workers(2)
            return Tasks(*arguments)

        monkeypatch.setattr("pipeline.doctor.Tasks", later)
        output = type_in("doctor", "--cluster", running.scheduler_address, *as_sets(TINY))
    assert "0 workers so far" in output
    assert re.search(r"the whole run: 20 children, \d+\.\d CPU-hours, .* on 2 workers", output), output


def test_spaces_tasks_and_tables_of_ones_own_are_taken_as_by_run(table: Path) -> None:
    own = ["--space", "models.layer_space:layer_space", "--task", "math:sqrt", "--samples", "7"]
    output = type_in("doctor", *own, *as_sets([*HERE_ALONE, "search.depth=3", "search.max_depth=3"]), expected=1)
    assert "WRONG a child of depth 3: failed: Traceback" in output
    of_table = ["--table", table, "--columns", "width,kind,skip", "--reward", "accuracy", "--samples", "160"]
    output = type_in("doctor", "--experiment", "table", *of_table)
    assert "the whole run: 160 children" in output


@pytest.mark.parametrize(
    ("changed", "text"),
    [
        ({"read": None}, r"shared folder: .* is not the same there"),
        ({"read": "what another wrote"}, r"shared folder: .* is not the same there"),
        ({"data_found": False}, r"data on the worker: .*\.prepared/\S+ cannot be seen"),
        ({"packages": {**package_versions(), "dask": "2020.1"}}, r"packages: dask 2020.1 there, "),
    ],
)
def test_what_a_worker_sees_otherwise_is_wrong(
    changed: dict[str, object], text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def elsewhere(request: ProbeRequest) -> Probe:
        return replace(probe(request), **changed)  # type: ignore[arg-type]

    monkeypatch.setattr("pipeline.doctor.probe", elsewhere)
    output = doctor("cluster.processes=false", expected=1)
    assert re.search(f"^WRONG {text}", output, re.MULTILINE), output
    assert output.count("WRONG") == 1


def test_a_worker_that_does_not_write_to_the_folder_of_runs_is_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline.doctor.probe", lambda request: probe(replace(request, to_write="/nowhere/answer")))
    assert re.search(r"WRONG shared folder: \S+ is not the same there", doctor("cluster.processes=false", expected=1))


def test_a_disk_that_is_nearly_full_is_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline.doctor.ENOUGH_DISK", 2**60)
    assert re.search(r"WRONG free disk: \d+ GiB at \S+runs", doctor("cluster.processes=false", expected=1))


def test_a_gpu_that_torch_does_not_see_is_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    blind = probe(ProbeRequest("", "", "/nowhere/answer"))
    if blind.device.startswith("CPU"):
        assert blind.device == "CPU, though CUDA_VISIBLE_DEVICES=0"
        assert _device(blind, on_gpus=True).wrong and not _device(blind, on_gpus=False).wrong
    assert not _device(replace(blind, device="NVIDIA H100"), on_gpus=True).wrong


def test_a_child_that_fails_is_found_before_the_run(tmp_path: Path) -> None:
    output = doctor("child.task=math:sqrt", "cluster.processes=false", expected=1)
    assert "WRONG a child of depth 2: failed: Traceback" in output and "the whole run" not in output


def half(architecture: object, trial: Trial) -> Training:
    return Training("ok", 0.5, out_of_memory="out_of_memory with batches of 64")


def test_a_child_that_ends_well_at_the_second_try_is_no_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    output = doctor(f"child.task={__name__}:half", "cluster.processes=false")
    assert "ok    a child of depth 2: ok: out_of_memory with batches of 64" in output and "the whole run" in output


def test_what_is_wrong_with_the_configuration_is_said_as_by_run() -> None:
    assert "error: --set: unknown key child.epoch (did you mean child.epochs?)" in doctor("child.epoch=1", expected=2)


def test_other_versions_on_a_worker_are_named() -> None:
    assert not _versions(HERE).wrong
    finding = _versions(replace(HERE, packages={**HERE.packages, "torch": "1.0"}))
    assert finding.wrong and "torch 1.0 there" in finding.found


@pytest.mark.parametrize(
    ("epoch", "child", "kept", "wrong", "text"),
    [
        (60, 3_000, 10.0, False, "long enough for a child"),
        (60, 9_000, 10.0, False, "goes on from its checkpoint"),
        (60, 9_000, None, True, "less than the 2h30m a child needs at a stretch"),
        (7_500, 90_000, 10.0, True, "less than the 2h05m a child needs at a stretch"),
    ],
)
def test_a_walltime_is_held_against_what_a_child_needs_at_a_stretch(
    epoch: float, child: float, kept: float | None, wrong: bool, text: str
) -> None:
    configuration = replace(cifar10(), child=replace(cifar10().child, checkpoint_minutes=kept))
    finding = _walltime(configuration, 7_200.0, epoch, child)
    assert finding.wrong == wrong and text in finding.found


@pytest.mark.parametrize(
    ("settings", "workers", "text"),
    [
        ({}, 4, "20 children, 0.6 CPU-hours, 8m20s on 4 workers"),  # of 100 s each, in waves of 8, 8 and 4
        ({}, 8, "20 children, 0.6 CPU-hours, 5m00s on 8 workers"),
        ({}, 100, "20 children, 0.6 CPU-hours, 5m00s on 100 workers, of which 8 are busy at most"),
        ({"mode": "async"}, 7, "20 children, 0.6 CPU-hours, 5m00s on 7 workers"),
        ({"mode": "async"}, 100, "20 children, 0.6 CPU-hours, 5m00s on 100 workers, of which 8 are busy at most"),
        ({"control": "random"}, 8, "20 children and as many of the control, 1.1 CPU-hours, 10m00s on 8 workers"),
        ({"samples": 1}, 1, "1 children, 0.0 CPU-hours, 1m40s on 1 worker"),
    ],
)
def test_the_whole_run_is_played_through(settings: dict[str, object], workers: int, text: str) -> None:
    search = replace(digits().search, **{"samples": 20, "control": None, "children_per_replica": 8, **settings})
    finding = _whole_run(replace(digits(), search=search), [Child(4, 100.0, "", 0.0)], workers, on_gpu=False)
    assert finding.found == text


def test_deeper_children_take_as_long_as_those_that_were_tried_tell() -> None:
    search = replace(cifar10().search, samples=8, depth=6, depth_increment=2, depth_every=4, control=None)
    configuration = replace(cifar10(), search=search, child=replace(cifar10().child, task="math:sqrt"))
    finding = _whole_run(configuration, [Child(6, 60.0, "", 0.0), Child(8, 80.0, "", 0.0)], 1, on_gpu=False)
    assert "9m20s on 1 worker" in finding.found


def test_children_that_share_a_gpu_share_its_hours() -> None:
    search = replace(digits().search, samples=720, children_per_replica=8, control=None)
    configuration = replace(digits(), search=search, cluster=replace(digits().cluster, children_per_gpu=4))
    finding = _whole_run(configuration, [Child(4, 100.0, "", 0.0)], 8, on_gpu=True)
    assert finding.found == "720 children, 5.0 GPU-hours, 2h30m on 8 workers"
    threads = replace(configuration, child=replace(configuration.child, threads=2))
    assert "40.0 CPU-hours" in _whole_run(threads, [Child(4, 100.0, "", 0.0)], 8, on_gpu=False).found


@pytest.mark.faults
def test_a_child_that_kills_its_worker_is_found_before_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent))
    output = doctor("child.task=deadly_task:die", expected=1)
    assert "WRONG a child of depth 2: lost_worker: its worker died 1 times while training it" in output
    assert "Traceback" not in output


def test_the_walltime_is_enough_for_what_a_child_does_at_a_stretch() -> None:
    ours = override(digits(), ["child.checkpoint_minutes=10"])
    assert "long enough for a child" in _walltime(ours, 540.0, epoch=2.0, child=60.0).found
    assert not _walltime(ours, 540.0, epoch=500.0, child=9_000.0).wrong
    assert _walltime(ours, 540.0, epoch=600.0, child=9_000.0).wrong
    theirs = override(digits(), ["child.task=math:sqrt"])
    assert _walltime(theirs, 540.0, epoch=2.0, child=600.0).wrong, "nobody says that it keeps checkpoints"
