"""Every command that the documentation shows is one that there is; those that only look at a run are run."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest
from conftest import type_in
from typer.main import get_command

from pipeline.command_line import app
from pipeline.configuration import override
from pipeline.experiments import experiment_named

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
LOOKING = ("list", "status", "top", "show", "diff", "tail", "experiments")


def commands() -> list[str]:
    """The lines of all blocks of shell commands, without comments."""
    lines = []
    for page in PAGES:
        for block in re.findall(r"```sh\n(.*?)```", page.read_text(), re.DOTALL):
            lines += [line.strip() for line in block.splitlines() if line.strip() and not line.startswith("#")]
    return list(dict.fromkeys(lines))


def as_wavenas(command: str) -> list[str] | None:
    """The arguments of `wavenas` that a command stands for, by way of make too; None for what is the shell's own."""
    if command.startswith("make "):
        dry = ["make", "--dry-run", "--no-print-directory", "VENV=/nowhere", *shlex.split(command)[1:]]
        environment = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
        ended = subprocess.run(dry, cwd=ROOT, capture_output=True, text=True, env=environment)
        assert ended.returncode == 0, f"{command}: {ended.stderr}"
        lines = ended.stdout.replace("\\\n", " ").splitlines()
        (line,) = [line for line in lines if " -m pipeline " in line] or [""]
        return shlex.split(line.split(" -m pipeline ")[1]) if line else None
    return shlex.split(command)[1:] if command.startswith("wavenas ") else None


def parse(arguments: list[str]) -> None:
    """Parse as the command line does, without doing anything. Raises for an unknown command or option."""
    name, *rest = arguments
    with get_command(app).commands[name].make_context(name, rest):  # type: ignore[attr-defined]
        pass


def test_there_are_commands_to_look_at() -> None:
    assert len(commands()) > 25 and sum(as_wavenas(command) is None for command in commands()) <= 2


@pytest.mark.parametrize("command", commands())
def test_each_command_is_one_that_there_is(command: str) -> None:
    arguments = as_wavenas(command)
    if arguments is not None:
        parse(arguments)
        settings = [value for before, value in pairwise(arguments) if before == "--set"]
        if arguments[0] == "run" and "table" not in arguments:
            named = [value for before, value in pairwise(arguments) if before == "--experiment"]
            override(experiment_named(*named or ["digits"]), settings)


def test_an_unknown_option_is_noticed() -> None:
    with pytest.raises(Exception, match="No such option: --nonsense"):
        parse(["run", "--nonsense"])


@pytest.fixture(scope="module")
def workplace(finished_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the runs that the pages speak of."""
    folder = tmp_path_factory.mktemp("workplace")
    for name in ("digits-1", "mine", "seed-1", "seed-2", "cifar10"):
        shutil.copytree(finished_run, folder / "runs" / name, ignore=shutil.ignore_patterns(".lock*"))
    return folder


def test_commands_that_look_at_a_run_are_run(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(workplace)
    looked = [shlex.split(command)[1:] for command in commands() if command.split()[:2][-1] in LOOKING]
    for arguments in looked:
        assert type_in(*arguments), arguments
    assert {arguments[0] for arguments in looked} == set(LOOKING)


def test_the_notebook_reads_a_run(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(workplace)
    monkeypatch.setenv("MPLBACKEND", "Agg")
    cells = json.loads((ROOT / "docs/reading-results.ipynb").read_text())["cells"]
    codes = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
    assert len(codes) >= 5 and all(cell["outputs"] for cell in cells if cell["cell_type"] == "code")
    (workplace / "cells.py").write_text("\n\n".join(codes))
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    ended = subprocess.run([sys.executable, "cells.py"], capture_output=True, text=True, env=environment)
    assert ended.returncode == 0, ended.stderr


def test_links_between_pages_lead_somewhere() -> None:
    for page in PAGES:
        for target in re.findall(r"\]\(([^)#]+)\)", page.read_text()):
            assert "://" in target or (page.parent / target).exists(), f"{page.name}: {target}"
