import json
import sys
from pathlib import Path

import pandas as pd
import pytest
import torch

from bench import (
    controller,
    image_children,
    peer_environment,
    pipeline,
    quality,
    recurrent,
    scale,
    start_up,
    throughput,
)
from bench.__main__ import main
from bench.plain_network import PlainNet
from bench.summary import table
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
    assert sum("× as fast" in row for row in rows) == 4 * len(written["cases"]) and "torch.nn.LSTM" in "".join(rows)
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
    draw, step, both = measured["summary"]
    assert draw["max"] + step["max"] >= both["max"] > 0 and both["ratio"] > 0 and both["goal"] is None
    large = {**measured["cases"][0], "depth": 15, "wave": 800}
    both, share = controller.summary(measured | {"cases": [large]})[2:]
    assert both["goal"] == "at least 20×"
    assert share["median"] == pytest.approx(100 * both["median"] / 1e3 / 800 / measured["child"]["seconds"][0], rel=9)
    assert share["goal"] == "at most 1 %"


def test_the_plain_network_computes_what_ours_does() -> None:
    for name, network in image_children.networks().items():
        torch.manual_seed(7)
        plain = PlainNet(network.architecture, 3, 10).eval()
        torch.manual_seed(7)
        ours = ConvNet(network.architecture, 3, 10).eval()
        images = torch.randn(2, 3, 8, 8)
        with torch.no_grad():
            torch.testing.assert_close(plain(images), ours(images), rtol=1e-3, atol=1e-4, msg=name)


