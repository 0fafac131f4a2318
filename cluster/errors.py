"""The one error that a cluster raises."""


class ClusterError(Exception):
    """A cluster cannot be opened, or will train no more children: says what was tried and what came of it."""
