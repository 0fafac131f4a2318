"""Which cluster a run is on: the site's file, `--cluster` and `--set`, at the start and on resumption."""

import shutil
from pathlib import Path

import pytest
from conftest import assert_same_run, run_here, type_in
from distributed import LocalCluster

from pipeline.configuration import override
from pipeline.errors import UserError
from pipeline.experiments import digits
from pipeline.site import cluster_options, with_other_cluster, with_site

EXAMPLE = Path(__file__).parents[2] / "docs" / "sites" / "gpu_cluster.toml"


def test_the_example_of_a_site_is_merged_over_the_experiment_and_under_what_is_set() -> None:
    cluster = override(with_site(digits(), EXAMPLE), ["cluster.slurm.jobs=2", "cluster.kind=local"]).cluster
    assert (cluster.kind, cluster.slurm.jobs, cluster.slurm.partition) == ("local", 2, "gpu")
    assert cluster.slurm.prologue[0] == "module load cuda" and cluster.workers is None
    assert cluster.slurm.check_seconds == digits().cluster.slurm.check_seconds


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[clustre]", "unknown key clustre; allowed: a table [cluster] alone"),
        (
            "[cluster.slurm]\npartitio = 'gpu'",
            "unknown key cluster.slurm.partitio (did you mean cluster.slurm.partition",
        ),
        (
            "[cluster.slurm]\nwalltime_minutes = 'long'",
            "cluster.slurm.walltime_minutes = 'long': input should be a valid",
        ),
        ("cluster = 1", "cluster = 1: "),
        ("[cluster", "not a site's TOML file that can be read (Expected"),
    ],
)
def test_errors_name_the_sites_file_and_the_key(text: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "site.toml"
    path.write_text(text)
    with pytest.raises(UserError) as caught:
        with_site(digits(), path)
    assert str(caught.value).startswith(f"{path}: {message}")


def test_a_missing_site_file_is_an_error_also_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WAVENAS_SITE", "/nowhere.toml")
    assert "/nowhere.toml: not a site's TOML file that can be read (No such file" in type_in("run", expected=2)


def test_an_address_is_a_cluster() -> None:
    assert cluster_options("slurm") == {"cluster.kind": "slurm"}
    assert cluster_options("tls://a:1") == {"cluster.kind": "address", "cluster.address": "tls://a:1"}
    assert cluster_options(None) == {}


def test_a_run_that_has_begun_can_change_its_cluster_and_nothing_else() -> None:
    changed = with_other_cluster(digits(), EXAMPLE, "tcp://a:1", ["cluster.slurm.jobs=3"])
    assert (changed.cluster.kind, changed.cluster.address, changed.cluster.slurm.jobs) == ("address", "tcp://a:1", 3)
    assert changed.search == digits().search
    with pytest.raises(UserError, match=r"--set search.samples=7: allowed for a run that has begun is cluster\."):
        with_other_cluster(digits(), None, None, ["search.samples=7"])


def test_a_run_is_resumed_on_a_scheduler_that_runs_already(tmp_path: Path) -> None:
    reference, folder = tmp_path / "reference", tmp_path / "run"
    run_here(reference, "search.samples=4", "cluster.processes=false", "cluster.workers=1")
    shutil.copytree(reference, folder)
    for name in ("results", "epochs", "updates", "checkpoints"):
        shutil.rmtree(folder / name)  # drawn, but not trained: as if it had been killed then
    with LocalCluster(
        n_workers=1, threads_per_worker=1, processes=False, protocol="tcp://", dashboard_address=None
    ) as running:
        output = type_in("resume", folder, "--cluster", running.scheduler_address)
        assert f"scheduler at {running.scheduler_address}: 1 worker so far" in output
    assert_same_run(folder, reference)
