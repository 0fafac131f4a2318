import math

import pytest

from tasks.epochs import MOST_PERPLEXITY, perplexity


def test_a_perplexity_is_the_exponential_of_a_loss() -> None:
    assert perplexity(math.log(80.0)) == pytest.approx(80.0)


@pytest.mark.parametrize("loss", [30.0, 701.0, math.inf, math.nan])
def test_a_perplexity_beyond_any_vocabulary_is_capped(loss: float) -> None:
    assert perplexity(loss) == MOST_PERPLEXITY
