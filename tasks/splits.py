"""Which images of a training split are trained on and which are for validation (section 4.1)."""

import numpy as np

from tasks.seeds import derive_seed
from tasks.settings import DataSettings


def split_indices(num_examples: int, settings: DataSettings) -> tuple[np.ndarray, np.ndarray]:
    """Indices of the train and validation images, drawn by `split_seed`. Raises ValueError where too few."""
    if settings.num_validation is None:
        raise ValueError("data.num_validation is unset: allowed for text alone, images need a number")
    wanted = settings.num_validation + (settings.num_train or 1)
    if wanted > num_examples:
        raise ValueError(
            f"data.num_validation {settings.num_validation} and data.num_train {settings.num_train or 'at least 1'}"
            f" ask for {wanted} images, but {settings.dataset} has {num_examples} training images"
        )
    order = np.random.default_rng(derive_seed(settings.split_seed, "split")).permutation(num_examples)
    end = None if settings.num_train is None else wanted
    return order[settings.num_validation : end], order[: settings.num_validation]
