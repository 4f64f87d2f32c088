"""Kafka over TLS with a user for each role, and HBase over TLS with a certificate: what works, and what is refused."""

import asyncio
import logging
import os
import secrets
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final, NamedTuple

import httpx
import pytest
from aiokafka import TopicPartition
from aiokafka.protocol.admin import CreateAclsRequest

from falcon.adapters.kafka import topics
from falcon.adapters.kafka.cluster import KafkaCluster
from falcon.adapters.kafka.producer import NotWritten, Producer
from falcon.adapters.kafka.reader import Reader
from falcon.adapters.kafka.security import Security
from falcon.base.certificates import client_tls
from falcon.base.secret_files import SecretFile
from falcon.journal.ports import JournalUnavailable
from tests.cluster.conftest import PARTITIONS, ports_for
from tests.support.certificates import Authority, Pair, needs_openssl
from tests.support.secret_files import write_secret
from tests.support.secured_kafka import SecuredKafka
from tests.support.servers import start_or_skip
from tests.support.tls_front import FRONT, tls_in_front_of
from tools.harness.waiting import eventually, until
from tools.servers.cluster import Cluster
from tools.servers.hbase import HBase
from tools.servers.session import start_server

pytestmark = [pytest.mark.processes, pytest.mark.timeout(600), needs_openssl]

ROOT: Final = Path(__file__).parents[2]
ROLES: Final = ("write", "project", "api", "operator")
_SPARE: Final = 4  # users without rights of their own
_OPERATIONS: Final = {"Read": 3, "Write": 4, "Create": 5, "Describe": 8, "DescribeConfigs": 10}


class Right(NamedTuple):
    """One operation that one principal is allowed."""

    principal: str
    kind: str
    name: str
    pattern: str
    operation: str


@dataclass
class Secured:
    """A Kafka with the users and ACLs that docs/operations.md has."""

    folder: Path
    kafka: SecuredKafka
    authority: Authority
    passwords: dict[str, str]

    def password_file(self, user: str) -> Path:
        path = self.folder / f"{user}.password"
        if not path.exists():
            write_secret(path, self.passwords[user])
        return path

    def cluster(self, user: str, password: Path | None = None, mechanism: str = "SCRAM-SHA-512") -> KafkaCluster:
        words = SecretFile(password or self.password_file(user))
        tls = client_tls(self.authority.certificate, None, None)
        security = Security(tls, user, mechanism, lambda: words()[0].decode())
        return KafkaCluster((self.kafka.bootstrap,), PARTITIONS, security=security)

    def certified(self, certificate: Pair | None, authorities: Path | None = None) -> KafkaCluster:
        certificate_and_key = (None, None) if certificate is None else (certificate.certificate, certificate.key)
        tls = client_tls(authorities or self.authority.certificate, *certificate_and_key)
        return KafkaCluster((self.kafka.by_certificate,), PARTITIONS, security=Security(tls))

    async def allow(self, given: list[Right]) -> None:
        admin = self.certified(self.authority.issue("admin")).admin()
        await admin.start()
        for _, kind, name, pattern, operation in given:
            kinds, patterns = {"topic": 2, "group": 3}, {"literal": 3, "prefixed": 4}
            principal = given[0].principal
            numbers = (kinds[kind], name, patterns[pattern], principal, "*", _OPERATIONS[operation], 3)
            answer = await admin._send_request(CreateAclsRequest(*numbers))
            assert answer.creation_responses[0][0] == 0, answer
        await admin.close()


