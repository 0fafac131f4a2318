"""Tasks on a cluster that is looked at while they end."""

import time

import pytest
from distributed import LocalCluster

from cluster.errors import ClusterError
from cluster.open import open_cluster
from cluster.settings import ClusterSettings
from pipeline.submit import Tasks

OPTIONS = {"processes": False, "protocol": "tcp://", "dashboard_address": None, "worker_dashboard_address": None}


def test_a_late_worker_of_several_threads_is_noticed_on_a_busy_cluster(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline.submit.PATIENCE", 0.5)  # longer than any task takes
    with LocalCluster(n_workers=1, threads_per_worker=1, **OPTIONS) as running:
        settings = ClusterSettings(kind="address", address=running.scheduler_address)
        with open_cluster(settings) as cluster, pytest.raises(ClusterError, match=r"has 2 threads, .* allowed is 1"):
            tasks = Tasks(cluster.client, cluster.check)
            running.new_spec["options"]["nthreads"] = 2
            running.scale(2)
            for number in range(1_000):
                tasks.submit([f"short-{number}"], time.sleep, [0.05], 0)
                tasks.wait()
