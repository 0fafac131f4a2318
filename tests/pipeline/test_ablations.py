"""Control experiments on the network found."""

import json
import shutil
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from conftest import search_table, type_in, write_table

from models.architecture import architecture_hash
from models.conv_architecture import ConvArchitecture
from models.space import Anchor, SearchSpace
from pipeline.ablation_summary import ablation_text
from pipeline.ablations import rewired_already, variants_of
from pipeline.configuration import Configuration, override
from pipeline.experiments import cifar10, digits, ptb
from pipeline.perturbations import perturbations
from pipeline.run_folder import open_run
from pipeline.summary import summarise
from tasks.records import PolicyState, SampleRequest
from tasks.waves import sample_wave

SKIPPING = (1, 1, 0, 2, 2, 2, 0, 3, 2, 2, 1, 2, 2, 2, 3, 2)  # 4 layers of `digits`; layer 2 reads the image


def found(configuration: Configuration, depth: int, tokens: tuple[int, ...]) -> dict[str, Any]:
    """A row of results joined with samples."""
    architecture = SearchSpace(configuration.space.function, configuration.space.options).decode(depth, tokens)
    return {"trial_id": 7, "depth": depth, "tokens": tokens, "architecture_hash": architecture_hash(architecture)}


@pytest.mark.parametrize(("configuration", "depth"), [(cifar10(), 15), (digits(), 4), (ptb(), 1)])
def test_each_decision_with_an_alternative_is_changed_once(configuration: Configuration, depth: int) -> None:
    request = SampleRequest(
        state=PolicyState("random", 0), controller=configuration.controller, space=configuration.space,
        depth=depth, count=1, seed=3,
    )  # fmt: skip
    (sample,) = sample_wave(request)
    best = {"depth": depth, "tokens": sample.tokens, "architecture_hash": sample.architecture_hash}
    changed = perturbations(configuration, best)
    without = {2} if depth > 1 else set()  # the anchor point of the first layer, which reads the image alone
    assert {change.position for change in changed} == set(range(len(sample.tokens))) - without
    space = SearchSpace(configuration.space.function, configuration.space.options)
    for change in changed:
        differ = [place for place, token in enumerate(sample.tokens) if change.tokens[place] != token]
        assert differ == [change.position]
        path = space.paths(depth, 1)[0]
        for token in sample.tokens[: change.position]:
            path.take(token)
        assert path.decision is not None and path.decision.name == change.decision
        before, after = (path.decision.decode(tokens[change.position]) for tokens in (sample.tokens, change.tokens))
        assert [json.loads(change.before), json.loads(change.after)] == json.loads(json.dumps([before, after]))
        if isinstance(path.decision, Anchor):
            assert len({*before} ^ {*after}) == 1
    hashes = [found(configuration, depth, change.tokens)["architecture_hash"] for change in changed]
    assert len({*hashes, sample.architecture_hash}) == len(changed) + 1
    assert changed == perturbations(configuration, best), "the same whenever the command is typed"
    fewer, few = (perturbations(override(configuration, [f"ablations.perturbations={n}"]), best) for n in (9, 4))
    assert len(fewer) == 9 and len(few) == 4 and {*few} <= {*fewer} <= {*changed}, (
        "what was trained is not trained anew"
    )


def test_a_decision_whose_alternatives_make_no_other_network_is_left_out(table: Path, tmp_path: Path) -> None:
    search_table(table, tmp_path / "run", "--policy", "random")
    paths, configuration = open_run(tmp_path / "run")
    best = summarise(paths).ranked[0]
    assert [change.decision for change in perturbations(configuration, best)] == ["width", "kind", "skip"]
    everything = {
        found(configuration, 1, (width, kind, skip))["architecture_hash"]
        for width in range(4) for kind in range(3) for skip in range(2)
    }  # fmt: skip
    assert perturbations(configuration, best, everything) == []
    (change,) = perturbations(
        configuration, best, everything - {found(configuration, 1, (3, 2, 0))["architecture_hash"]}
    )
    assert (change.decision, change.position, change.before, change.after) == ("skip", 2, "true", "false")


def test_a_network_is_rewired_unless_it_is_wired_so() -> None:
    kinds = [variant.kind for variant in variants_of(digits(), found(digits(), 4, SKIPPING))]
    assert kinds == ["found", "dense", "no_skips", *["perturbed"] * 15]
    dense = (1, 1, 0, 2, 2, 2, 1, 3, 2, 2, 3, 2, 2, 2, 7, 2)
    assert rewired_already(digits(), found(digits(), 4, dense)) == ["dense"]
    assert [variant.kind for variant in variants_of(digits(), found(digits(), 4, dense))][:2] == ["found", "no_skips"]
    cell = found(ptb(), 1, (0,) * 34)
    assert {variant.kind for variant in variants_of(ptb(), cell)} == {"found", "perturbed"}
    assert rewired_already(ptb(), cell) == []


