import io
import re
import time
from collections import Counter
from pathlib import Path

import pytest
from rich.console import Console

from pipeline.clock import Clock
from pipeline.configuration import Configuration
from pipeline.progress import Progress, SoFar, format_seconds
from tasks.settings import SearchSettings


def row(trial_id: int, status: str = "ok", reward: float = 0.5) -> dict[str, object]:
    error = None if status == "ok" else "Traceback: out of luck"
    told = {"trial_id": trial_id, "status": status, "reward": reward, "seconds": 60.0, "error": error}
    return {**told, "wave": 0, "worker": "host:1", "flops": None, "attempts": 1, "ended_at": time.time_ns() // 1000}


def update(wave: int, baseline: float = 0.1, duplicates: float = 0.0, size: int = 8) -> dict[str, object]:
    figures = {"baseline": baseline, "mean_reward": 0.5, "duplicates": duplicates, "entropy": 0.5}
    return {"wave": wave, "num_ok": size, "num_failed": 0, **figures}


def shown(terminal: bool, width: int = 80) -> str:
    stream = io.StringIO()
    console = Console(file=stream, force_terminal=terminal, width=width)
    settings = SearchSettings(samples=10, replicas=1, depth=4, depth_increment=0)
    clock = Clock(Configuration(experiment="none", search=settings), ended=[0, 1], earlier=[])
    so_far = SoFar(Counter(ok=1, timed_out=1), [0.2], update(-1, baseline=0.125))
    dashboard = "http://127.0.0.1:8787/status"
    with Progress(console, "controller", 10, so_far, clock, dashboard).watching() as progress:
        assert progress.figures() == "best 0.200, mean 0.200, baseline 0.125", "what there was before this driver"
        progress.wave_started(0, 8, 1)
        progress.child_ended(row(2, reward=0.8))
        progress.child_ended(row(3, "failed", reward=0.0))
        progress.wave_ended(update(0, baseline=0.25))
    return stream.getvalue()


def test_a_terminal_gets_live_lines_that_fit() -> None:
    output = shown(terminal=True)
    lines = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", output).replace("\r", "\n").splitlines()
    assert "\x1b[" in output and max(map(len, lines)) <= 80
    screen = "\n".join(lines[-4:])
    assert "4/10 children, wave 0, " in screen and "s left" in screen
    assert "reward: best 0.800, mean 0.500, baseline 0.250; entropy 0.5 nats" in screen
    assert "1 worker, 1 timed_out, 1 failed, dashboard http://127.0.0.1:8787/status" in screen


def test_elsewhere_a_wave_is_one_plain_line() -> None:
    lines = shown(terminal=False).strip().splitlines()
    assert len(lines) == 1 and "\x1b" not in lines[0]
    beginning = "controller, wave 0: 4 of 10 children, mean 0.5000; best 0.800, mean 0.500, baseline 0.250"
    assert lines[0].startswith(f"{beginning}, 1 timed_out, 1 failed, ") and lines[0].endswith(" left")


def test_the_longer_a_run_takes_the_fewer_lines_it_prints(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr("pipeline.progress.time.monotonic", lambda: now)
    stream = io.StringIO()
    progress = Progress(Console(file=stream, width=200), "controller", total=10**6, so_far=SoFar())
    for wave in range(3_600):
        now = float(wave)
        progress.wave_ended(update(wave))
    assert 300 < stream.getvalue().count("\n") < 700


def test_a_policy_that_draws_nothing_new_is_warned_of_once() -> None:
    stream = io.StringIO()
    progress = Progress(Console(file=stream, width=120), "controller", total=80, so_far=SoFar())
    for wave in range(10):
        share = 0.0 if wave < 2 else 1.0
        progress.wave_ended(update(wave, duplicates=share))
        assert ("has collapsed" in stream.getvalue()) == (wave >= 6)
    assert stream.getvalue().count("100% of its last 40 architectures had been drawn before") == 1


def test_a_few_duplicates_of_tiny_minibatches_are_no_collapse() -> None:
    stream = io.StringIO()
    progress = Progress(Console(file=stream, width=120), "controller", total=80, so_far=SoFar())
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
