import json
from pathlib import Path

import pytest
import torch

from bench import controller, recurrent
from bench.__main__ import main
from models.cell_formula import leaf_order
from models.controller import Controller
from models.presets import nascell
from models.recurrent import build_cell
from models.space import SearchSpace


def test_the_plain_cell_computes_what_ours_does() -> None:
    torch.manual_seed(0)
    plain, ours, inputs = recurrent.PlainCell(nascell(), 6), build_cell(nascell(), 6, 6), torch.randn(5, 3, 6)
    with torch.no_grad():
        for weights, linears in zip(ours.parameters(), (plain.from_input, plain.from_hidden), strict=True):
            weights.copy_(torch.stack([linears[leaf].weight for leaf in leaf_order(nascell())]))
    torch.testing.assert_close(plain(inputs), ours(inputs)[0])


def test_a_measurement_is_printed_and_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    measured = recurrent.measure(units=(8,), threads=(1,), repeats=2, batch=2)
    monkeypatch.setattr(recurrent, "measure", lambda: measured)
    threads = torch.get_num_threads()
    assert main(["recurrent", "--output", str(tmp_path)]) == 0
    written = json.loads((tmp_path / "recurrent.json").read_text())
    assert written == json.loads(json.dumps(measured))
    assert all(len(pairs) == 2 and min(map(min, pairs)) > 0 for pairs in written["cases"][0]["seconds"].values())
    rows = capsys.readouterr().out.splitlines()
    assert sum("× as fast" in row for row in rows) == 4 and "torch.nn.LSTM" in "".join(rows)
    assert torch.get_num_threads() == threads


def test_an_unknown_part_is_an_error_that_lists_the_known(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["speed"])
    assert ended.value.code == 2
    assert "part 'speed': allowed are pipeline, controller" in capsys.readouterr().err


def test_the_plain_controller_computes_what_ours_does() -> None:
    ours, space = Controller(seed=3), SearchSpace("models.conv_space:conv_space", {})
    paths = space.paths(5, 3)
    expected = ours.rollout(paths, generator=torch.Generator().manual_seed(0)).log_probs
    for path, log_prob in zip(paths, expected, strict=True):
        replayed = controller.take_one(ours, space.paths(5, 1)[0], path.tokens, torch.Generator())
        torch.testing.assert_close(replayed, log_prob)


def test_waves_are_measured_against_one_at_a_time() -> None:
    measured = controller.measure(waves=(8,), depths=(2,), repeats=2)
    assert controller.table(measured).splitlines()[-1].endswith("as fast |")
    assert len(measured["cases"][0]["seconds"]) == 2
