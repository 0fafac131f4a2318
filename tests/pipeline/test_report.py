from pathlib import Path

import numpy as np
from matplotlib.image import imread

from models.conv_architecture import ConvArchitecture
from models.conv_layers import ConvLayer, NormLayer, PoolLayer
from pipeline.draw import draw_architecture
from pipeline.report import best_means, write_report
from pipeline.run_folder import open_run
from pipeline.summary import summarise


def test_the_report_is_made_from_the_tables_alone(finished_run: Path) -> None:
    written = write_report(*open_run(finished_run))
    assert [path.name for path in written] == ["summary.txt", "rewards.png", "best_architecture.png"]
    for path in written[1:]:
        pixels = imread(path)
        assert pixels.shape[0] > 200 and pixels.std() > 0.05, "an empty picture"


def test_architectures_are_ranked_once_each(finished_run: Path) -> None:
    search = summarise(open_run(finished_run)[0])
    rewards = [row["reward"] for row in search.ranked]
    assert rewards == sorted(rewards, reverse=True) and len(search.rewards) == 20
    assert len({row["architecture_hash"] for row in search.ranked}) == len(search.ranked)
    assert search.top_mean(1) == max(search.rewards)
    assert np.isclose(search.last_mean(0.25), np.mean(search.rewards[-5:]))


def test_best_means_are_those_of_a_plain_loop() -> None:
    rewards = np.random.default_rng(0).random(50).tolist()
    plain = [np.mean(sorted(rewards[: count + 1])[-5:]) for count in range(50)]
    assert np.allclose(best_means(rewards, 5), plain)


def test_connections_of_any_span_are_drawn(tmp_path: Path) -> None:
    layers = [ConvLayer(3, 3, 8)] + [ConvLayer(3, 5, 8, inputs=tuple(range(n))) for n in range(1, 12)]
    sparse = draw_architecture(ConvArchitecture(tuple(layers[:1])), "one", tmp_path / "one.png")
    dense = draw_architecture(ConvArchitecture(tuple(layers)), "dense", tmp_path / "dense.png")
    assert imread(dense).shape[0] > imread(sparse).shape[0]


def test_every_kind_of_layer_is_drawn(tmp_path: Path) -> None:
    layers = (
        ConvLayer(3, 5, 8, stride_height=2),
        PoolLayer("max", 2, 2, inputs=(0,)),
        NormLayer("local_contrast", inputs=(0, 1)),
        NormLayer("batch"),
    )
    picture = draw_architecture(
        ConvArchitecture(layers, pool_after=(2,), learning_rate=0.1), "mixed", tmp_path / "a.png"
    )
    assert imread(picture).std() > 0.05
