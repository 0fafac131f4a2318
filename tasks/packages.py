"""Which versions of packages a run is made with."""

import importlib.metadata
import platform

RECORDED = ("wavenas", "torch", "torchvision", "dask", "distributed", "pandas", "pyarrow", "numpy")


def package_versions() -> dict[str, str]:
    """Versions of Python and of what results may depend on, in this process's environment."""
    versions = {"python": platform.python_version()}
    for name in RECORDED:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            versions[name] = "not installed"
    return versions
