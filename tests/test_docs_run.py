"""The commands of each page, run in their order on tiny settings and made-up data: `make test-docs`.

Clusters are left out, so that all runs here: tests/slurm, tests/cluster and `make test-gpu` have those.
"""

import io
import json
import shlex
import shutil
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from conftest import type_in
from PIL import Image
from test_docs import PAGES, ROOT, as_wavenas, commands

pytestmark = [pytest.mark.docs, pytest.mark.timeout(900)]
HERE = ["cluster.workers=1", "cluster.processes=false"]
SEARCH = ["search.samples=8", "search.replicas=2", "search.children_per_replica=2", "evolution.population_size=2"]
SEARCH += ["evolution.tournament_size=2"]
OF_IMAGES = ["search.depth=2", "search.max_depth=2", "child.epochs=1", "data.num_train=200", "data.num_validation=50"]
OF_LANGUAGE = [
    "language.parameters=2000", "language.embedding_size=4", "language.epochs=1", "language.batch_size=4",
    "language.steps=10", "child.precision=float32",
]  # fmt: skip
WHOLE_TEXT = ["data.num_train=none", "data.num_validation=none", "data.vocabulary=none"]
OF_TRANSLATION = [
    "translation.encoder_layers=1", "translation.decoder_layers=1", "translation.hidden_units=8",
    "translation.embedding_size=6", "translation.num_train=60", "translation.epochs=1", "translation.batch_size=4",
    "translation.beam_width=2",
]  # fmt: skip
TEXT = "".join(f"{' '.join('abcdefghijkl'[(7 * n + 5 * k) % 12] for k in range(2 + n % 4))}\n" for n in range(60))


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Images in CIFAR-10's layout, a text, and a text in two languages, in one folder."""
    folder = tmp_path_factory.mktemp("data")
    image = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)).save(image, "PNG")
    kind = pa.schema({"img": pa.struct({"bytes": pa.binary(), "path": pa.string()}), "label": pa.int64()})
    for split, count in (("train", 50_000), ("test", 10_000)):
        images = [{"bytes": image.getvalue(), "path": None}] * count
        table = pa.table({"img": images, "label": [n % 10 for n in range(count)]}, schema=kind)
        pq.write_table(table, folder / f"{split}.parquet")
    for split in ("train", "valid", "test"):
        for ending in ("txt", "en", "de"):
            (folder / f"{split}.{ending}").write_text(TEXT)
    return folder


@pytest.fixture
def workplace(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What the pages speak of: folders of data, a table of networks, the examples."""
    for name in ("FOLDER", "PAIRS", "data"):
        shutil.copytree(data, tmp_path / name, copy_function=lambda source, to: Path(to).symlink_to(source))
    for name in ("ptb", "wmt14"):
        (tmp_path / "data" / name).symlink_to(data)
    for example in (ROOT / "docs/examples").glob("*.py"):
        shutil.copy(example, tmp_path)
    rows = [
        {"kernel": kernel, "width": width, "depth": depth, "accuracy": 0.1 * kernel + 0.01 * width * depth}
        for kernel in (1, 3) for width in (4, 8) for depth in (1, 2)
    ]  # fmt: skip
    pd.DataFrame(rows).to_parquet(tmp_path / "networks.parquet")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path


def on_this_machine(arguments: list[str]) -> list[str]:
    """The arguments without those that name a cluster."""
    named = [False, *(before in ("--cluster", "--site") for before in arguments)]
    return [
        part for part, value in zip(arguments, named, strict=False) if part not in ("--cluster", "--site") and not value
    ]


def made_small(arguments: list[str]) -> list[str]:
    """Options that make seconds of hours; what is given last goes."""
    name, pairs = arguments[0], list(pairwise(arguments))
    settings: list[str] = []
    if name in ("run", "compare", "doctor"):
        (experiment,) = [value for before, value in pairs if before == "--experiment"] or ["digits"]
        likes = [value for before, value in pairs if before == "--like"]
        own = "--task" in arguments or experiment == "table" or likes
        settings = [] if own else [*OF_LANGUAGE, *WHOLE_TEXT] if experiment.startswith("ptb") else OF_IMAGES
        settings = [*HERE, *SEARCH, *settings]
    elif name == "final":
        config = json.loads((Path(arguments[1]) / "config.json").read_text())["configuration"]
        section = "language" if config["data"]["dataset"] == "text" else "child"
        settings = [*HERE, "final.epochs=1", f'final.grid={{"{section}.learning_rate"=[0.05]}}']
        settings += ["final.parameters=[2000]", "final.shared_embeddings=[false]"] if section == "language" else []
    elif name == "ablate":
        settings = [*HERE, "ablations.perturbations=1", "ablations.seeds=1"]
    elif name == "resume":
        settings = HERE
    elif arguments[:2] == ["transfer", "translation"]:
        settings = [*HERE, *OF_TRANSLATION]
    elif name == "transfer":
        settings = [*HERE, *OF_LANGUAGE]
    ends = ["--seeds", "2"] if name == "compare" else ["--samples", "8"] if name == "run" else []
    ends += ["--samples", "8"] if name == "compare" else []
    return [*ends, *(part for setting in settings for part in ("--set", setting))]


@pytest.mark.parametrize("page", [page for page in PAGES if commands([page])], ids=lambda page: page.stem)
def test_the_commands_of_a_page_run_in_their_order(page: Path, workplace: Path) -> None:
    for command in commands([page]):
        for arguments in map(on_this_machine, as_wavenas(command)):
            if arguments[:2] == ["compare", "runs/digits-compared"] and (workplace / "runs/digits-compared").exists():
                continue  # shown twice
            print(shlex.join(arguments))
            type_in(*arguments, *made_small(arguments))
