import io
from pathlib import Path

import pytest
from conftest import type_in
from rich.console import Console

from pipeline.progress import Progress, format_seconds


def row(trial_id: int, status: str = "ok", reward: float = 0.5) -> dict[str, object]:
    error = None if status == "ok" else "Traceback: out of luck"
    return {"trial_id": trial_id, "status": status, "reward": reward, "seconds": 1.0, "error": error}


def update(wave: int, baseline: float = 0.1, duplicates: float = 0.0, size: int = 8) -> dict[str, object]:
    figures = {"baseline": baseline, "mean_reward": 0.5, "duplicates": duplicates, "entropy": 0.5}
    return {"wave": wave, "num_ok": size, "num_failed": 0, **figures}


def shown(terminal: bool) -> str:
    stream = io.StringIO()
    console = Console(file=stream, force_terminal=terminal, width=120)
    with Progress(console, "controller", total=10, rewards=[0.2], done=2).watching() as progress:
        progress.wave_started(0, 8, 1)
        progress.child_ended(row(2, reward=0.8))
        progress.child_ended(row(3, "failed", reward=0.0))
        progress.wave_ended(update(0, baseline=0.25))
    return stream.getvalue()


def test_a_terminal_gets_a_live_line() -> None:
    output = shown(terminal=True)
    assert "4/10" in output and "best 0.800, mean 0.500, baseline 0.250, 1 failed" in output and "\x1b[" in output


def test_elsewhere_a_wave_is_one_plain_line() -> None:
    lines = shown(terminal=False).strip().splitlines()
    assert len(lines) == 1 and "\x1b" not in lines[0]
    assert lines[0].startswith(
        "controller, wave 0: 4 of 10 children, mean 0.5000; best 0.800, mean 0.500, baseline 0.250"
    )


def test_a_policy_that_draws_nothing_new_is_warned_of_once() -> None:
    stream = io.StringIO()
    progress = Progress(Console(file=stream, width=120), "controller", total=80, rewards=[], done=0)
    for wave in range(10):
        share = 0.0 if wave < 2 else 1.0
        progress.wave_ended(update(wave, duplicates=share))
        assert ("has collapsed" in stream.getvalue()) == (wave >= 6)
    assert stream.getvalue().count("100% of its last 40 architectures had been drawn before") == 1


def test_a_few_duplicates_of_tiny_minibatches_are_no_collapse() -> None:
    stream = io.StringIO()
    progress = Progress(Console(file=stream, width=120), "controller", total=80, rewards=[], done=0)
    for wave in range(60):
        progress.wave_ended(update(wave, duplicates=1.0 if wave >= 10 else 0.0, size=1))
        assert ("has collapsed" in stream.getvalue()) == (wave >= 45)


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.4, "0s"), (59, "59s"), (61, "1m01s"), (7_260, "2h01m"), (6 * 86_400 + 4 * 3_600, "6d04h")]
)
def test_durations_are_for_people(seconds: float, text: str) -> None:
    assert format_seconds(seconds) == text


def test_the_log_has_each_child_and_each_wave(finished_run: Path) -> None:
    log = (finished_run / "run.log").read_text()
    assert log.count(" INFO trial ") == 20 and log.count("controller, wave ") == 3
    assert log.splitlines()[-1].endswith("INFO finished")


def test_status_tells_how_far_a_run_is(finished_run: Path) -> None:
    output = type_in("status", finished_run)
    assert "controller: 20 of 20 children in 3 waves, 0 failed" in output
    assert "best: trial" in output and "Finished" in output
