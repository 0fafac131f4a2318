"""What a worker does: plain functions from one frozen dataclass to another, which know nothing of Dask."""
