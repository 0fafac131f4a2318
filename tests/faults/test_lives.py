"""A child that outlives every worker is not trained for ever."""

import threading
from pathlib import Path

import dask
import pytest
from distributed import Client, LocalCluster

from pipeline.children import Children
from pipeline.submit import Tasks
from tasks.records import Trial
from tasks.settings import ChildSettings, DataSettings, RetrySettings, SpaceSettings

pytestmark = [pytest.mark.faults, pytest.mark.timeout(300)]
OPTIONS = {"processes": False, "threads_per_worker": 1, "dashboard_address": None, "worker_dashboard_address": None}


@pytest.mark.parametrize("checkpoints", [0, 2])
def test_a_child_that_no_worker_lives_for_is_given_up(checkpoints: int, tmp_path: Path) -> None:
    """Its workers retire, which Dask counts as no failure; what it keeps gives it as many lives again."""
    checkpoint = tmp_path / "child.pt"
    trial = Trial(
        0, 0, 1, (0,) * 10, SpaceSettings(function="bench.sleeping:ten_decisions"),
        ChildSettings(task="fault_tasks:sleep_on"), DataSettings(), "", 1.0, checkpoint_path=str(checkpoint),
    )  # fmt: skip
    retired: list[str] = []

    def retire(client: Client) -> None:
        """The worker that the child is on, as often as it takes."""
        while not ended.wait(0.2):
            for address, keys in client.processing().items():
                if keys and address not in retired:
                    if ended.wait(0.3):  # else the child has begun
                        return
                    if len(retired) < checkpoints:
                        checkpoint.write_text(f"after {len(retired)} lives")
                    retired.append(address)
                    client.retire_workers([address])

    ended = threading.Event()
    with (
        dask.config.set({"distributed.scheduler.allowed-failures": 2}),
        LocalCluster(n_workers=8, **OPTIONS) as cluster,
        Client(cluster) as client,
    ):
        tasks = Tasks(client)
        children = Children(tasks, "run", ChildSettings(), RetrySettings())
        children.train([trial])
        thread = threading.Thread(target=retire, args=(client,))
        thread.start()
        (result,) = children.take(tasks.wait())
        ended.set()
        thread.join()
    assert result.status == "lost_worker" and len(retired) == 3 + checkpoints
    assert "it was begun 4 times, and each time its worker retired or died" in (result.error or "")
