"""Where everything of a run lies."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class RunPaths:
    """The names inside a run folder."""

    folder: Path

    @property
    def config(self) -> Path:
        return self.folder / "config.json"

    @property
    def config_copy(self) -> Path:
        """The same again: the one file that nothing else could stand for."""
        return self.folder / "config.copy.json"

    @property
    def changes(self) -> Path:
        """Which other code and packages the run went on with, and since when."""
        return self.folder / "changes.json"

    @property
    def set_aside(self) -> Path:
        """Damaged files, in a folder for each time that some were found."""
        return self.folder / "set-aside"

    @property
    def lock(self) -> Path:
        return self.folder / ".lock"

    @property
    def owner(self) -> Path:
        """Who holds the lock, in words."""
        return self.folder / ".lock.owner"

    @property
    def log(self) -> Path:
        return self.folder / "run.log"

    @property
    def journal(self) -> Path:
        """Rows that ended since the last commit, a line each: what a crash must not lose."""
        return self.folder / "journal.jsonl"

    @property
    def checkpoints(self) -> Path:
        return self.folder / "checkpoints"

    @property
    def children(self) -> Path:
        """What children and trainings under way have learned so far."""
        return self.folder / "children"

    def child_checkpoint(self, trial_id: int) -> Path:
        """What a long child has learned so far, until its result is in."""
        return self.children / f"trial-{trial_id:06d}.pt"

    def stage_journal(self, stage: str) -> Path:
        """The journal of a stage after the search."""
        return self.folder / f"{stage}.jsonl"

    def training_checkpoint(self, fingerprint: str) -> Path:
        """What a training of a stage has learned so far, until its row is there."""
        return self.children / f"training-{fingerprint}.pt"

    @property
    def kept_weights(self) -> Path:
        """Those of the trainings of stages."""
        return self.folder / "weights"

    def weights(self, fingerprint: str) -> Path:
        """The weights that a training of a stage ended with."""
        return self.kept_weights / f"{fingerprint}.pt"

    def unfinished_weights(self, fingerprint: str) -> Path:
        """Those of the best epoch so far of a training that has not ended."""
        return self.kept_weights / f"{fingerprint}.unfinished"

    @property
    def workers(self) -> Path:
        """Logs of workers on other machines, and their certificates while the run is going on."""
        return self.folder / "workers"

    @property
    def test_split(self) -> Path:
        """The test split, for as long as workers evaluate on it."""
        return self.folder / "test-split"

    @property
    def report(self) -> Path:
        return self.folder / "report"

    @property
    def control(self) -> "RunPaths":
        """The run of the control experiment, a run folder like any other."""
        return RunPaths(self.folder / "control")

    @property
    def comparison(self) -> Path:
        """The comparison of policies that was made with this run's settings."""
        return self.folder / "compared"

    @property
    def prepared_data(self) -> Path:
        """Decoded data sets, shared by the runs of one folder and made anew where they are missing."""
        return self.folder.resolve().parent / ".prepared"

    def table(self, name: str) -> Path:
        return self.folder / name

    def checkpoint(self, version: int) -> Path:
        """The state of the search after `version` steps of its policy."""
        return self.checkpoints / f"step-{version:06d}.npz"
