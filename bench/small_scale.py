"""A quarter of the large scale in two minutes: 200 workers under one scheduler, in both modes (section 3.2)."""

from typing import Any

from bench import scale

RUNS = ((200, "async", 1_600, 6.0), (200, "waves", 400, 6.0))  # workers, mode, children, mean seconds of a child


def measure() -> dict[str, Any]:
    """As `scale` does."""
    return scale.measure(RUNS)
