"""What becomes of a child's attempts."""

from pathlib import Path

from pipeline.child import Child
from tasks.records import Trial
from tasks.settings import ChildSettings, DataSettings, SpaceSettings

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
