"""Dask clusters: `open_cluster(settings)`; nothing outside this folder asks which kind of cluster a run is on."""