def documented_calls(folder: Path) -> list[list[str]]:
    """The arguments of kafka-acls.sh in docs/operations.md."""
    text = (ROOT / "docs/operations.md").read_text().partition("### Kafka's ACLs")[2]
    commands = text.partition("```sh\n")[2].partition("```")[0]
    folder.mkdir()
    said = folder / "said"
    (folder / "kafka-acls.sh").write_text(f'#!/bin/sh\nprintf "%s " "$@" >>"{said}"\necho >>"{said}"\n')
    (folder / "kafka-acls.sh").chmod(0o700)
    path = {"PATH": f"{folder}:{os.environ['PATH']}"}
    subprocess.run(["bash", "-euc", commands], env={**os.environ, **path}, check=True)
    calls = [line.split() for line in said.read_text().splitlines()]
    assert all(call[:4:2] == ["--bootstrap-server", "--command-config"] for call in calls)
    return [call[4:] for call in calls]


@pytest.fixture(scope="module")
def secured(servers_folder: Path) -> Iterator[Secured]:
    folder = servers_folder / "secured"
    authority = Authority(folder / "tls")
    users = [f"falcon-{role}" for role in ROLES] + [f"spare-{number}" for number in range(_SPARE)]
    passwords = {user: secrets.token_urlsafe(24) for user in users}
    kafka = start_or_skip(
        lambda: start_server(lambda port: SecuredKafka(servers_folder / "secured-kafka", port, authority, passwords))
    )
    try:
        kafka.acls(documented_calls(folder / "acls"))
        found = Secured(folder, kafka, authority, passwords)
        asyncio.run(topics.prepare(found.cluster("falcon-operator"), 1))
        yield found
    finally:
        kafka.wipe()


# --- the whole of Falcon ----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def cluster(secured: Secured, hbase: HBase) -> Iterator[Cluster]:
    """One of each role. TLS in front of HBase is stunnel's where that is installed, else a relay's in Python."""
    pair = secured.authority.issue("falcon")
    *_, port = ports = ports_for(secured.kafka, hbase)
    with tls_in_front_of(hbase.port, port + 9, secured.authority, secured.folder / "front") as gateway:
        users = {"write": "write", "project": "project", "api": "api", "credentials": "api", "prepare": "operator"}
        cluster = Cluster(
            secured.folder / "falcon",
            ports=ports,
            partitions=PARTITIONS,
            settings={
                "FALCON_HBASE": gateway,
                "FALCON_HBASE_PREFIX": "secured",
                "FALCON_HBASE_CREATE_COMMAND": "",
                "FALCON_HBASE_CA": str(secured.authority.certificate),
                "FALCON_HBASE_CERT": str(pair.certificate),
                "FALCON_HBASE_KEY": str(pair.key),
                "FALCON_KAFKA_REPLICAS": "1",
                "FALCON_KAFKA_SECURITY_PROTOCOL": "SASL_SSL",
                "FALCON_KAFKA_CA": str(secured.authority.certificate),
                "FALCON_LOG_LEVEL": "debug",
            },
            settings_of={
                command: {
                    "FALCON_KAFKA_USER": f"falcon-{user}",
                    "FALCON_KAFKA_PASSWORD_FILE": str(secured.password_file(f"falcon-{user}")),
                }
                for command, user in users.items()
            },
            servers=(secured.kafka, hbase),
        )
        before = {name: os.environ.pop(name) for name in list(os.environ) if name.startswith("FALCON_")}
        try:
            cluster.up(counts={"api": 1, "write": 1, "project": 1})
            yield cluster
        finally:
            os.environ.update(before)
            for role in ("api", "project", "write"):
                for process in cluster.processes(role):
                    process.kill()


