from pathlib import Path

import numpy as np

from pipeline.run_folder import open_run
from pipeline.summary import summarise


def test_architectures_are_ranked_once_each(finished_run: Path) -> None:
    search = summarise(open_run(finished_run)[0])
    rewards = [row["reward"] for row in search.ranked]
    assert rewards == sorted(rewards, reverse=True) and len(search.rewards) == 20
    assert len({row["architecture_hash"] for row in search.ranked}) == len(search.ranked)
    assert search.top_mean(1) == max(search.rewards)
    assert np.isclose(search.last_mean(0.25), np.mean(search.rewards[-5:]))
