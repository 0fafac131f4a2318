"""What a long child keeps of itself. That it goes on from it to the same end is tested with a dying worker."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from cluster import worker_setup
from tasks.child_checkpoint import RETIRE_AT, ChildCheckpoint
from tasks.records import Epoch, Trial
from tasks.settings import ChildSettings, DataSettings, SpaceSettings

EPOCHS = [Epoch(number, 1.5, 0.25, 2.0, 0.125, 0.1, 3.0, 40.0) for number in range(2)]


@pytest.fixture
def trial(tmp_path: Path) -> Trial:
    child = ChildSettings(checkpoint_minutes=1e-9)
    path = str(tmp_path / "children" / "trial-000003.pt")
    return Trial(3, 11, 2, (0, 1), SpaceSettings(), child, DataSettings(), "", 3.0, checkpoint_path=path)


def parts(seed: int) -> tuple[torch.nn.Linear, torch.optim.SGD, torch.Generator]:
    torch.manual_seed(seed)
    network = torch.nn.Linear(3, 2)
    return network, torch.optim.SGD(network.parameters(), lr=0.1, momentum=0.9), torch.Generator().manual_seed(seed)


def step(network: torch.nn.Linear, optimizer: torch.optim.SGD, generator: torch.Generator) -> torch.Tensor:
    optimizer.zero_grad()
    network(torch.randn(4, 3, generator=generator)).square().sum().backward()
    optimizer.step()
    return network.weight.detach().clone()


def test_network_momentum_random_numbers_and_epochs_come_back(trial: Trial) -> None:
    network, optimizer, generator = parts(1)
    step(network, optimizer, generator)
    ChildCheckpoint(trial, generator, network=network, optimizer=optimizer).save_when_due(EPOCHS)
    expected = step(network, optimizer, generator)
    other, other_optimizer, other_generator = parts(2)
    checkpoint = ChildCheckpoint(trial, other_generator, network=other, optimizer=other_optimizer)
    assert checkpoint.restore() == EPOCHS
    assert torch.equal(step(other, other_optimizer, other_generator), expected)


def test_another_trials_or_a_damaged_file_counts_as_none(trial: Trial) -> None:
    network, optimizer, generator = parts(1)
    ChildCheckpoint(trial, generator, network=network, optimizer=optimizer).save_when_due(EPOCHS)
    before = network.weight.detach().clone()
    for other in (replace(trial, seed=12), replace(trial, tokens=(0, 2))):
        assert ChildCheckpoint(other, generator, network=network, optimizer=optimizer).restore() == []
    path = Path(trial.checkpoint_path or "")
    for content in (path.read_bytes()[:100], b"", b"not a checkpoint"):
        path.write_bytes(content)
        assert ChildCheckpoint(trial, generator, network=network, optimizer=optimizer).restore() == []
    assert torch.equal(network.weight, before)


def test_what_fits_in_part_leaves_nothing_behind(trial: Trial) -> None:
    network, optimizer, generator = parts(1)
    step(network, optimizer, generator)
    ChildCheckpoint(trial, generator, network=network, optimizer=optimizer).save_when_due(EPOCHS)
    fresh, _, other = parts(2)
    before = fresh.weight.detach().clone()
    groups = torch.optim.SGD([{"params": [weight]} for weight in fresh.parameters()], lr=0.1)
    assert ChildCheckpoint(trial, other, network=fresh, optimizer=groups).restore() == []
    assert torch.equal(fresh.weight, before) and not groups.state


@pytest.mark.parametrize(("left", "kept"), [(3_600.0, False), (7.0, False), (5.0, True), (-1.0, True)])
def test_a_child_is_kept_after_each_epoch_before_its_worker_retires(
    left: float, kept: bool, trial: Trial, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An epoch takes 3 seconds here."""
    assert RETIRE_AT == worker_setup.RETIRE_AT
    monkeypatch.setattr("time.time", lambda: 1_000.0)
    monkeypatch.setenv(RETIRE_AT, str(1_000.0 + left))
    network, optimizer, generator = parts(1)
    for minutes in (10.0, None):
        child = replace(trial, child=ChildSettings(checkpoint_minutes=minutes))
        ChildCheckpoint(child, generator, network=network, optimizer=optimizer).save_when_due(EPOCHS)
        assert Path(trial.checkpoint_path or "").exists() == (kept and minutes is not None)
        Path(trial.checkpoint_path or "").unlink(missing_ok=True)


def test_a_short_child_writes_nothing(trial: Trial) -> None:
    network, optimizer, generator = parts(1)
    for minutes in (10.0, None):
        short = replace(trial, child=ChildSettings(checkpoint_minutes=minutes))
        ChildCheckpoint(short, generator, network=network, optimizer=optimizer).save_when_due(EPOCHS)
    assert not Path(trial.checkpoint_path or "").parent.exists()
