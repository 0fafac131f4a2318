"""A child that outlives every worker is not trained for ever."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import dask
import fault_tasks
import pytest
from distributed import Client, LocalCluster
from drivers import wait_until

from cluster.dask_configuration import dask_configuration
from cluster.settings import ClusterSettings
from pipeline.children import Children
from pipeline.submit import Tasks
from tasks.records import Trial
from tasks.settings import ChildSettings, DataSettings, RetrySettings, SpaceSettings

pytestmark = [pytest.mark.faults, pytest.mark.timeout(900)]
OPTIONS = {"processes": False, "threads_per_worker": 1, "dashboard_address": None, "worker_dashboard_address": None}


def trial_of(number: int, settings: ChildSettings, checkpoint: Path) -> Trial:
    space = SpaceSettings(function="bench.sleeping:ten_decisions")
    return Trial(
        number, 0, 1, (0,) * 10, space, settings, DataSettings(), "", 1.0, checkpoint_path=str(checkpoint)
    )  # fmt: skip


@contextmanager
def worker_processes(count: int, allowed_failures: int) -> Iterator[Client]:
    """A client of a cluster as a run opens it, its workers in processes of their own."""
    with (
        dask.config.set(dask_configuration(ClusterSettings(allowed_failures=allowed_failures))),
        LocalCluster(n_workers=count, **{**OPTIONS, "processes": True}) as cluster,
        Client(cluster) as client,
    ):
        yield client


@pytest.mark.parametrize("checkpoints", [0, 2])
def test_a_child_that_no_worker_lives_for_is_given_up(checkpoints: int, tmp_path: Path) -> None:
    """Its workers retire, which Dask counts as no failure; what it keeps gives it as many lives again."""
    checkpoint = tmp_path / "child.pt"
    trial = trial_of(0, ChildSettings(task="fault_tasks:sleep_on"), checkpoint)
    retired: list[str] = []

    def retire(client: Client, children: Children) -> None:
        """The worker that the child has begun on, as often as it takes."""
        while len(retired) < 3 + checkpoints and not ended.wait(0.1):
            (child,) = children._under_way.values()
            if child.begun == len(retired) + 1:
                if len(retired) < checkpoints:
                    checkpoint.write_text(f"after {len(retired)} lives")
                retired.append(child.address)
                client.retire_workers([child.address])

    fault_tasks.RELEASED.clear()
    ended = threading.Event()
    with (
        dask.config.set({"distributed.scheduler.allowed-failures": 2}),
        LocalCluster(n_workers=8, **OPTIONS) as cluster,
        Client(cluster) as client,
    ):
        tasks = Tasks(client)
        children = Children(tasks, "run", ChildSettings(), RetrySettings())
        children.train([trial])
        thread = threading.Thread(target=retire, args=(client, children))
        thread.start()
        (result,) = children.take(tasks.wait())
        ended.set()
        fault_tasks.RELEASED.set()
        thread.join()
    assert result.status == "lost_worker" and len({*retired}) == 3 + checkpoints
    assert "it was begun 4 times, and each time its worker retired or died" in (result.error or "")


def test_a_child_that_ended_is_not_lost_however_often_its_result_goes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody looks at the results before four children have taken their worker down."""
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent))
    settings = ChildSettings(task="fault_tasks:die_at_first")
    trials = [trial_of(number, settings, tmp_path / f"{number}.pt") for number in range(5)]
    with worker_processes(1, allowed_failures=1) as client:
        children = Children(tasks := Tasks(client), "run", settings, RetrySettings())
        children.train(trials)
        wait_until(lambda: all(future.status == "finished" for future in client.futures.values()), "all results")
        results = {}
        while len(results) < 5:
            results |= {result.trial_id: result for result in children.take(tasks.wait())}
    assert {result.status for result in results.values()} == {"ok"}
    assert results[0].attempts == 5 and (results[0].error or "").count("its result went with the worker") == 4


def test_a_second_attempt_that_only_waits_where_another_child_dies_is_not_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is bound to the worker that did not fail, and waits there behind whatever that trains."""
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent))
    settings = ChildSettings(task="fault_tasks:die_when_told_or_fail_once")
    trials = [trial_of(number, settings, tmp_path / f"{number}.pt") for number in range(2)]
    with worker_processes(2, allowed_failures=0) as client:
        children = Children(tasks := Tasks(client), "run", settings, RetrySettings())
        children.train(trials)
        assert not children.take(tasks.wait()), "the one that failed is tried again"
        wait_until(lambda: max(map(len, client.processing().values())) == 2, "one to wait behind the other")
        (tmp_path / "go").touch()
        results = {}
        while len(results) < 2:
            results |= {result.trial_id: result for result in children.take(tasks.wait())}
    assert results[0].status == "lost_worker" and (results[1].status, results[1].attempts) == ("ok", 2)
