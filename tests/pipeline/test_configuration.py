import json
import re
from pathlib import Path

import pytest
from conftest import run_quietly, type_in, wavenas

from pipeline.checks import check_configuration
from pipeline.configuration import from_dict, override, to_dict
from pipeline.errors import UserError
from pipeline.experiments import EXPERIMENTS, cifar10, digits, experiment_named, ptb
from pipeline.summary import size_text


def test_cifar10_has_the_papers_numbers() -> None:
    configuration = cifar10()
    search, controller, child = configuration.search, configuration.controller, configuration.child
    assert (search.replicas, search.children_per_replica, search.samples) == (100, 8, 12_800)
    assert (search.depth, search.depth_increment, search.depth_every) == (6, 2, 1_600)
    assert (controller.hidden_units, controller.num_layers, controller.init_range) == (35, 2, 0.08)
    assert (controller.learning_rate, search.reward_power) == (6e-4, 3)
    assert (child.epochs, child.reward_epochs, child.learning_rate, child.momentum) == (50, 5, 0.1, 0.9)
    assert (child.weight_decay, configuration.data.num_validation, configuration.data.num_train) == (1e-4, 5_000, None)
    assert configuration.wave_size == 800
    for name in ("cifar10", "cifar10_strides", "cifar10_pooling"):  # section 4.1: replicas wait for no others
        search = experiment_named(name).search
        assert (search.mode, search.replicas, search.shards, search.gradients_per_step) == ("async", 100, 20, 1)


def test_ptb_has_the_papers_numbers() -> None:
    configuration = ptb()
    search, controller, language = configuration.search, configuration.controller, configuration.language
    assert (search.replicas, search.shards, search.children_per_replica, search.samples) == (400, 20, 1, 15_000)
    assert (search.mode, search.gradients_per_step) == ("async", 10)
    assert (search.reward_scale, search.reward_power) == (80, -2)
    assert (controller.learning_rate, controller.hidden_units, controller.num_layers) == (5e-4, 35, 2)
    assert (language.num_layers, language.epochs, language.parameters) == (2, 35, 19_775_200)
    assert (language.batch_size, language.steps, language.learning_rate, language.clip_norm) == (20, 35, 1.0, 5.0)
    assert size_text(configuration) == "5.9e16 architectures"


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_every_experiment_goes_through_json_unchanged(name: str) -> None:
    configuration = experiment_named(name)
    assert from_dict(json.loads(json.dumps(to_dict(configuration))), "test") == configuration


def test_set_takes_toml_values_and_bare_words() -> None:
    changed = override(
        digits(),
        [
            "search.samples=7",
            "data.flip=true",
            "child.decay_at=[0.25]",
            "search.policy=random",
            "search.max_depth=none",
        ],
    )
    assert (changed.search.samples, changed.data.flip, changed.child.decay_at) == (7, True, (0.25,))
    assert (changed.search.policy, changed.search.max_depth) == ("random", None)
    assert override(digits(), ["space.options.num_filters=[8]"]).space.options["num_filters"] == [8]


@pytest.mark.parametrize(
    ("assignment", "message"),
    [
        (
            "search.sample=7",
            "unknown key search.sample (did you mean search.samples?); allowed: policy, control, mode, samples",
        ),
        ("serach.samples=7", "unknown key serach (did you mean search?); allowed: experiment, search, controller"),
        ("search.samples=0", "search.samples = 0: input should be greater than 0"),
        ("search.samples=many", "search.samples = 'many': input should be a valid integer"),
        ("search.policy=greedy", "search.policy = 'greedy': input should be 'controller', 'random' or 'evolution'"),
        ("controller.learning_rate=nan", "controller.learning_rate = nan"),
        ("child.momentum=1.5", "child.momentum = 1.5: input should be less than 1"),
        ("search.reward_power=0", "search.reward_power = 0: value error, every number but 0 is allowed"),
        ("language.cell=lstm", "unknown key language.cell; allowed: num_layers, parameters, hidden_units"),
        ("search.samples", "--set search.samples: not of the form section.key=value"),
        ("search.samples.x=1", "--set search.samples.x: samples is a value, not a section"),
    ],
)
def test_wrong_settings_are_named_with_what_is_allowed(assignment: str, message: str) -> None:
    with pytest.raises(UserError) as caught:
        override(digits(), [assignment])
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--experiment", "digit"], "unknown experiment 'digit'; allowed: digits, cifar10"),
        (["--set", "search.sample=7"], "unknown key search.sample"),
        (["--cluster", "moon"], "cluster.kind = 'moon': input should be 'local', 'cuda', 'slurm' or 'address'"),
        (
            ["--set", "space.options.filters=[1]"],
            "unknown option filters of models.conv_space:conv_space; allowed: filter_h",
        ),
        (["--set", "space.function=nowhere:space"], "'nowhere:space': No module named 'nowhere'"),
        (["--set", "child.task=tasks.trial:walk"], "'tasks.trial:walk': module tasks.trial has no 'walk'"),
        (["--set", "data.num_validation=2000"], "ask for 2001 images, but digits has 1437"),
        (["--policy", "evolution", "--samples", "40"], "evolution.population_size = 40: evolution begins once so many"),
        (["--policy", "random"], "search.control = 'random' is the policy itself"),
        (["--data", "/tmp"], "the digits come with scikit-learn and need no folder"),
        (["--set", "cluster.processes=false"], "cluster.processes = false needs cluster.workers = 1"),
        (
            ["--set", "search.max_flops=1", "--set", "child.task=tasks.table_child:look_up"],
            "search.max_parameters and max_flops are not for child.task = 'tasks.table",
        ),
        (["--set", "language.epochs=3"], "language.epochs = 3 means nothing to child.task = 'tasks.image_child:"),
        (["--set", "data.vocabulary=9"], "data.vocabulary = 9 means nothing to child.task = 'tasks.image_child:"),
        (["--set", "data.num_validation=none"], "data.num_validation is unset: allowed for text alone"),
        (
            ["--experiment", "ptb", "--set", "child.epochs=3"],
            "child.epochs = 3 means nothing to child.task = 'tasks.lang",
        ),
        (
            ["--experiment", "ptb", "--set", "data.flip=false"],
            "data.flip = False means nothing to child.task = 'tasks.l",
        ),
        (
            ["--experiment", "ptb", "--set", "data.dataset=digits"],
            "child.task = 'tasks.language_child:train_language_child' cannot be trained on data.dataset = 'digits'",
        ),
        (["--experiment", "ptb", "--data", "/nowhere"], "/nowhere: no file train.txt or NAME.train.txt"),
        (
            ["--set", "search.gradients_per_step=4"],
            "search.gradients_per_step = 4: a wave is one step of the controller; allowed is 1, or any",
        ),
        (["--set", "data.crop=11"], "data.crop = 11: allowed is at most data.upsample = 10"),
    ],
)
def test_the_command_line_rejects_before_it_makes_anything(arguments: list[str], message: str, tmp_path: Path) -> None:
    output = type_in("run", "--run", tmp_path / "run", *arguments, expected=2)
    assert message in output and "Traceback" not in output
    assert not (tmp_path / "run").exists()


