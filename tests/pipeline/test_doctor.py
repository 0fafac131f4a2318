"""`wavenas doctor`: what it finds before a long run is spent."""

import re
from dataclasses import replace
from pathlib import Path

import pytest
from conftest import TINY, type_in

from pipeline.doctor import _versions, _walltime
from pipeline.experiments import cifar10
from tasks.packages import package_versions
from tasks.probe import Probe

HERE = Probe("host", "CPU", "float32", 2, "word", True, package_versions())


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def doctor(*settings: str, expected: int = 0) -> str:
    sets = [part for setting in [*TINY, "cluster.workers=1", *settings] for part in ("--set", setting)]
    return type_in("doctor", *sets, expected=expected)


def test_a_cluster_where_all_is_well(tmp_path: Path) -> None:
    output = doctor("search.control=random", "search.samples=1000", "search.depth=2", "search.max_depth=3")
    for what in ("data", "free disk", "first worker", "shared folder", "packages", "device", "an epoch"):
        assert f"ok    {what}: " in output, output
    assert "WRONG" not in output
    assert re.search(
        r"the whole run: 1,000 children and as many of the control, \d+\.\d CPU-hours, .* on 1 workers", output
    )
    assert [path.name for path in (tmp_path / "runs").iterdir()] == [".prepared"], "it leaves the prepared data alone"


def test_a_child_that_fails_is_found_before_the_run(tmp_path: Path) -> None:
    output = doctor("child.task=math:sqrt", expected=1)
    assert "WRONG a child of depth 2: failed: Traceback" in output and "the whole run" not in output


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
