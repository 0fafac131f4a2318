import json
from pathlib import Path

import pandas as pd
import pytest
import torch

from bench import controller, image_children, quality, recurrent, throughput
from bench.__main__ import main
from models.cell_formula import leaf_order
from models.controller import Controller
from models.conv_architecture import ConvArchitecture
from models.conv_layers import ConvLayer
from models.conv_net import ConvNet
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
    assert written == json.loads(json.dumps(measured)) and written["minutes"] >= 0
    assert all(len(pairs) == 2 and min(map(min, pairs)) > 0 for pairs in written["cases"][0]["seconds"].values())
    rows = capsys.readouterr().out.splitlines()
    assert recurrent.table(written) in (tmp_path / "tables.md").read_text()
    assert sum("× as fast" in row for row in rows) == 4 and "torch.nn.LSTM" in "".join(rows)
    assert torch.get_num_threads() == threads


def test_an_unknown_part_is_an_error_that_lists_the_known(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["speed"])
    assert ended.value.code == 2
    assert "part 'speed': allowed are start_up, pipeline, controller" in capsys.readouterr().err


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


def test_the_plain_network_computes_what_ours_does() -> None:
    for architecture in image_children.networks().values():
        plain, ours = image_children.PlainNet(architecture).eval(), ConvNet(architecture, 3, 10).eval()
        weights = dict(zip(ours.state_dict(), ours.state_dict().values(), strict=True))
        for index in range(len(architecture.layers)):
            for kind, layer in (("convolutions", 0), ("norms", 1)):
                for name in plain.state_dict():
                    if name.startswith(f"{kind}.{index}."):
                        plain.state_dict()[name].copy_(weights[f"layers.{index}.{layer}.{name.split('.')[-1]}"])
        plain.classifier.load_state_dict(ours.classifier.state_dict())
        images = torch.randn(2, 3, 8, 8)
        with torch.no_grad():
            torch.testing.assert_close(plain(images), ours(images), rtol=1e-3, atol=1e-4)


def test_networks_are_measured_by_turns() -> None:
    small = ConvArchitecture((ConvLayer(3, 3, 4, ()), ConvLayer(1, 1, 4, (0,))))
    measured = image_children.measure({"small": small}, repeats=2, batch=2)
    assert image_children.table(measured).splitlines()[-1].startswith("| small |")
    assert [len(seconds) for seconds in measured["cases"][0]["seconds"].values()] == [2, 2]


def test_policies_find_the_best_rows_of_a_table(tmp_path: Path) -> None:
    rows = [{"layer_1": a, "layer_2": b, "accuracy": 0.3 + 0.1 * a + 0.05 * b} for a in range(4) for b in range(4)]
    pd.DataFrame(rows).to_parquet(tmp_path / "table.parquet")
    measured = quality.measure(budgets=(8, 64), seeds=2, peers=False, table_path=tmp_path / "table.parquet")
    for found in measured["found"].values():
        assert [seed[1]["best"] for seed in found] == [pytest.approx(0.75)] * 2
        assert all(0.3 <= seed[0]["last"] <= seed[0]["best"] <= seed[1]["best"] for seed in found)
    assert "| controller | 64 | 75.000 ± 0.000 |" in quality.table(measured)


@pytest.mark.slow
def test_a_search_and_a_plain_loop_train_the_same_children() -> None:
    measured = throughput.measure(workers=(2,), children=3, experiments={"digits": ""})
    assert measured["cases"][0]["equal"] and throughput.table(measured).endswith("| bit-equal |")
