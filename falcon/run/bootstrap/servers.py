"""Clients of a cluster's servers, and the secrets of its processes, as the settings name them."""

import shlex
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

from falcon.adapters.hbase.client import HBase
from falcon.adapters.hbase.connection import ThriftConnection
from falcon.adapters.hbase.gateways import Gateways
from falcon.adapters.hbase.prepare import by_command, compressing, through_gateway
from falcon.adapters.hbase.switching import Create
from falcon.adapters.hbase.tables import HBaseTables
from falcon.adapters.kafka.cluster import KafkaCluster
from falcon.adapters.kafka.security import Security
from falcon.base.certificates import TlsFiles, WrongCertificate, client_tls
from falcon.base.secret_files import SecretFile, WrongSecret
from falcon.read.catalogue import READ_MODELS
from falcon.read.store import Moves
from falcon.run.settings import Settings, WrongSettings
from falcon.telemetry import metrics


def kafka_cluster(settings: Settings) -> KafkaCluster:
    """Raises WrongSettings."""
    return KafkaCluster(
        settings.kafka,
        settings.partitions,
        settings.kafka_prefix,
        settings.append_seconds,
        _kafka_security(settings),
        rack=settings.kafka_rack or None,
    )


@cache
def _kafka_security(settings: Settings) -> Security | None:
    """One instance a process: it knows when it last read the files. Raises WrongSettings."""
    if settings.kafka_security_protocol == "PLAINTEXT":
        return None
    tls = _client_tls("FALCON_KAFKA", settings.kafka_ca, settings.kafka_cert, settings.kafka_key)
    if settings.kafka_password_file is None:
        return Security(tls)
    passwords = _secret_file(settings.kafka_password_file)
    _only_line(passwords, f"FALCON_KAFKA_PASSWORD_FILE={settings.kafka_password_file}")

    def password() -> str:
        return passwords()[0].decode(errors="replace")  # brokers refuse it, and the refusal is logged

    return Security(tls, settings.kafka_user, settings.kafka_sasl_mechanism, password)


def _client_tls(server: str, authorities: Path | None, certificate: Path | None, key: Path | None) -> TlsFiles:
    """Raises WrongSettings. ``server``: how its settings begin."""
    try:
        tls = client_tls(authorities, certificate, key)
    except WrongCertificate as error:
        raise WrongSettings(f"{error}; see {server}_CA in docs/settings.md") from error
    metrics.certificate_ends.labels(f"{server}_CERT").set_function(tls.certificate_ends)
    if authorities is not None:
        metrics.certificate_ends.labels(f"{server}_CA").set_function(tls.authorities_end)
    return tls


def hbase_tables(
    settings: Settings,
    hbase: HBase,
    dispatcher: str = "hbase-writes",
    moved: Callable[[Moves], None] = lambda moves: None,
) -> HBaseTables:
    return HBaseTables(
        hbase,
        settings.hbase_prefix,
        settings.partitions,
        table_creator(settings, hbase),
        settings.project_threads,
        dispatcher=dispatcher,
        moved=moved,
    )


def table_creator(settings: Settings, hbase: HBase) -> Create:
    command = shlex.split(settings.hbase_create_command)
    return compressing(by_command(command) if command else through_gateway(hbase), settings.hbase_compression)


def _connect(settings: Settings) -> Callable[[str, int], ThriftConnection]:
    """A function that connects to a gateway. Raises WrongSettings."""
    if settings.hbase_ca is None:
        return ThriftConnection
    tls = _client_tls("FALCON_HBASE", settings.hbase_ca, settings.hbase_cert, settings.hbase_key)
    return lambda host, port: ThriftConnection(host, port, tls.context())


@contextmanager
def hbase_gateways(settings: Settings) -> Iterator[Gateways]:
    writers = (len(READ_MODELS) + 1) * (settings.project_threads + 1)
    connections = max(settings.read_threads, writers)
    gateways = Gateways(settings.hbase, connections, connect=_connect(settings))
    try:
        yield gateways
    finally:
        gateways.close()


def internal_keys(settings: Settings) -> SecretFile:
    """The keys with which edges and owners sign what they send one another. Raises WrongSettings."""
    return _secret_file(settings.internal_token_file)


def _secret_file(path: Path) -> SecretFile:
    """Raises WrongSettings."""
    try:
        return SecretFile(path)
    except WrongSecret as error:
        raise WrongSettings(str(error)) from error


def server_secret(settings: Settings) -> bytes:
    """The secret that tokens are derived from. It cannot be rotated, so the file holds one. Raises WrongSettings."""
    return _only_line(_secret_file(settings.secret_file), f"FALCON_SECRET_FILE={settings.secret_file}")


def _only_line(secrets: SecretFile, setting: str) -> bytes:
    """Raises WrongSettings if there are more."""
    if len(secrets()) != 1:
        raise WrongSettings(f"{setting}: must hold one line")
    return secrets()[0]
