"""Spaces and tasks of users' own, by the examples of the documentation."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from conftest import IN_THIS_PROCESS, type_in, wavenas

from pipeline.report import remake_report
from pipeline.run_paths import RunPaths

EXAMPLES = Path(__file__).parents[2] / "docs" / "examples"


@pytest.fixture(scope="module")
def searched(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A run of the space and the task of the examples, as their text says, and what it printed."""
    folder = tmp_path_factory.mktemp("own") / "run"
    text = (EXAMPLES / "bottleneck_space.py").read_text()
    command = next(line.strip() for line in text.splitlines() if "python -m pipeline" in line)
    arguments = command.removeprefix("python -m pipeline ").split()
    extra = ["--run", folder, "--set", "search.control=none"]
    ended = subprocess.run(wavenas(*arguments, *extra), cwd=EXAMPLES, capture_output=True, text=True, timeout=120)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return folder, ended.stdout


def test_the_examples_search_as_their_text_says(searched: tuple[Path, str]) -> None:
    folder, printed = searched
    results = pd.read_parquet(folder / "results")
    samples = pd.read_parquet(folder / "samples")
    assert len(results) == 16 and (results.status == "ok").all(), results.error.dropna().tolist()
    assert results.metric.max() > 0.5 and results.parameters.isna().all()
    assert samples.tokens.map(len).nunique() > 1
    assert '"activation": ' in printed and "metric 0." in printed


@pytest.mark.parametrize("trusted", [True, False])
def test_a_report_that_is_made_again_has_an_own_space_in_it_where_that_is_trusted(
    trusted: bool, searched: tuple[Path, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = Path(shutil.copytree(searched[0], tmp_path / "run"))
    monkeypatch.chdir(EXAMPLES)
    if not trusted:
        monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "of-another"))
    before = (folder / "report" / "report.html").read_text()
    remake_report(RunPaths(folder))
    after = (folder / "report" / "report.html").read_text()
    assert "What the policy has come to prefer" in before
    assert ("What the policy has come to prefer" in after, "space bottleneck_space" in after) == (trusted, trusted)


def test_the_examples_are_short() -> None:
    for path in EXAMPLES.glob("*.py"):
        assert len(path.read_text().splitlines()) < 40, path


def test_a_space_that_is_no_generator_function_is_not_called(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(Path(__file__).parent)
    output = type_in("run", "--space", "broken_spaces:no_generator", "--run", tmp_path / "run", expected=2)
    assert "'broken_spaces:no_generator' is not a generator function" in output


def test_options_of_the_experiments_own_space_are_not_given_to_another(tmp_path: Path) -> None:
    output = type_in("run", "--space", "models.conv_space:nothing", "--run", tmp_path / "run", expected=2)
    assert "'models.conv_space:nothing': module models.conv_space has no 'nothing'" in output


@pytest.mark.parametrize(
    ("function", "message"),
    [
        ("miscounting", "ValueError: Anchor(2) after 0 anchor points"),
        ("crashing", "ZeroDivisionError: division by zero"),
        ("unwritable", "TypeError: Object of type set is not JSON serializable"),
        ("hashed", "TypeError: Object of type Unwritable is not JSON serializable"),
        ("two_sizes", "ValueError: choice 'width' has 3 values here and 2 elsewhere"),
    ],
)
def test_a_space_that_cannot_be_walked_is_an_error_before_anything_starts(
    function: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(Path(__file__).parent)
    output = type_in("run", "--space", f"broken_spaces:{function}", "--run", tmp_path / "run", expected=2)
    assert f"space broken_spaces:{function}: {message}" in output
    assert not (tmp_path / "run").exists()


def test_any_dataclass_is_an_architecture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(Path(__file__).parent)
    own = ["--space", "broken_spaces:slotted", "--task", "broken_spaces:negative", "--run", tmp_path / "run"]
    few = [f"--set={setting}" for setting in (*IN_THIS_PROCESS, "search.samples=8", "search.control=none")]
    output = type_in("run", *own, *few)
    assert '"width": ' in output and output.count("A reward is below 0") == 1
    assert re.search(r"best -0\.\d+, mean -0\.", output), "no reward was 0"


@pytest.mark.parametrize("name", ["models.py", "tasks/"])
def test_a_module_of_ones_own_with_the_name_of_one_of_ours(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is in the way of what lies beside it, and of nothing else."""
    place = tmp_path / name
    place.mkdir() if name.endswith("/") else place.write_text("raise AssertionError")
    (tmp_path / "own.py").write_text("raise AssertionError")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    output = type_in("run", "--space", "own:space", "--run", tmp_path / "run", expected=2)
    assert f"{place}: has the name of a package of WaveNAS, so that own:space is not looked for" in output
    few = ["--set", "search.samples=2", "--set", "cluster.workers=1", "--set", "search.control=none"]
    tiny = ["--set", "child.epochs=1", "--set", "data.num_train=200", "--set", "search.children_per_replica=2"]
    command = [str(Path(sys.executable).with_name("wavenas")), "run", "--run", "run", *few, *tiny]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert ended.returncode == 0, ended.stdout + ended.stderr


@pytest.mark.parametrize("value", ["conv_space", "a:", ":b", "os:sep"])
def test_names_that_are_not_functions_are_errors(value: str, tmp_path: Path) -> None:
    assert repr(value) in type_in("run", "--space", value, "--run", tmp_path / "run", expected=2)
