"""Restoring and moving as docs/backups.md says it: copies of the stopped servers' data are put back, or an export is
imported elsewhere, and Falcon continues."""

import json
import os
import secrets
import shutil
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path

import httpx
import pytest

from falcon.read.catalogue import READ_MODELS
from tests.cluster.conftest import ports_for
from tools.harness.falcon import Falcon
from tools.harness.waiting import until
from tools.servers.cluster import ROLES, Cluster
from tools.servers.daemon import ServerFault
from tools.servers.hbase import HBase
from tools.servers.kafka import Kafka

pytestmark = [pytest.mark.processes, pytest.mark.timeout(600)]

_SECONDS = 60.0


class Deployment:
    """A small cluster on servers that may be stopped and copied."""

    def __init__(self, folder: Path, kafka: Kafka, hbase: HBase) -> None:
        self.folder = folder
        self.kafka = kafka
        self.hbase = hbase
        self.cluster = Cluster(
            folder / "falcon",
            ports=ports_for(kafka, hbase),
            partitions=2,
            settings={"FALCON_KAFKA_REPLICAS": "1", "FALCON_HBASE_CREATE_COMMAND": "", "FALCON_LOG_LEVEL": "info"},
            servers=(kafka, hbase),
        )
        described = self.cluster.up(counts=dict.fromkeys(ROLES, 1))
        headers = {"Authorization": f"Bearer {described['token']}"}
        self.http = httpx.Client(base_url=described["urls"][0], headers=headers, timeout=60)

    def start(self) -> None:
        for role in ROLES:
            self.cluster.scale(role, 1)
        for role in ROLES:
            self.cluster.await_ready(self.cluster.process(role, 1))

    def stop(self) -> None:
        self.cluster.down()

    def copy(self, server: Kafka | HBase) -> None:
        """Copy its data. It is stopped meanwhile."""
        server.stop()
        shutil.copytree(server.folder / "data", self._copy_of(server))
        server.start()

    def put_back(self, server: Kafka | HBase) -> None:
        server.stop()
        shutil.rmtree(server.folder / "data")
        shutil.copytree(self._copy_of(server), server.folder / "data")
        server.start()

    def _copy_of(self, server: Kafka | HBase) -> Path:
        return self.folder / f"copy of {server.folder.name}"

    def room(self) -> int:
        return int(self._done("/v1/rooms", {"name": "Tea kitchen"}).json()["room_id"])

    def post(self, room: int, *texts: str) -> list[int]:
        """The seqs they were given; until they can be read."""
        seqs = []
        for text in texts:
            answer = self._done(f"/v1/rooms/{room}/messages", {"text": text})
            seqs.append(int(answer.json()["seq"]))
        wait = {"Falcon-Position": answer.headers["Falcon-Position"], "Falcon-Wait": "10"}
        page = partial(self.http.get, f"/v1/rooms/{room}/messages", headers=wait)
        until(lambda: page().status_code == 200, f"room {room} can be read", _SECONDS)
        return seqs

    def _done(self, path: str, body: dict[str, str]) -> httpx.Response:
        """Asks again with the same key, as clients must."""
        key = {"Idempotency-Key": secrets.token_hex(8)}

        def asked() -> httpx.Response | None:
            try:
                answer = self.http.post(path, json=body, headers=key)
            except httpx.TransportError:  # a connection from before the restart
                return None
            return answer if answer.status_code == 201 else None

        return until(asked, f"{body} is done", _SECONDS)

    def texts(self, room: int) -> list[str]:
        page = self.http.get(f"/v1/rooms/{room}/messages", params={"after": 0, "limit": 200})
        assert page.status_code == 200, page.text
        return [message["text"] for message in page.json()["messages"]]

    def until_texts(self, room: int, *texts: str) -> None:
        def shows_them() -> bool:
            page = self.http.get(f"/v1/rooms/{room}/messages", params={"after": 0})
            return page.status_code == 200 and [each["text"] for each in page.json()["messages"]] == [*texts]

        until(shows_them, f"room {room} has {texts}", _SECONDS)

    def resume_token(self) -> str:
        with self.http.stream("GET", "/v1/stream") as stream:
            return next(line for line in stream.iter_lines() if line.startswith("id:")).removeprefix("id:").strip()

    def resumes(self, token: str) -> bool:
        """False if the token is refused."""
        with self.http.stream("GET", "/v1/stream", params={"resume": token}) as stream:
            if stream.status_code != 200:
                assert (stream.status_code, json.loads(stream.read())["code"]) == (400, "malformed")
            return stream.status_code == 200

    def until_projector_says(self, words: str) -> None:
        projector = self.cluster.process("project", 1)
        projector.wait_for(lambda: words in projector.said(), f"said {words!r}", _SECONDS)

    def transfer(self, command: str, file: Path, falcon: Mapping[str, str]) -> None:
        """Export from, or import into, the Falcon with this address and this admin's token."""
        at = {"FALCON_URL": falcon["url"], "FALCON_ADMIN_TOKEN": falcon["admin_token"]}
        self.cluster.falcon_with(at, command, str(file))

    def verified(self) -> bool:
        return self.cluster.falcon("verify").count("0 missing, 0 wrong") == len(READ_MODELS)