def test_help_texts_and_listing() -> None:
    for command in ("run", "resume", "status", "report", "experiments"):
        assert "Usage:" in type_in(command, "--help")
    listing = type_in("experiments")
    assert [line.split()[0] for line in listing.splitlines()] == list(EXPERIMENTS)
    assert json.loads(type_in("experiments", "cifar10")) == to_dict(cifar10())


def test_a_folder_that_holds_a_run_is_refused(finished_run: Path) -> None:
    output = type_in("run", "--run", finished_run, expected=2)
    assert f"{finished_run} already holds a run, whose settings are others: " in output
    assert "search.samples" in output and f"-m pipeline resume {finished_run}`" in output


def test_a_folder_without_a_run_is_refused(tmp_path: Path) -> None:
    for command in ("resume", "status", "report"):
        assert f"{tmp_path}: no run there" in type_in(command, tmp_path, expected=2)


def test_a_damaged_configuration_is_named(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"format": 4, "configuration": {"experiment": "digits", "surch": {}}}')
    assert f"{tmp_path}/config.json: not a file that this program wrote" in type_in("resume", tmp_path, expected=2)
    (tmp_path / "config.json").write_text('{"format": 9, "configuration": {"experiment": "digits"}}')
    assert "format 9, where this version reads 4" in type_in("resume", tmp_path, expected=2)
    (tmp_path / "config.json").write_text("{")
    assert f"{tmp_path}/config.json: not a file that this program wrote" in type_in("resume", tmp_path, expected=2)


def test_a_process_ends_with_the_exit_code(tmp_path: Path) -> None:
    output = run_quietly(wavenas("run", "--run", tmp_path / "run", "--experiment", "digit"), expected=2)
    assert output == f"error: unknown experiment 'digit'; allowed: {', '.join(EXPERIMENTS)}\n"


def test_help_needs_neither_torch_nor_dask() -> None:
    code = "import sys, pipeline.command_line; print({'torch', 'dask', 'distributed', 'pyarrow'} & set(sys.modules))"
    assert run_quietly([wavenas()[0], "-c", code]) == "set()\n"


def test_the_driver_has_not_loaded_torch_when_it_opens_the_cluster(tmp_path: Path) -> None:
    code = (
        "import sys, pathlib, rich.console, pipeline.driver\n"
        "def opened(*_): sys.exit('torch' if 'torch' in sys.modules else 'no torch')\n"
        "pipeline.driver.open_cluster = opened\n"
        "from pipeline.experiments import digits\n"
        f"pipeline.driver.start_run(pathlib.Path({str(tmp_path / 'run')!r}), digits(), rich.console.Console())\n"
    )
    assert run_quietly([wavenas()[0], "-c", code], expected=1).splitlines()[-1] == "no torch"


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (["child.task=x"], "child.task = 'x' is not of the form package.module:function"),
        (["child.task=math:nothing"], "child.task = 'math:nothing': module math has no 'nothing'"),
        (
            ["space.function=models.table_space:table_space", "space.options={}"],
            "space.options lack columns of models.",
        ),
    ],
)
def test_what_cannot_be_called_is_told_with_its_setting(settings: list[str], message: str) -> None:
    with pytest.raises(UserError, match=re.escape(message)):
        check_configuration(override(digits(), settings))