@pytest.fixture(scope="module")
def run(small_run: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A search of digits after its control experiments."""
    folder = tmp_path_factory.mktemp("runs") / "run"
    shutil.copytree(small_run, folder)
    return folder, ablate(folder)


def ablate(folder: Path, *more: str) -> str:
    here = ["--set", "cluster.workers=1", "--set", "cluster.processes=false"]
    return type_in("ablate", folder, "--perturbations", "2", "--seeds", "2", *here, *more)


def test_each_variant_is_trained_from_the_same_seeds_as_the_network_found(run: tuple[Path, str]) -> None:
    table = pd.read_parquet(run[0] / "ablations").sort_values("training", ignore_index=True)
    assert table.repetition.value_counts().nunique() == 1 and set(table.repetition) == {0, 1}
    best = summarise(open_run(run[0])[0]).ranked[0]
    assert (table.trial_id == best["trial_id"]).all() and (table.epochs == 2).all()
    hashes = table[table.repetition == 0].architecture_hash
    assert hashes.is_unique and hashes.iloc[0] == best["architecture_hash"]
    for row in table.itertuples():
        network = ConvArchitecture.from_json(json.loads(row.architecture))
        assert network.canonical_hash() == row.architecture_hash
    losses = pd.read_parquet(run[0] / "ablations_epochs").groupby("training").validation_loss.last()
    assert losses[table[table.variant == "found"].training].nunique() == 2, "two seeds"


def test_the_summary_compares_means_over_seeds(run: tuple[Path, str]) -> None:
    table = pd.read_parquet(run[0] / "ablations")
    mean = table[table.variant == "found"].metric.mean()
    assert f"the network found: mean {mean:.4f} ±" in run[1]
    assert "of 2 networks with one decision changed are worse" in run[1]
    assert f"are {len(table)} trainings; the search's took" in run[1]
    changed = table[table.variant == "perturbed"]
    assert changed[["position", "decision", "before", "after"]].notna().all(axis=None)
    for row in changed.itertuples():
        assert f"{row.decision} (token {row.position}) from {row.before} to {row.after}: " in run[1]
    assert table[table.variant != "perturbed"].position.isna().all() and str(table.position.dtype) == "Int64"
    assert (run[0] / "report" / "ablations.txt").read_text().strip() in run[1]
    page = (run[0] / "report" / "report.html").read_text()
    assert "Control experiments on the network found" in page and f">{mean:.4f} ± " in page
    assert "of 2 networks with one decision changed are worse" in page


def test_more_seeds_go_on_from_those_there_are(run: tuple[Path, str], tmp_path: Path) -> None:
    shutil.copytree(run[0], tmp_path / "run")
    before = pd.read_parquet(run[0] / "ablations").sort_values("training", ignore_index=True)
    ablate(tmp_path / "run", "--seeds", "3")
    after = pd.read_parquet(tmp_path / "run" / "ablations").sort_values("training", ignore_index=True)
    pd.testing.assert_frame_equal(after.iloc[: len(before)], before)
    assert len(after) == len(before) * 3 // 2


def test_of_perplexities_the_lower_is_better() -> None:
    def row(position: int | None, metric: float | None) -> dict[str, Any]:
        variant, status = "found" if position is None else "perturbed", "failed" if metric is None else "ok"
        told = {"position": position, "decision": "activation", "before": '"tanh"', "after": '"relu"'}
        return {"variant": variant, **told, "metric": metric, "status": status}

    text = ablation_text(ptb(), [row(None, 100.0), row(1, 110.0), row(3, 90.0), row(5, None)])
    changed = 'one decision changed, activation (token 1) from "tanh" to "relu"'
    assert f"{changed}: mean 110.0000 (1 trainings), 10 worse" in text and "(1 trainings), 10 better" in text
    assert '(token 5) from "tanh" to "relu": none ended well' in text
    assert "1 of 2 networks with one decision changed are worse" in text
    assert "nothing to compare with" in ablation_text(ptb(), [row(None, None)])


def test_a_table_has_perturbations_too(tmp_path: Path) -> None:
    search_table(write_table(tmp_path), tmp_path / "run", "--policy", "random")
    output = type_in("ablate", tmp_path / "run", "--seeds", "1")
    assert "3 of 3 networks with one decision changed are worse" in output, "the best row of all is a local optimum"
