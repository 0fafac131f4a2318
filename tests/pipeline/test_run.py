"""Runs read from Python, and the README's examples of it."""

import re
import runpy
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from models.conv_net import ConvNet
from models.conv_space import ConvArchitecture
from pipeline import load_run
from pipeline.errors import UserError
from pipeline.experiments import digits
from pipeline.rows import Row
from pipeline.run import Run
from pipeline.run_folder import create_run
from pipeline.schemas import SEARCH_TABLES, TABLES
from pipeline.seals import seal_parquet
from pipeline.tables import Tables

README = Path(__file__).parents[2] / "README.md"
DTYPES = {
    "samples": {"tokens": "object", "architecture": "str", "architecture_hash": "str", "log_prob": "float64"},
    "results": {
        "status": "category", "worker": "category", "device": "category", "precision": "category", "error": "str",
        "reward": "float64", "metric": "float64", "seconds": "float64", "ended_at": "datetime64[us, UTC]",
        "parameters": "Int64", "flops": "Int64", "micro_batch": "Int64", "reused_from": "Int64",
    },
    "epochs": dict.fromkeys(
        ("train_loss", "train_metric", "validation_loss", "validation_metric", "learning_rate", "seconds",
         "examples_per_second"), "float64",
    ),
    "updates": dict.fromkeys(
        ("baseline", "mean_reward", "best_reward", "entropy", "gradient_norm", "duplicates", "seconds"), "float64"
    ),
}  # fmt: skip


def expected_dtypes(table: str) -> dict[str, str]:
    return {name: DTYPES[table].get(name, "int64") for name in TABLES[table].arrow.names}


def dtypes(frame: pd.DataFrame) -> dict[str, str]:
    return {name: str(kind) for name, kind in frame.dtypes.items()}


def test_tables_have_the_same_types_by_either_way(finished_run: Path) -> None:
    run = load_run(finished_run)
    for name in SEARCH_TABLES:
        frame, plain = run.table(name), pd.read_parquet(finished_run / name)
        assert dtypes(frame) == dtypes(plain) == expected_dtypes(name)
        pd.testing.assert_frame_equal(frame, plain)
    assert run.results().equals(run.table("results")) and len(run.updates()) == 3
    assert len(run.samples()) == 20 and set(run.epochs().trial_id) == set(range(20))
    with pytest.raises(ValueError, match="table 'result': allowed are samples, results"):
        run.table("result")


@pytest.fixture
def begun(tmp_path: Path) -> Run:
    """A run that has drawn nothing yet."""
    create_run(tmp_path / "run", digits())
    return load_run(tmp_path / "run")


def result(trial_id: int, **values: Any) -> Row:
    """A trial that failed at once, unless told otherwise."""
    row: Row = dict.fromkeys(TABLES["results"].arrow.names)
    failed = {"status": "failed", "reward": 0.0, "seconds": 1.0, "epochs": 0, "attempts": 1, "error": "boom"}
    return row | failed | {"trial_id": trial_id, "wave": 0, "worker": "here:1", "ended_at": trial_id} | values


