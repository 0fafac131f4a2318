"""Seeds derived from a run's seed by name, so that nothing depends on the order or place in which things run."""

import hashlib


def derive_seed(seed: int, *names: str | int) -> int:
    """A seed in [0, 2^63) for what `names` name within the run of this seed."""
    digest = hashlib.sha256("/".join(str(part) for part in (seed, *names)).encode()).digest()
    return int.from_bytes(digest[:8], "little") >> 1
