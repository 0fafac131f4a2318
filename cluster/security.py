"""Certificates: nobody without one talks to a scheduler or a worker over a network."""

from distributed.security import Security

from cluster.settings import ClusterSettings


def site_security(settings: ClusterSettings) -> Security | None:
    """The certificate files of `cluster.tls_…` for every role, or None where none are given."""
    if settings.tls_ca_file is None:
        return None
    files = {f"tls_{role}_{part}": getattr(settings, f"tls_{part}") for role in ROLES for part in ("cert", "key")}
    return Security(tls_ca_file=settings.tls_ca_file, require_encryption=True, **files)


def network_security(settings: ClusterSettings) -> Security | None:
    """For a scheduler of our own: the site's certificates, else temporary ones, or None for `cluster.tls = false`."""
    if not settings.tls:
        return None
    return site_security(settings) or Security.temporary()


ROLES = ("client", "scheduler", "worker")
