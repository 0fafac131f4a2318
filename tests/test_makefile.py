"""What `make all-stages` runs and what it skips, with a python that only tells its arguments."""

import os
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A folder with an environment whose python writes its arguments down."""
    (tmp_path / "pyproject.toml").touch()
    (tmp_path / "venv/bin").mkdir(parents=True)
    python = tmp_path / "venv/bin/python"
    python.write_text(f'#!/bin/sh\nshift 2\necho "$@" | tee -a {tmp_path}/typed\n')
    python.chmod(0o755)
    (tmp_path / "venv/.ready").touch()
    return tmp_path


def make(place: Path, *arguments: str) -> list[str]:
    """The lines that make prints; what python was asked for is in the file `typed`."""
    command = ["make", "--no-print-directory", "-f", ROOT / "Makefile", "-C", place, "VENV=venv", *arguments]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
    ended = subprocess.run(command, capture_output=True, text=True, env=environment, check=True)
    return ended.stdout.splitlines()


def test_a_dry_run_executes_nothing(place: Path) -> None:
    lines = make(place, "-n", "all-stages", "EXPERIMENT=ptb_small", "PAIRS=pairs", "SEEDS=2", "ARGS=--seed 3")
    assert [line.split("-m pipeline ")[1].split()[0] for line in lines] == [
        "run", "final", "ablate", "compare", "transfer", "transfer", "export", "report",
    ]  # fmt: skip
    assert not (place / "typed").exists() and not (place / "runs").exists()


def test_all_stages_of_digits(place: Path) -> None:
    assert make(place, "all-stages", "ARGS=--seed 3 --policy random", "CLUSTER=cuda") == [
        "run --experiment digits --run runs/digits-all --cluster cuda --seed 3 --policy random",
        "final runs/digits-all --cluster cuda",
        "ablate runs/digits-all --cluster cuda",
        "compare runs/digits-all/compared --like runs/digits-all --seeds 3 --cluster cuda",
        "transfer characters: skipped; it is for cells found on text",
        "transfer translation: skipped; it is for cells found on text",
        "export runs/digits-all --final --to runs/digits-all/exported",
        "report runs/digits-all",
    ]


def test_what_ended_is_not_run_again(place: Path) -> None:
    for name in ("config.json", "exported/README.md"):
        (place / "runs/mine" / name).parent.mkdir(parents=True, exist_ok=True)
        (place / "runs/mine" / name).touch()
    lines = make(place, "all-stages", "RUN=mine", "EXPERIMENT=cifar10", "DATA=data")
    assert lines[0] == "resume runs/mine" and "export: skipped; runs/mine/exported is there" in lines
    assert "compare: skipped; it takes three searches a seed and is asked for by SEEDS=5" in lines


@pytest.mark.parametrize(("experiment", "size"), [("ptb", ""), ("ptb_small", "--set language.parameters=300000")])
def test_cells_are_transferred(place: Path, experiment: str, size: str) -> None:
    lines = make(place, "all-stages", f"EXPERIMENT={experiment}", "DATA=data")
    (characters,) = [line for line in lines if line.startswith("transfer characters ")]
    assert size in characters and ("--set" in characters) == bool(size)
    assert "transfer translation: skipped; it needs PAIRS=FOLDER" in lines
    lines = make(place, "all-stages", f"EXPERIMENT={experiment}", "DATA=data", "PAIRS=pairs")
    assert any(line.startswith(f"transfer translation runs/{experiment}-all --data pairs") for line in lines)


@pytest.mark.parametrize("arguments", ["EXPERIMENT=table", "ARGS=--space mine:space --task mine:task"])
def test_networks_of_others_are_not_trained_on(place: Path, arguments: str) -> None:
    lines = make(place, "all-stages", arguments)
    assert [line.partition(":")[0] for line in lines if "skipped" in line][:1] == ["final"]
    assert "export: skipped; it is for networks of our own" in lines