@pytest.mark.slow
def test_networks_are_measured_by_turns_and_trained(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WAVENAS_DATA", raising=False)
    small = ConvArchitecture((ConvLayer(3, 3, 4, ()), ConvLayer(1, 1, 4, (0,)), ConvLayer(1, 1, 4, (0, 1))))
    measured = image_children.measure(
        {"small": image_children.Network(small, batch=2, pixels=8)}, 2, least_seconds=0.0, seeds=1
    )
    (case,) = measured["cases"]
    assert [len(seconds) for seconds in case["seconds"].values()] == [2, 2]
    assert all(0 < share < 1 for share in case["concatenation_shares"])
    assert measured["training"]["dataset"] == "digits"
    assert all(accuracy > 0.3 for kind in measured["training"]["accuracies"].values() for accuracy in kind)
    assert len(measured["training"]["data_shares"]) == 3
    rows = {row["what"].rpartition(": ")[2]: row for row in measured["summary"]}
    assert (rows[f"ours in {measured['precision']}"]["met"] is None) == (measured["precision"] == "float32")
    assert rows["share of loading, shuffling and augmentation in an epoch"]["goal"] == "at most 5 %"


@pytest.mark.slow
def test_policies_find_the_best_rows_of_a_table(tmp_path: Path) -> None:
    rows = [{"layer_1": a, "layer_2": b, "accuracy": 0.3 + 0.1 * a + 0.05 * b} for a in range(4) for b in range(4)]
    pd.DataFrame(rows).to_parquet(tmp_path / "table.parquet")
    measured = quality.measure(budgets=(8, 64), seeds=2, tpe=(), table_path=tmp_path / "table.parquet")
    for found in measured["found"].values():
        assert [seed["best"] for seed in found["64"]] == [pytest.approx(0.75)] * 2
        for few, many in zip(found["8"], found["64"], strict=True):
            assert 0.3 <= few["all"] == few["last"] <= few["best"] <= many["best"]
    assert "| controller, rate 0.005 | 64 | 2 | 75.000 ± 0.000 |" in quality.table(measured)
    assert "controller, rate 0.0006: best of 64 samples" in {row["what"] for row in measured["summary"]}


def test_tpe_may_have_fewer_seeds_or_be_absent(monkeypatch: pytest.MonkeyPatch) -> None:
    answers = {8: {"version": "5", "rewards": [[0.5] * 8] * 3}, 16: {"version": "5", "rewards": [[0.5] * 15 + [0.7]]}}
    monkeypatch.setattr(quality, "_tpe", lambda path, samples, seeds: answers[samples])
    by_chance = {budget: [{"best": 0.6, "last": 0.5, "all": 0.5}] for budget in ("8", "16")}
    measured = {"budgets": [8, 16], "found": {"random": by_chance}}
    quality.add_tpe(measured, Path("table.parquet"), ((8, 3), (16, 1)))
    assert [len(seeds) for seeds in measured["found"]["Optuna 5, TPE"].values()] == [3, 1]
    assert "| Optuna 5, TPE | 16 | 1 | 70.000 ± 0.000 |" in quality.table(measured)
    assert quality.summary(measured)[-1]["what"] == "Optuna 5, TPE: best of 16 samples"
    monkeypatch.setattr(quality, "_tpe", lambda path, samples, seeds: {"absent": "no network"})
    quality.add_tpe(measured, Path("table.parquet"), ((8, 3),))
    assert quality.summary(measured)[-1] == {"what": "Optuna's TPE", "absent": "no network"}


def test_parts_that_need_data_say_so_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WAVENAS_DATA", raising=False)
    for measured in (quality.measure(), throughput.measure()):
        for row in measured["summary"]:
            assert "WAVENAS_DATA is not set" in row["absent"]
    assert [row["what"] for row in throughput.measure()["summary"]] == ["cifar10_small", "ptb_small"]


@pytest.mark.slow
def test_the_pipeline_is_measured_along_a_run() -> None:
    measured = pipeline.measure(waves=((2, 6),), marks=(2, 4, 8), long_wave=2, repeats=1, peers=False)
    assert [len(seconds) for seconds in measured["decades"]] == [1, 2] and min(map(min, measured["decades"])) > 0
    assert all(min(seconds) > 0 for seconds in measured["commits"]["seconds"])
    assert min(*measured["cases"][2]["ours"], *measured["cases"][2]["bare"]) > 0


def test_the_pipeline_is_held_against_its_goals() -> None:
    measured = {
        "cases": {8: {"ours": [0.010, 0.012], "bare": [0.010]}, 800: {"ours": [0.004], "bare": [0.002]}},
        "marks": [80, 800, 3_200], "long_wave": 80, "decades": [[0.004, 0.003, 0.004], [0.004, 0.005]],
        "commits": {"children": [800, 12_800], "wave": 800, "seconds": [[0.2], [0.21]]},
        "peers": {
            "Optuna, SQLite": {"version": "5", "seconds": 1.0, "trials": 100},
            "Ray Tune": {"version": "2", "seconds": 2.2, "trials": 2},
            "Optuna, journal": {"absent": "no network"},
        },
    }  # fmt: skip
    rows = {row["what"]: row for row in pipeline.summary(measured)}
    met = {what: row["met"] for what, row in rows.items() if row.get("met") is not None}
    assert met == {
        "ours in waves of 8, a child": True,
        "ours in waves of 800, a child": False,
        "children 801 to 3,200 in waves of 80, each": False,
        "writing and committing a wave of 800 after 12,800": True,
        "Optuna, SQLite 5, a trial": False,
        "Ray Tune 2, a trial": True,
    }
    assert rows["Ray Tune 2, a trial"]["peer"] == "our time in waves of 8"
    assert "| Optuna, journal | absent: no network |" in table(list(rows.values()))


def test_start_up_is_held_against_its_goals() -> None:
    searches = [
        {"first_child_seconds": seconds, "driver_mib": 300.0, "worker_mib": 800.0} for seconds in (7.0, 9.0, 7.5)
    ]
    by_help, first, driver, worker = start_up.summary([0.4, 0.6, 0.55], searches, with_make=True)
    assert (by_help["met"], first["met"]) == (False, True) and "`make run`" in first["what"]
    assert (driver["median"], worker["median"]) == (300.0, 800.0)
    assert "without make" in start_up.summary([0.4], searches, with_make=False)[1]["what"]


def test_a_small_scale_is_searched() -> None:
    run = scale.run_search(4, 16, "async", 0.05)
    assert 0 < run["share"] <= 1 and len(run["driver_mib"]) == 10 and min(run["driver_mib"]) > 50
    rows = {row["what"].rpartition(": ")[2]: row for row in scale.summary([run])}
    assert rows["its growth over the second half of the children"]["goal"] is None
    assert rows["share of the workers' time spent on children"]["goal"] == "at least 95 %"
    long = run | {"samples": 40, "driver_mib": [50.0, 60.0, 70.0, 80.0, 100.0, 150.0, 150.0, 150.0, 150.0, 111.0]}
    (growth,) = [row for row in scale.summary([long]) if "growth" in row["what"]]
    assert growth["median"] == pytest.approx(11) and growth["met"] is False


@pytest.mark.slow
def test_workers_that_a_machine_does_not_bear_are_absent() -> None:
    measured = scale.in_a_process(0, 16, "async", 0.05)  # a wave of none is refused
    assert measured["workers"] == 0 and "absent" in measured
    (row,) = scale.summary([measured])
    assert row["what"] == "async, 0 workers" and row["absent"]


def test_a_peer_that_cannot_be_had_is_absent(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(peer_environment, "ENVIRONMENT", Path(sys.prefix))
    monkeypatch.setitem(peer_environment.PACKAGES, "optuna", f"{tmp_path}/no-such-package")
    told = peer_environment.run_peer("optuna", "optuna_nothing.py")["absent"]
    assert told.startswith(f"{tmp_path}/no-such-package cannot be installed: ")


@pytest.mark.parametrize(
    ("script", "longest", "expected"),
    [
        ("raise SystemExit('no disk')", 60, {"absent": "peer.py failed: no disk"}),
        ("import time; time.sleep(60)", 0.5, {"absent": "peer.py was not done after 0.5 seconds"}),
        ("import sys; sys.exit(3)", 60, {"absent": "peer.py failed: exit status 3"}),
        ("import sys; print('warning'); print('{\"seconds\": %s}' % sys.argv[1])", 60, {"seconds": 7}),
    ],
)
def test_what_a_peers_script_says_is_taken_in(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, script: str, longest: float, expected: dict[str, object]
) -> None:
    (tmp_path / "peer.py").write_text(script)
    monkeypatch.setattr(peer_environment, "install", lambda package: None)
    monkeypatch.setattr(peer_environment, "ENVIRONMENT", Path(sys.prefix))
    monkeypatch.setattr(peer_environment, "SCRIPTS", tmp_path)
    monkeypatch.setattr(peer_environment, "LONGEST", longest)
    assert peer_environment.run_peer("optuna", "peer.py", 7) == expected