@pytest.fixture
def deployment(servers_folder: Path, small_kafka: Kafka, small_hbase: HBase) -> Iterator[Deployment]:
    for server in (small_kafka, small_hbase):
        server.start()
    before = {name: os.environ.pop(name) for name in list(os.environ) if name.startswith("FALCON_")}
    deployment = Deployment(servers_folder / "restoring", small_kafka, small_hbase)
    yield deployment
    for role in reversed(ROLES):
        for process in deployment.cluster.processes(role):
            process.kill()
    os.environ.update(before)


def test_older_copies_of_the_log_and_then_of_both_are_restored(deployment: Deployment) -> None:
    falcon = deployment.cluster.falcon
    room = deployment.room()
    deployment.post(room, "before 1", "before 2")
    kept = deployment.resume_token()
    deployment.stop()
    deployment.copy(deployment.kafka)
    deployment.copy(deployment.hbase)
    deployment.start()
    assert deployment.post(room, "after 3", "after 4", "after 5") == [3, 4, 5]
    token = deployment.resume_token()

    # An older log, and the tables as they are: nothing is made of that until the operator says that it was restored.
    deployment.stop()
    deployment.put_back(deployment.kafka)
    deployment.cluster.scale("project", 1)
    deployment.until_projector_says("the log has lost what the tables show")
    for command in (["rebuild", "timeline"], ["verify", "timeline"]):
        with pytest.raises(ServerFault, match=r"docs/backups\.md"):
            falcon(*command)
    with pytest.raises(ServerFault, match="write, project and forward first: the group projection-"):
        falcon("restored", "--yes")
    deployment.stop()
    deployment.cluster.scale("api", 1)
    deployment.cluster.await_ready(deployment.cluster.process("api", 1))
    with pytest.raises(ServerFault, match="write, project and forward first: an api sends signals"):
        falcon("restored", "--yes")
    deployment.stop()
    assert "start falcon project, write and api" in falcon("restored", "--yes")
    deployment.start()
    deployment.until_texts(room, "before 1", "before 2")
    assert deployment.post(room, "new 3", "new 4") == [3, 4]
    assert deployment.texts(room) == ["before 1", "before 2", "new 3", "new 4"]
    assert deployment.verified()
    assert not deployment.resumes(token)
    assert not deployment.resumes(kept)

    # Both as of one moment, as a snapshot of all volumes has them: the log knows by its starts that it went back.
    deployment.stop()
    deployment.put_back(deployment.kafka)
    deployment.put_back(deployment.hbase)
    deployment.start()
    deployment.until_texts(room, "before 1", "before 2")
    assert deployment.post(room, *(f"other {seq}" for seq in range(3, 13))) == [*range(3, 13)]
    assert not deployment.resumes(token)
    assert deployment.resumes(kept)


def test_a_cluster_that_takes_no_messages_moves_to_one_machine(deployment: Deployment, tmp_path: Path) -> None:
    room = deployment.room()
    deployment.post(room, "one", "two", "three")
    token = deployment.resume_token()
    described = deployment.cluster.describe()
    deployment.cluster.scale("write", 0)
    deployment.transfer("export", tmp_path / "cluster.jsonl", {**described, "url": described["urls"][0]})
    machine = Falcon(tmp_path / "data").start()
    try:
        deployment.transfer("import", tmp_path / "cluster.jsonl", machine.info)
        deployment.transfer("export", tmp_path / "machine.jsonl", machine.info)
        authorization = {"Authorization": f"Bearer {machine.info['token']}"}
        stream = httpx.get(f"{machine.info['url']}/v1/stream", params={"resume": token}, headers=authorization)
    finally:
        machine.stop()
    moved = messages(tmp_path / "machine.jsonl")
    assert {(1, "one"), (2, "two"), (3, "three")} <= set(moved)
    assert moved == messages(tmp_path / "cluster.jsonl")
    assert (stream.status_code, stream.json()["code"]) == (400, "malformed")


def messages(export: Path) -> list[tuple[int, str]]:
    """The seqs and texts of all rooms."""
    lines = [json.loads(line) for line in export.read_text().splitlines()]
    return sorted((line["seq"], line["text"]) for line in lines if line["type"] == "message")
