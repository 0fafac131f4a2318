"""The project's own rules: who imports whom, and that both environments pin the same versions."""

import ast
import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
OURS = {"models", "tasks", "pipeline", "cluster", "bench"}
MAY_IMPORT = {
    "models": set(),
    "cluster": set(),
    "tasks": {"models"},
    "pipeline": {"models", "tasks", "cluster"},
    "bench": {"models", "tasks", "pipeline", "cluster"},
}
DASK = {"dask", "distributed", "dask_cuda", "dask_jobqueue"}
FRAMES = {"pandas", "pyarrow"}


def imported(package: str) -> dict[str, set[str]]:
    """Top-level packages that each file of a package imports, anywhere in it."""
    found = {}
    for path in (ROOT / package).glob("**/*.py"):
        nodes = list(ast.walk(ast.parse(path.read_text())))
        names = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
        names |= {node.module for node in nodes if isinstance(node, ast.ImportFrom) and node.module}
        found[str(path)] = {name.partition(".")[0] for name in names}
    return found


@pytest.mark.parametrize("package", sorted(OURS))
def test_imports_go_one_way(package: str) -> None:
    for path, names in imported(package).items():
        assert names & OURS <= MAY_IMPORT[package] | {package}, path
        assert package in ("pipeline", "cluster", "bench") or not names & DASK, path
        assert package in ("pipeline", "bench") or not names & FRAMES, path


def test_models_need_torch_alone() -> None:
    import sys

    for path, names in imported("models").items():
        assert names - sys.stdlib_module_names <= {"torch", "models"}, path


def test_nothing_evaluates_or_unpickles() -> None:
    for package in OURS:
        for path in (ROOT / package).glob("**/*.py"):
            calls = [node.func for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)]
            names = {ast.unparse(function) for function in calls}
            assert not names & {"eval", "exec", "pickle.load", "pickle.loads"}, path
            assert "torch.load" not in names or "weights_only=True" in path.read_text(), path


def test_nothing_outside_cluster_asks_for_its_kind() -> None:
    for package in OURS - {"cluster"}:
        for path in (ROOT / package).glob("**/*.py"):
            read = {
                ast.unparse(node) for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Attribute)
            }
            assert not [name for name in read if name.endswith("cluster.kind")], path


def test_both_environments_pin_the_same_versions() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    requirements = [*project["dependencies"], *project["optional-dependencies"]["dev"]]
    pip = dict(re.match(r"([\w-]+)([=<>].*?)(?:;.*)?$", requirement).groups() for requirement in requirements)  # type: ignore[union-attr]
    lines = re.findall(r"^  - ([\w-]+) ([=<>]\S+)$", (ROOT / "environment.yml").read_text(), re.MULTILINE)
    conda = {{"pytorch": "torch", "python-duckdb": "duckdb"}.get(name, name): version for name, version in lines}
    assert conda.pop("python") == project["requires-python"]
    assert conda == {name: version.strip() for name, version in pip.items()}


def test_every_dependency_is_justified() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    architecture = (ROOT / "ARCHITECTURE.md").read_text()
    for requirement in [*project["dependencies"], *project["optional-dependencies"]["dev"]]:
        name = re.match(r"[\w-]+", requirement)[0]  # type: ignore[index]
        assert re.search(rf"^\| {name}[ ,|]|^\| .*\b{name}\b.*\|", architecture, re.MULTILINE), name


def test_files_and_functions_stay_short() -> None:
    for package in OURS:
        for path in (ROOT / package).glob("**/*.py"):
            assert len(path.read_text().splitlines()) <= 250, path
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.FunctionDef):
                    assert node.end_lineno - node.lineno < 50, f"{path}: {node.name}"  # type: ignore[operator]
