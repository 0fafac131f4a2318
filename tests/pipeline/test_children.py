"""What becomes of a child's attempts."""

import math
from pathlib import Path

from distributed import Client, LocalCluster

from pipeline.child import Child
from pipeline.children import Children
from pipeline.submit import Tasks
from tasks.records import Training, Trial
from tasks.settings import ChildSettings, DataSettings, RetrySettings, SpaceSettings

MESSAGE = {"address": "tcp://there:1", "process": "there:17", "name": "0"}


def test_a_life_is_in_vain_unless_something_was_kept_or_the_child_had_ended(tmp_path: Path) -> None:
    kept = tmp_path / "child.pt"
    space, settings = SpaceSettings(function="models.conv_space:conv_space"), ChildSettings()
    child = Child(Trial(0, 0, 1, (), space, settings, DataSettings(), "", 1.0, checkpoint_path=str(kept)))
    child.submit("run")
    lives = []
    for number in range(6):
        if number == 3:
            kept.touch()
        if number == 5:
            child.end("there:17")
        child.begin(MESSAGE)
        lives.append(child.task.in_vain)
    assert lives == [1, 2, 3, 1, 2, 1] and child.begun == 6 and child.task.begun == 5
    assert len(child.story) == 5 and "its result went with the worker" in child.story[-1]


def test_a_child_that_timed_out_is_trained_again_from_its_beginning(tmp_path: Path) -> None:
    kept = tmp_path / "child.pt"
    space, child = (
        SpaceSettings(function="bench.sleeping:ten_decisions"),
        ChildSettings(task=f"{__name__}:time_out_once"),
    )
    trial = Trial(0, 0, 1, (0,) * 10, space, child, DataSettings(), "", 1.0, checkpoint_path=str(kept))
    with LocalCluster(n_workers=1, processes=False, dashboard_address=None) as cluster, Client(cluster) as client:
        children = Children(tasks := Tasks(client), "run", child, RetrySettings(timed_out=1))
        children.train([trial])
        assert not children.take(tasks.wait())
        (result,) = children.take(tasks.wait())
    assert (result.status, result.attempts) == ("ok", 2) and "timed_out" in (result.error or "")


def time_out_once(architecture: object, trial: Trial) -> Training:
    """Keeps something, as a child does between epochs."""
    assert trial.checkpoint_path is not None
    kept, before = Path(trial.checkpoint_path), Path(trial.checkpoint_path).with_suffix(".before")
    assert not kept.exists()
    kept.touch()
    if before.exists():
        return Training("ok", 0.5)
    before.touch()
    return Training("timed_out", math.nan)