def test_each_trial_is_there_once_at_any_moment_with_the_same_types(
    begun: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipeline.tables.PART_ROWS", 4)
    assert dtypes(begun.results()) == expected_dtypes("results") and begun.results().empty
    tables = Tables(begun.paths)
    for trial in range(10):
        well = {"status": "ok", "parameters": 7 + trial, "flops": 2**53 + 1, "device": f"gpu:{trial}", "error": None}
        tables.append({"results": [result(trial, **well if trial % 3 == 2 else {})]})
        tables.commit()
        for frame in (begun.results(), pd.read_parquet(begun.folder / "results")):
            assert dtypes(frame) == expected_dtypes("results")
            assert frame.trial_id.tolist() == list(range(trial + 1))
            assert frame.parameters.isna().sum() == trial + 1 - (trial + 1) // 3
    assert len(list((begun.folder / "results").glob("part-*.parquet"))) == 3
    assert begun.results().flops.dropna().unique().tolist() == [2**53 + 1], "no detour by floating point"
    tables.close()


def test_parts_of_earlier_versions_go_together_with_new_ones(begun: Run) -> None:
    schema = TABLES["results"].arrow
    folder = begun.folder / "results"
    folder.mkdir()
    older = schema.with_metadata({"wavenas.table": "results", "wavenas.schema_version": "1"})
    for number, kind in enumerate((older, schema)):
        rows = [result(2 * number, parameters=3), result(2 * number + 1)]
        content = pa.BufferOutputStream()
        pq.write_table(pa.Table.from_pylist(rows, schema=kind), content)
        (folder / f"part-{number:06d}.parquet").write_bytes(seal_parquet(content.getvalue().to_pybytes()))
    assert dtypes(begun.results()) == expected_dtypes("results")
    assert begun.results().parameters.tolist() == [3, pd.NA, 3, pd.NA]
    assert len(pd.read_parquet(folder)) == 4


def test_the_best_are_those_of_the_highest_rewards(finished_run: Path) -> None:
    run = load_run(str(finished_run))
    best = run.best(n=3)
    results = run.results().set_index("trial_id")
    assert [trial.reward for trial in best] == sorted((trial.reward for trial in best), reverse=True)
    assert best[0].reward == results.reward.max() and len({trial.trial_id for trial in best}) == 3
    for trial in best:
        assert isinstance(trial.architecture, ConvArchitecture)
        assert trial.architecture == run.architecture(trial.trial_id)
        assert (trial.metric, trial.parameters) == tuple(results.loc[trial.trial_id, ["metric", "parameters"]])
    assert len(run.best(n=1000)) <= 20


def test_networks_are_built_as_their_training_begins(finished_run: Path) -> None:
    run = load_run(finished_run)
    before = torch.random.get_rng_state()
    network, best = run.build(), run.best()[0]
    assert torch.equal(torch.random.get_rng_state(), before), "no random number was taken"
    assert isinstance(network, ConvNet) and network.architecture == best.architecture
    assert sum(weight.numel() for weight in network.parameters()) == best.parameters
    torch.manual_seed(int(run.samples().seed[5]))
    drawn_alike = ConvNet(run.architecture(5), 1, 10).state_dict()
    assert all(torch.equal(drawn_alike[name], weight) for name, weight in run.build(5).state_dict().items())
    with pytest.raises(UserError, match="no trial 20; it has 0 to 19"):
        run.build(20)


def test_a_run_without_trials_has_no_best(begun: Run) -> None:
    assert begun.best() == [] and begun.control is None
    with pytest.raises(UserError, match="no trial has ended well yet"):
        begun.build()
    with pytest.raises(UserError, match="no trial 0; it has drawn none yet"):
        begun.architecture(0)


def test_a_control_is_a_run_too(begun: Run) -> None:
    create_run(begun.paths.control.folder, digits())
    assert begun.control is not None and begun.control.folder == begun.folder / "control"


def test_there_is_a_report(finished_run: Path, tmp_path: Path) -> None:
    run = load_run(shutil.copytree(finished_run, tmp_path / "run"))
    assert f"The best is trial {run.best()[0].trial_id}" in run.summary()
    assert {path.name for path in run.report()} >= {"report.html", "summary.txt", "rewards.png", "best_1.svg"}


def test_reading_tables_imports_neither_torch_nor_dask(finished_run: Path) -> None:
    code = (
        "import sys, pipeline\n"
        "assert not {'torch', 'dask', 'pandas', 'pydantic'} & set(sys.modules)\n"
        f"assert len(pipeline.load_run({str(finished_run)!r}).results()) == 20\n"
        "assert not {'torch', 'dask', 'distributed'} & set(sys.modules)\n"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert ended.returncode == 0, ended.stderr


def readme_examples() -> list[str]:
    section = README.read_text().partition("### Reading the results")[2].partition("\n### ")[0]
    return re.findall(r"^```python\n(.*?)^```$", section, re.DOTALL | re.MULTILINE)


@pytest.mark.parametrize("code", readme_examples())
def test_examples_of_the_readme_run(
    code: str, finished_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    if "duckdb" in code:
        pytest.importorskip("duckdb", reason="duckdb is not installed")
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs/digits-1").symlink_to(finished_run)
    (tmp_path / "example.py").write_text(code)
    monkeypatch.chdir(tmp_path)
    runpy.run_path("example.py")
    printed = capsys.readouterr().out
    assert len(printed.splitlines()) > 4 and "Empty" not in printed


def test_the_readme_has_examples_of_all_three() -> None:
    examples = readme_examples()
    assert len(examples) == 3
    assert all(name in "".join(examples) for name in ("load_run", "read_parquet", "duckdb.sql"))
