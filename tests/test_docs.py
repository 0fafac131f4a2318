"""Every command that the documentation shows is one that there is; those that only look at a run are run."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import pytest
from conftest import type_in
from typer.main import get_command

from pipeline.checks import check_configuration
from pipeline.command_line import app
from pipeline.command_reference import command_reference
from pipeline.configuration import override
from pipeline.errors import UserError
from pipeline.experiments import digits, experiment_named, ptb
from pipeline.site import with_other_cluster
from pipeline.transfer_characters import for_characters
from pipeline.transfer_translation import for_translation

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
FENCE = re.compile(r"```sh\n(.*?)```", re.DOTALL)
ROW = re.compile(r"^\|.*\|$", re.MULTILINE)
TYPED = re.compile(r"`((?:make|wavenas) [^`]+)`")
# What no command of wavenas stands behind
OF_THE_SHELL = (
    "git clone … && cd wavenas", ". .venv/bin/activate", "make test", "make lint", "make test-slurm",
    "make test-browser", "make bench DATA=FOLDER", "make bench PART=scale",
)  # fmt: skip
LOOKING = ("list", "status", "top", "show", "diff", "tail", "experiments")


def commands(pages: Sequence[Path] = PAGES) -> list[str]:
    """What is typed in blocks of shell commands, and in the cells of tables; without comments."""
    lines = []
    for page in pages:
        text = page.read_text()
        found = [(block.start(), line) for block in FENCE.finditer(text) for line in block[1].splitlines()]
        rows = [(row.start(), cell) for row in ROW.finditer(text) for cell in TYPED.findall(row[0])]
        lines += [line.strip() for _, line in sorted(found + rows, key=lambda at: at[0])]
    return [line for line in dict.fromkeys(lines) if line and not line.startswith("#")]


def as_wavenas(command: str) -> list[list[str]]:
    """The arguments of `wavenas` that a command stands for, by way of make too; none for what is the shell's own."""
    if command.startswith("make "):
        dry = ["make", "--dry-run", "--no-print-directory", "VENV=/nowhere", *shlex.split(command)[1:]]
        environment = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
        ended = subprocess.run(dry, cwd=ROOT, capture_output=True, text=True, env=environment)
        assert ended.returncode == 0, f"{command}: {ended.stderr}"
        lines = ended.stdout.replace("\\\n", " ").splitlines()
        return [shlex.split(line.split(" -m pipeline ")[1]) for line in lines if " -m pipeline " in line]
    return [shlex.split(command)[1:]] if command.startswith("wavenas ") else []


def parse(arguments: list[str]) -> None:
    """Parse as the command line does, without doing anything. Raises for an unknown command or option."""
    command, rest = get_command(app), arguments
    while hasattr(command, "commands"):  # a group
        name, *rest = rest
        command = command.commands[name]
    with command.make_context(name, rest):
        pass


def check_settings(arguments: list[str]) -> None:
    """Raise for a setting that the command would refuse."""
    name, pairs = arguments[0], list(pairwise(arguments))
    settings = [value for before, value in pairs if before == "--set"]
    named = [value for before, value in pairs if before == "--experiment"] or ["digits"]
    if name == "resume":
        with_other_cluster(digits(), None, None, settings)
    elif name in ("final", "ablate"):
        section = {"final": "final.", "ablate": "ablations."}[name]
        assert all(setting.startswith((section, "cluster.")) for setting in settings)
        override(digits(), settings)
    elif name == "transfer":
        override(
            for_translation(ptb()) if arguments[1] == "translation" else for_characters(ptb(), "small", None), settings
        )
    elif "table" not in named:
        policies = [f'search.policy="{value}"' for before, value in pairs if before == "--policy"]
        configuration = override(experiment_named(*named), [*policies, *settings])
        if named == ["digits"]:  # needs no data
            check_configuration(configuration)


def test_there_are_commands_to_look_at() -> None:
    others = [command for command in commands() if not as_wavenas(command)]
    assert len(commands()) > 60 and set(others) == set(OF_THE_SHELL)


@pytest.mark.parametrize("command", commands())
def test_each_command_is_one_that_there_is(command: str) -> None:
    for arguments in as_wavenas(command):
        parse(arguments)
        check_settings(arguments)


@pytest.mark.parametrize("command", [["run"], ["transfer", "characters", "runs/x"]])
def test_an_unknown_option_is_noticed(command: list[str]) -> None:
    with pytest.raises(Exception, match="No such option: --nonsense"):
        parse([*command, "--nonsense"])


@pytest.mark.parametrize("command", ["run", "resume x", "final x", "ablate x", "compare x", "transfer translation x"])
def test_an_unknown_setting_is_noticed(command: str) -> None:
    with pytest.raises((UserError, AssertionError)):
        check_settings([*command.split(), "--set", "cluster.nonsense=3"])


@pytest.fixture(scope="module")
def workplace(finished_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the runs that the pages speak of."""
    folder = tmp_path_factory.mktemp("workplace")
    for name in ("digits-1", "mine", "seed-1", "seed-2", "cifar10"):
        shutil.copytree(finished_run, folder / "runs" / name, ignore=shutil.ignore_patterns(".lock*"))
    return folder


def test_commands_that_look_at_a_run_are_run(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(workplace)
    shown = [arguments for command in commands() for arguments in as_wavenas(command)]
    looked = [arguments for arguments in shown if arguments[0] in LOOKING]
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


def test_the_reference_of_commands_is_that_of_the_command_line() -> None:
    assert (ROOT / "docs/commands.md").read_text() == command_reference(), "write it again: make docs/commands.md"


def test_links_between_pages_lead_somewhere() -> None:
    for page in PAGES:
        for target in re.findall(r"\]\(([^)#]+)\)", page.read_text()):
            assert "://" in target or (page.parent / target).exists(), f"{page.name}: {target}"
