"""Which cluster a run is on: a site's file and the command line, over what the experiment or the run says."""

import tomllib
from collections.abc import Sequence
from pathlib import Path

from pipeline.configuration import Configuration, from_dict, override, setting_differences, to_dict
from pipeline.errors import UserError


def with_site(configuration: Configuration, path: Path | None) -> Configuration:
    """The configuration with the `[cluster]` table of a TOML file merged over its own, key by key.

    Raises UserError, naming the file and the key, for anything else that is in it.
    """
    if path is None:
        return configuration
    try:
        site = tomllib.loads(path.read_text())
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise UserError(f"{path}: not a site's TOML file that can be read ({reason})") from error
    if unknown := sorted(site.keys() - {"cluster"}):
        raise UserError(f"{path}: unknown key {unknown[0]}; allowed: a table [cluster] alone")
    return from_dict(_merged(to_dict(configuration), site), str(path))


def cluster_options(cluster: str | None) -> dict[str, str]:
    """Settings that `--cluster` stands for: a kind, or the address of a scheduler."""
    if cluster is None:
        return {}
    return {"cluster.kind": "address", "cluster.address": cluster} if "://" in cluster else {"cluster.kind": cluster}


def with_other_cluster(
    configuration: Configuration, site: Path | None, cluster: str | None, assignments: Sequence[str], stage: str = ""
) -> Configuration:
    """The configuration of a run to be resumed, on another cluster. All else is settled: its results depend on it.

    `stage` is the section of a stage after it, whose settings its user may change otherwise.
    """
    also = f" or {stage}.KEY=VALUE" if stage else ""
    for assignment in assignments:
        if not assignment.strip().startswith("cluster."):
            other = setting_differences(to_dict(configuration), to_dict(override(configuration, [assignment])))
            told = f"; {'; '.join(other)}" if other else ""
            raise UserError(
                f"--set {assignment}: allowed for a run that has begun is cluster.KEY=VALUE{also} alone{told}"
            )
    options = [f'{key}="{value}"' for key, value in cluster_options(cluster).items()]
    return override(with_site(configuration, site), [*options, *assignments])


def _merged(old: dict[str, object], new: dict[str, object]) -> dict[str, object]:
    merged = dict(old)
    for key, value in new.items():
        before = merged.get(key)
        merged[key] = _merged(before, value) if isinstance(before, dict) and isinstance(value, dict) else value
    return merged