class Ann:
    """An account at the one edge, who tries again as the answer says."""

    def __init__(self, cluster: Cluster) -> None:
        described = cluster.describe()
        headers = {"Authorization": f"Bearer {described['token']}"}
        self._edge = httpx.Client(base_url=described["urls"][0], headers=headers, timeout=60)

    def done(self, method: str, path: str, headers: dict[str, str] | None = None, **request: Any) -> httpx.Response:
        def attempt() -> httpx.Response | None:
            answer = self._edge.request(method, path, headers=headers, **request)
            return None if answer.status_code == 503 else answer

        answer = until(attempt, f"{method} {path} is answered")
        assert answer.is_success, answer.text
        return answer

    def room(self) -> int:
        return int(self.done("POST", "/v1/rooms", json={"name": "Tea"}).json()["room_id"])

    def post(self, room: int, text: str) -> str:
        """Returns the message's position."""
        headers = {"Idempotency-Key": secrets.token_hex(8)}
        answer = self.done("POST", f"/v1/rooms/{room}/messages", headers, json={"text": text})
        return answer.headers["Falcon-Position"]

    def texts(self, room: int, position: str) -> list[str]:
        headers = {"Falcon-Position": position, "Falcon-Wait": "10"}
        return [each["text"] for each in self.done("GET", f"/v1/rooms/{room}/messages", headers).json()["messages"]]


@pytest.fixture(scope="module")
def ann(cluster: Cluster) -> Ann:
    return Ann(cluster)


@pytest.mark.parametrize("front", [FRONT])
def test_messages_are_sent_and_read_with_the_documented_rights_and_no_others(ann: Ann, front: str) -> None:
    room = ann.room()
    positions = [ann.post(room, text) for text in ("Who wants tea?", "I do.")]
    assert ann.texts(room, positions[-1]) == ["Who wants tea?", "I do."]


def test_an_owner_that_was_killed_has_its_place_taken_at_once_with_those_rights(cluster: Cluster, ann: Ann) -> None:
    room = ann.room()
    ann.post(room, "before")
    cluster.process("write", 1).kill()
    cluster.await_ready(cluster.start("write", 1))
    position = ann.post(room, "after")
    ann.done("POST", f"/v1/rooms/{room}/typing")  # which goes by a topic of its own
    assert ann.texts(room, position) == ["before", "after"]
    logs = [path.read_text() for path in (cluster.folder / "falcon" / "log").glob("*.log")]
    assert len(logs) == 3 and not [line for log in logs for line in log.splitlines() if "Authorization" in line]


def test_passwords_and_the_brokers_certificate_are_changed_while_falcon_runs(
    secured: Secured, cluster: Cluster, ann: Ann
) -> None:
    room = ann.room()
    ann.post(room, "before")
    change_passwords(secured, [f"falcon-{role}" for role in ("write", "project", "api")])
    secured.kafka.kill(1)  # so that everything has to connect again
    secured.kafka.up(1)  # with a new certificate
    position = ann.post(room, "after")
    assert ann.texts(room, position) == ["before", "after"]
    assert all(len(cluster.processes(role)) == 1 for role in ("write", "project", "api"))


def change_passwords(secured: Secured, users: list[str]) -> None:
    before = {user: secured.passwords[user] for user in users}
    secured.passwords |= {user: secrets.token_urlsafe(24) for user in users}
    secured.kafka.change_passwords({user: secured.passwords[user] for user in users})
    for user in users:
        write_secret(secured.password_file(user), secured.passwords[user])
        old = secured.folder / f"{user}.old"
        write_secret(old, before[user])
        shut = partial(refusal, secured.cluster(user, old))
        until(lambda shut=shut: "does not let" in shut(), f"{user}'s old password is good no more")  # type: ignore[misc]


