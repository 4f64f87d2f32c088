"""HBase's gateway behind TLS: which clients it accepts, and which gateways Falcon accepts. The gateway is ours."""

import shutil
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from falcon.adapters.hbase.connection import ThriftConnection
from falcon.adapters.hbase.gateways import Gateways
from falcon.base.certificates import TlsFiles, WrongCertificate, client_tls
from falcon.read.store import ReadStoreUnavailable
from falcon.run.bootstrap.servers import hbase_gateways
from falcon.run.settings import Settings
from falcon.telemetry import metrics
from tests.adapters.test_hbase_faults import Gateway, who
from tests.support.certificates import Authority, Pair, needs_openssl
from tests.support.tls_front import FRONT, tls_in_front_of
from tools.harness.ports import free_port

pytestmark = [pytest.mark.processes, needs_openssl]


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path / "authority")


@pytest.fixture
def pair(authority: Authority) -> Pair:
    return authority.issue("falcon")


@pytest.fixture(params=[FRONT])
def address(authority: Authority, tmp_path: Path) -> Iterator[str]:
    """The address of the TLS relay: stunnel's if it is installed, otherwise one in Python."""
    gateway = Gateway("ann")
    behind = int(gateway.address.rpartition(":")[2])
    with tls_in_front_of(behind, free_port(), authority, tmp_path / "front") as address:
        yield address
    gateway.close()


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def through(address: str, stack: ExitStack, tls: TlsFiles | None) -> Gateways:
    def connect(host: str, port: int) -> ThriftConnection:
        return ThriftConnection(host, port, None if tls is None else tls.context())

    gateways = Gateways([address], connect=connect)
    stack.callback(gateways.close)
    return gateways


def test_tables_are_read_over_tls_by_who_has_a_certificate(
    address: str, stack: ExitStack, authority: Authority, pair: Pair
) -> None:
    gateways = through(address, stack, client_tls(authority.certificate, pair.certificate, pair.key))
    assert [who(gateways.within(20), key) for key in (b"one", b"two" * 100_000)] == [b"ann"] * 2


def test_without_a_certificate_or_with_a_strangers_nothing_is_read(
    address: str, stack: ExitStack, authority: Authority, tmp_path: Path
) -> None:
    stranger = Authority(tmp_path / "stranger").issue("falcon")
    for tls in (
        None,
        client_tls(authority.certificate, None, None),
        client_tls(authority.certificate, stranger.certificate, stranger.key),
    ):
        with pytest.raises(ReadStoreUnavailable, match=f"HBase does not answer through {address}"):
            who(through(address, stack, tls).within(2))


def test_a_gateway_of_another_name_or_authority_is_told_nothing(
    address: str, stack: ExitStack, authority: Authority, pair: Pair, tmp_path: Path
) -> None:
    by_address = address.replace("localhost", "127.0.0.1")
    tls = client_tls(authority.certificate, pair.certificate, pair.key)
    with pytest.raises(ReadStoreUnavailable, match=r"CERTIFICATE_VERIFY_FAILED.*not valid for '127\.0\.0\.1'"):
        who(through(by_address, stack, tls).within(2))
    strangers = client_tls(Authority(tmp_path / "stranger").certificate, pair.certificate, pair.key)
    with pytest.raises(ReadStoreUnavailable, match="CERTIFICATE_VERIFY_FAILED"):
        who(through(address, stack, strangers).within(2))


def test_a_certificate_that_is_renewed_on_disk_is_shown_by_new_connections(
    address: str, stack: ExitStack, authority: Authority, pair: Pair, tmp_path: Path
) -> None:
    own = Authority(tmp_path / "own").issue("falcon")
    tls = client_tls(authority.certificate, own.certificate, own.key)
    gateways = through(address, stack, tls)
    with pytest.raises(ReadStoreUnavailable):
        who(gateways.within(2))
    shutil.copy(pair.certificate, own.certificate)
    shutil.copy(pair.key, own.key)
    assert who(gateways.within(20)) == b"ann"


def test_an_operator_can_see_when_the_certificates_for_hbase_end(authority: Authority, pair: Pair) -> None:
    files = {"CA": authority.certificate, "CERT": pair.certificate, "KEY": pair.key}
    given = {f"FALCON_HBASE_{name}": str(path) for name, path in files.items()}
    with hbase_gateways(Settings.from_env({"FALCON_HBASE": "localhost:9090", **given})):
        ends = [metrics.certificate_ends.labels(f"FALCON_HBASE_{name}").value for name in ("CA", "CERT")]
    assert [round((each - time.time()) / 86_400) for each in ends] == [2, 2]


@pytest.mark.parametrize("wrong", ["missing", "nonsense", "another's key"])
def test_files_that_are_no_certificate_are_refused_with_their_names(
    authority: Authority, pair: Pair, wrong: str
) -> None:
    if wrong == "missing":
        authority.certificate.unlink()
    elif wrong == "nonsense":
        authority.certificate.write_text("nonsense")
    else:
        shutil.copy(authority.issue("other").key, pair.key)
    named = pair.key if wrong == "another's key" else authority.certificate
    with pytest.raises(WrongCertificate, match=str(named)):
        client_tls(authority.certificate, pair.certificate, pair.key)
