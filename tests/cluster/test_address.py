"""A scheduler that runs already, with and without certificates."""

import socket
import ssl
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from distributed import Client, LocalCluster
from distributed.security import Security

from cluster.errors import ClusterError
from cluster.open import check_cluster, open_cluster
from cluster.security import network_security
from cluster.settings import ClusterSettings


@contextmanager
def running_scheduler(**options: object) -> Iterator[LocalCluster]:
    """A scheduler and a worker in this process, as someone else would have started them."""
    options = {"processes": False, "dashboard_address": None, "worker_dashboard_address": None, **options}
    with LocalCluster(n_workers=1, protocol=options.pop("protocol", "tcp://"), **options) as cluster:
        yield cluster


@pytest.fixture
def certificates(tmp_path: Path) -> dict[str, str]:
    """A site's certificate files, as settings."""
    temporary = Security.temporary()
    files = {"tls_ca_file": "tls_ca_file", "tls_cert": "tls_client_cert", "tls_key": "tls_client_key"}
    for name, attribute in files.items():
        (tmp_path / name).write_text(getattr(temporary, attribute))
    return {name: str(tmp_path / name) for name in files}


def test_a_running_scheduler_is_used_and_left_running() -> None:
    with running_scheduler(threads_per_worker=1) as running:
        address = running.scheduler_address
        with open_cluster(ClusterSettings(kind="address", address=address)) as cluster:
            assert cluster.description == f"scheduler at {address}: 1 worker so far"
            assert cluster.client.submit(len, "abc").result(timeout=120) == 3
            cluster.check()
        assert running.status.name == "running" and len(running.workers) == 1


def test_workers_with_several_threads_are_refused() -> None:
    with running_scheduler(threads_per_worker=4) as running:
        settings = ClusterSettings(kind="address", address=running.scheduler_address)
        with pytest.raises(ClusterError, match=r"has 4 threads, .* allowed is 1"), open_cluster(settings):
            pass


def test_an_address_that_does_not_answer_is_told_in_time() -> None:
    with socket.create_server(("127.0.0.1", 0)) as deaf:  # takes connections, says nothing
        address = f"tcp://127.0.0.1:{deaf.getsockname()[1]}"
        settings = ClusterSettings(kind="address", address=address, connect_seconds=1)
        started = time.monotonic()
        message = f"'{address}': no Dask scheduler answered within 1 seconds"
        with pytest.raises(ClusterError, match=message), open_cluster(settings):
            pass
        assert time.monotonic() - started < 30


def test_only_who_has_the_certificate_is_let_in(certificates: dict[str, str]) -> None:
    settings = ClusterSettings(kind="address", address="tls://127.0.0.1:1", **certificates)  # type: ignore[arg-type]
    with running_scheduler(threads_per_worker=1, security=network_security(settings), protocol="tls://") as running:
        address = running.scheduler_address
        assert address.startswith("tls://")
        with open_cluster(ClusterSettings(kind="address", address=address, **certificates)) as cluster:  # type: ignore[arg-type]
            assert cluster.client.submit(len, "abc").result(timeout=120) == 3
        with pytest.raises(OSError, match=r"reset|closed|Timed out"):
            Client(address.replace("tls:", "tcp:"), timeout=1)
        with pytest.raises(OSError, match=r"certificate|closed|Timed out"):
            Client(address, security=Security.temporary(), timeout=1)
        port = int(address.rpartition(":")[2])
        assert first_byte(port, certificates) != b""
        with pytest.raises(ssl.SSLError):  # trusts anyone, but has no certificate
            first_byte(port, {})


def first_byte(port: int, certificates: dict[str, str]) -> bytes:
    """What a scheduler says first to one who does not look at its certificate."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    if certificates:
        context.load_cert_chain(certificates["tls_cert"], certificates["tls_key"])
    with socket.create_connection(("127.0.0.1", port), timeout=10) as plain, context.wrap_socket(plain) as encrypted:
        return encrypted.recv(1)


def test_a_network_is_encrypted_unless_it_is_asked_not_to_be() -> None:
    security = network_security(ClusterSettings(kind="slurm"))
    assert security is not None and security.require_encryption
    assert network_security(ClusterSettings(kind="slurm", tls=False)) is None


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"kind": "address"}, "cluster.address = None: allowed is tcp://HOST:PORT or tls://HOST:PORT"),
        ({"kind": "address", "address": "ucx://a:1"}, "cluster.address = 'ucx://a:1': allowed is"),
        ({"kind": "address", "address": "tls://a:1"}, "cluster.address = 'tls://a:1' needs certificates"),
        ({"tls_cert": "a.pem"}, "cluster.tls_cert: allowed is all of tls_ca_file, tls_cert, tls_key, or none"),
        ({"tls_ca_file": "/a", "tls_cert": "/b", "tls_key": "/c"}, "cluster.tls_ca_file = '/a': no such file"),
    ],
)
def test_addresses_and_certificates_are_checked_before_anything_starts(settings: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        check_cluster(ClusterSettings(**settings))