def test_no_password_and_no_key_is_in_any_log_error_page_or_metric(
    secured: Secured, cluster: Cluster, ann: Ann
) -> None:
    ann.post(ann.room(), "a message")
    kept = [*secured.passwords.values()]
    for key in secured.folder.glob("tls/*.key"):
        kept += [line for line in key.read_text().splitlines() if "-----" not in line]
    wrong = secured.folder / "wrong.password"
    write_secret(wrong, secrets.token_urlsafe(24))
    kept.append(wrong.read_text())
    shown: dict[str, str] = {}
    for settings in (
        {"FALCON_KAFKA_PASSWORD_FILE": str(wrong)},
        {"FALCON_KAFKA_PASSWORD_FILE": str(wrong), "FALCON_KAFKA_SASL_MECHANISM": "PLAIN"},
        {"FALCON_KAFKA": f"127.0.0.1:{secured.kafka.port}"},
        {"FALCON_KAFKA_CA": str(secured.password_file("falcon-api"))},
        {"FALCON_HBASE_KEY": str(secured.password_file("falcon-api"))},
        {"FALCON_KAFKA_PASSWORD_FILE": str(secured.authority.issue("other").key)},
        {"FALCON_KAFKA_USER": "", "FALCON_KAFKA_SASL_MECHANISM": "GSSAPI"},
    ):
        shown[f"prepare {settings}"] = said = failing(cluster, settings, "prepare")
        assert "Traceback" not in said and "FALCON_" in said, said
    for path in (cluster.folder / "falcon" / "log").glob("*.log"):
        shown[path.name] = path.read_text()
    for role in ("api", "write", "project"):
        (process,) = cluster.processes(role)
        shown |= pages(cluster.ops_url(process))
        shown[f"command of {role}"] = Path(f"/proc/{process.pid()}/cmdline").read_text()
        shown[f"environment of {role}"] = Path(f"/proc/{process.pid()}/environ").read_text()
    assert [where for where, text in shown.items() for secret in kept if secret in text] == []


def pages(ops: str) -> dict[str, str]:
    paths = ["/metrics", *(f"/debug{page}" for page in ("", "/dispatchers", "/shards", "/stacks", "/heap"))]
    return {f"{ops}{path}": httpx.get(f"{ops}{path}", timeout=60).text for path in paths}


