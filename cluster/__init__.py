"""Dask clusters: `open_cluster(settings)` is the only place that knows which kind of cluster a run is on."""