def failing(cluster: Cluster, settings: dict[str, str], command: str) -> str:
    """The message of a command that must fail."""
    environment = {**os.environ, **cluster.environment(command), **settings}
    done = subprocess.run(
        [sys.executable, "-m", "falcon", command], env=environment, cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    assert done.returncode in (1, 2), done.stdout + done.stderr
    return done.stdout + done.stderr


# --- rights -----------------------------------------------------------------------------------------------------------


def spare_user(secured: Secured) -> str:
    return next(user for user in iter(lambda: f"spare-{next(_spare)}", "") if user in secured.passwords)


_spare = iter(range(_SPARE))


def test_an_operator_who_may_not_make_topics_is_told_so(secured: Secured) -> None:
    user = spare_user(secured)
    asyncio.run(secured.allow([Right(f"User:{user}", "topic", "other.", "prefixed", "Describe")]))
    cluster = secured.cluster(user)
    other = KafkaCluster(cluster.brokers, 1, "other.", security=cluster.security)
    told = "Kafka refuses to create the topic other.journal"
    until(lambda: told in refusal(other, topics.prepare(other, 1)), told)


def test_a_missing_right_is_an_error_that_names_the_topic(secured: Secured) -> None:
    cluster = secured.cluster("falcon-api")

    async def written() -> None:
        producer = Producer(cluster)
        try:
            with pytest.raises(NotWritten, match=r"falcon\.journal.*TopicAuthorizationFailed"):
                await producer.write(cluster.journal, 0, [(None, b"nothing")])
        finally:
            await producer.close()

    async def read() -> None:
        reader = Reader(cluster, cluster.snapshots)
        try:
            with pytest.raises(JournalUnavailable, match=r"cannot read falcon\.snapshots: TopicAuthorizationFailed"):
                await reader.records({0: 0}, 1, 5)
        finally:
            await reader.close()

    asyncio.run(written())
    asyncio.run(read())


# --- who is let in ----------------------------------------------------------------------------------------------------


def refusal(cluster: KafkaCluster, attempt: Any = None) -> str:
    """The message about a refused login; empty if the login succeeds."""
    try:
        asyncio.run(topics.check(cluster) if attempt is None else attempt)
    except (JournalUnavailable, topics.WrongTopics) as error:
        return str(error)
    return ""


@pytest.mark.parametrize("mechanism", ["SCRAM-SHA-512", "PLAIN"])
def test_a_user_with_the_password_is_let_in_and_one_without_is_told_why(
    secured: Secured, mechanism: str, caplog: pytest.LogCaptureFixture
) -> None:
    user = "falcon-operator"
    caplog.set_level(logging.DEBUG, "aiokafka")  # which would write down all that it sends
    assert refusal(secured.cluster(user, mechanism=mechanism)) == ""
    assert secured.passwords[user] not in caplog.text and "SaslAuthenticate" not in caplog.text
    wrong = secured.folder / "nobodys.password"
    write_secret(wrong, "a password of nobody's")
    said = refusal(secured.cluster(user, wrong, mechanism))
    assert "does not let falcon-operator in" in said and "FALCON_KAFKA_PASSWORD_FILE" in said
    assert wrong.read_text() not in said


def test_a_password_that_is_written_to_the_file_is_used_by_the_next_connection(secured: Secured) -> None:
    """One client before and after: a process does not make another one when a password is changed."""
    path = secured.folder / "renewed.password"
    write_secret(path, "a password of nobody's")
    words = SecretFile(path)
    tls = client_tls(secured.authority.certificate, None, None)
    security = Security(tls, "falcon-operator", "SCRAM-SHA-512", lambda: words()[0].decode())
    cluster = KafkaCluster((secured.kafka.bootstrap,), PARTITIONS, security=security)

    async def until_let_in() -> None:
        admin = cluster.admin()
        with pytest.raises(Exception, match="does not let falcon-operator in"):
            await admin.start()
        path.write_text(secured.passwords["falcon-operator"])

        async def is_let_in() -> bool:
            try:
                await admin.start()
            except OSError:
                raise
            except Exception:
                return False
            return True

        await eventually(is_let_in, "the right password is taken", every=0.05)
        assert await admin.describe_topics([cluster.journal])
        await admin.close()

    asyncio.run(until_let_in())


def test_a_reader_stops_though_the_broker_still_holds_its_question_back(secured: Secured) -> None:
    """A broker that waits for news hears nothing else of a connection meanwhile, TLS's goodbye neither."""
    cluster = secured.cluster("falcon-operator")

    async def stopped() -> None:
        consumer = cluster.consumer(fetch_max_wait_ms=60_000, request_timeout_ms=90_000)
        await consumer.start()
        end = TopicPartition(cluster.owners, 0)
        consumer.assign([end])
        await consumer.seek_to_end(end)
        await consumer.getmany(timeout_ms=500)
        await consumer.stop()

    asyncio.run(stopped())


def test_a_broker_is_known_by_its_name_and_its_authority(secured: Secured, tmp_path: Path) -> None:
    cluster = secured.cluster("falcon-operator")
    by_address = KafkaCluster((f"127.0.0.1:{secured.kafka.port}",), PARTITIONS, security=cluster.security)
    assert "no TLS with Kafka at 127.0.0.1" in refusal(by_address) and "not valid for" in refusal(by_address)
    stranger = Authority(tmp_path, "stranger")
    said = refusal(secured.certified(secured.authority.issue("admin"), stranger.certificate))
    assert "no TLS with Kafka at localhost" in said and "FALCON_KAFKA_CA" in said


def test_a_client_with_a_certificate_needs_no_password_and_one_without_is_not_let_in(
    secured: Secured, tmp_path: Path
) -> None:
    assert refusal(secured.certified(secured.authority.issue("admin"))) == ""
    assert "FALCON_KAFKA_CERT" in refusal(secured.certified(None))
    assert "FALCON_KAFKA_CERT" in refusal(secured.certified(Authority(tmp_path, "stranger").issue("admin")))


def test_without_tls_nobody_gets_in(secured: Secured) -> None:
    assert "no Kafka answers" in refusal(KafkaCluster((secured.kafka.bootstrap,), PARTITIONS))
