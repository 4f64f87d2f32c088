"""People use a cluster while its parts move or are away."""

import asyncio
import json
import os
import secrets
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from falcon.read.catalogue import READ_MODELS
from tests.cluster.conftest import PARTITIONS
from tests.support.beginning import beginning_with
from tools.servers.cluster import Cluster
from tools.servers.daemon import ServerFault
from tools.servers.hbase import HBase
from tools.servers.kafka import Kafka

pytestmark = [pytest.mark.processes, pytest.mark.timeout(600)]

Run = Callable[[Callable[["Caller"], Awaitable[None]]], None]


class Caller:
    """An account that talks to both edges."""

    def __init__(self, urls: list[str], token: str) -> None:
        headers = {"Authorization": f"Bearer {token}"}
        # A connection for each request: on a busy machine httpx closes an idle one that it has just given to a request.
        limits = httpx.Limits(max_keepalive_connections=0)
        # There is no TLS, and to make a context takes 20 ms.
        self.edges = [
            httpx.AsyncClient(base_url=url, headers=headers, timeout=60, limits=limits, verify=False) for url in urls
        ]
        self.account_id = 0

    async def close(self) -> None:
        for edge in self.edges:
            await edge.aclose()

    async def done(self, edge: int, method: str, path: str, **request: Any) -> Any:
        """Retry until it is answered. It may not be possible for a moment; it is never denied."""
        if method == "POST":  # nothing is to be made twice
            request["headers"] = {"Idempotency-Key": secrets.token_hex(8)}
        while (answer := await self.edges[edge].request(method, path, **request)).status_code == 503:
            await asyncio.sleep(0.05)
        assert answer.is_success, f"{method} {path}: {answer.status_code} {answer.text}"
        return answer.json()

    async def room(self) -> int:
        return int((await self.done(0, "POST", "/v1/rooms", json={"name": "Tea kitchen"}))["room_id"])

    async def post(self, room: int, text: str, key: str, edge: int = 0) -> httpx.Response:
        body, headers = {"text": text}, {"Idempotency-Key": key.replace(" ", "-")}
        return await self.edges[edge].post(f"/v1/rooms/{room}/messages", json=body, headers=headers)

    async def post_until_done(self, room: int, text: str, key: str, edge: int = 0) -> httpx.Response:
        """Post like a client that was told to retry with the same key."""
        while (answer := await self.post(room, text, key, edge)).status_code == 503:
            await asyncio.sleep(0.05)
        assert answer.status_code == 201, answer.text
        return answer

    async def texts(self, room: int, edge: int = 0, position: str | None = None) -> list[str]:
        headers = {} if position is None else {"Falcon-Position": position, "Falcon-Wait": "10"}
        texts: list[str] = []
        while True:
            query = {"after": len(texts), "limit": 200}
            page = await self.done(edge, "GET", f"/v1/rooms/{room}/messages", params=query, headers=headers)
            assert [m["seq"] for m in page["messages"]] == list(
                range(len(texts) + 1, len(texts) + 1 + len(page["messages"]))
            )
            texts += [message["text"] for message in page["messages"]]
            if not page["has_after"]:
                return texts


async def newcomer(admin: Caller, urls: list[str], edge: int) -> Caller:
    made = await admin.done(edge, "POST", "/v1/accounts", json={"name": "New"})
    caller = Caller(urls, made["token"])
    caller.account_id = made["account_id"]
    return caller


@pytest.fixture
def run(described: dict[str, Any]) -> Run:
    async def running(scenario: Callable[[Caller], Awaitable[None]]) -> None:
        caller = Caller(described["urls"], described["token"])
        try:
            await scenario(caller)
        finally:
            await caller.close()

    return lambda scenario: asyncio.run(running(scenario))


def test_what_is_sent_through_one_edge_is_read_through_the_other(run: Run) -> None:
    async def scenario(ann: Caller) -> None:
        room = await ann.room()
        answers = [await ann.post(room, f"{i}", f"one edge {i}") for i in range(30)]
        assert [answer.status_code for answer in answers] == [201] * 30, [answer.text for answer in answers]
        assert [answer.json()["seq"] for answer in answers] == list(range(1, 31))
        position = answers[-1].headers["Falcon-Position"]
        assert await ann.texts(room, edge=1, position=position) == [f"{i}" for i in range(30)]

    run(scenario)


def test_a_retry_through_the_other_edge_is_told_the_same_and_does_nothing(run: Run) -> None:
    async def scenario(ann: Caller) -> None:
        room = await ann.room()
        first = await ann.post(room, "hello", "a retry")
        again = await ann.post(room, "hello", "a retry", edge=1)
        assert (again.status_code, again.json()) == (201, first.json())
        assert again.headers["Idempotency-Replayed"] == "true"
        other = await ann.post(room, "something else", "a retry", edge=1)
        assert (other.status_code, other.json()["code"]) == (422, "idempotency_key_reused")

    run(scenario)


def test_what_one_edge_has_acknowledged_the_other_one_never_denies(described: dict[str, Any]) -> None:
    async def newcomers(admin: Caller, number: int) -> None:
        """Two come, and are met at once at the edge that has not made them."""
        here, there = number % 2, 1 - number % 2
        ann, bob = [await newcomer(admin, described["urls"], here) for _ in range(2)]
        for who in (ann, bob):
            assert (await who.done(there, "GET", "/v1/me"))["account_id"] == who.account_id
        members = [{"account_id": bob.account_id}]
        room = await ann.done(there, "POST", "/v1/rooms", json={"name": "Tea kitchen", "members": members})
        path = f"/v1/rooms/{room['room_id']}"
        assert (await bob.done(here, "GET", path))["role"] == "member"
        one, other = await asyncio.gather(
            ann.done(here, "PUT", f"/v1/direct/{bob.account_id}"),
            bob.done(there, "PUT", f"/v1/direct/{ann.account_id}"),
        )
        assert one["room_id"] == other["room_id"]
        said = await bob.done(there, "POST", f"{path}/messages", json={"text": "hello"})
        assert await ann.done(here, "GET", f"{path}/messages/{said['seq']}") == said
        await ann.close()
        await bob.close()

    async def scenario() -> None:
        admin = Caller(described["urls"], described["admin_token"])
        await asyncio.gather(*(newcomers(admin, number) for number in range(20)))
        await admin.close()

    asyncio.run(scenario())


def test_what_is_nowhere_is_not_found_in_every_partition(run: Run) -> None:
    async def scenario(ann: Caller) -> None:
        for partition in range(PARTITIONS):
            nowhere = 1_000_000 * PARTITIONS + partition
            for path in (f"/v1/rooms/{nowhere}", f"/v1/rooms/{nowhere}/messages"):
                answer = await ann.edges[partition % 2].get(path)
                assert (answer.status_code, answer.json()["code"]) == (404, "room_not_found")
            answer = await ann.edges[0].put(f"/v1/direct/{nowhere}")
            assert (answer.status_code, answer.json()["code"]) == (404, "account_not_found")

    run(scenario)


def test_owners_come_and_go_under_load_and_nothing_is_lost_doubled_or_refused_for_good(
    run: Run, cluster: Cluster
) -> None:
    async def scenario(ann: Caller) -> None:
        rooms = [await ann.room() for _ in range(8)]
        ending = asyncio.Event()
        sent: dict[int, list[str]] = {room: [] for room in rooms}

        async def chat(room: int) -> None:
            while not ending.is_set():
                text = f"{len(sent[room])}"
                await ann.post_until_done(room, text, f"moving {room} {text}", edge=len(sent[room]) % 2)
                sent[room].append(text)

        chatting = [asyncio.create_task(chat(room)) for room in rooms]
        for count in (3, 2, 1):
            await asyncio.to_thread(cluster.scale, "write", count)
            for process in cluster.processes("write"):
                await asyncio.to_thread(cluster.await_ready, process)
            seen = {room: len(texts) for room, texts in sent.items()}
            while any(len(sent[room]) < seen[room] + 10 for room in rooms):  # every partition serves again
                await asyncio.sleep(0.05)
        ending.set()
        await asyncio.gather(*chatting)
        for room in rooms:
            last = await ann.post_until_done(room, "the end", f"moving {room} the end")
            position = last.headers["Falcon-Position"]
            assert await ann.texts(room, 0, position) == [*sent[room], "the end"]
            assert await ann.texts(room, 1, position) == [*sent[room], "the end"]

    run(scenario)


def test_an_owner_that_is_killed_is_started_again_and_finds_everything(run: Run, cluster: Cluster) -> None:
    async def scenario(ann: Caller) -> None:
        room = await ann.room()
        for i in range(20):
            await ann.post_until_done(room, f"{i}", f"killed {i}")
        (owner,) = cluster.processes("write")
        owner.kill()
        cluster.start("write", 1)
        for i in range(20, 40):
            last = await ann.post_until_done(room, f"{i}", f"killed {i}")
        again = await ann.post(room, "7", "killed 7", edge=1)
        assert (again.status_code, again.json()["seq"]) == (201, 8)
        assert await ann.texts(room, 1, last.headers["Falcon-Position"]) == [f"{i}" for i in range(40)]

    run(scenario)


def test_sending_goes_on_while_the_read_tables_are_away_and_reading_is_refused_in_time(
    run: Run, cluster: Cluster, hbase: HBase
) -> None:
    async def scenario(ann: Caller) -> None:
        room = await ann.room()
        sent = ["before"]
        await ann.post_until_done(room, "before", "away 0")
        for gateway in ("thrift1", "thrift2"):
            hbase.pause(gateway)
        try:
            began = time.monotonic()
            while time.monotonic() < began + 4:  # longer than who asks is remembered
                answer = await ann.post(room, f"{len(sent)}", f"away {len(sent)}")
                assert answer.status_code == 201, answer.text
                sent.append(answer.json()["text"])
            reading = await ann.edges[0].get(f"/v1/rooms/{room}/messages")
            assert (reading.status_code, reading.json()["code"]) == (503, "unavailable")
            assert reading.headers["Retry-After"]
            assert reading.elapsed.total_seconds() < 10
        finally:
            for gateway in ("thrift1", "thrift2"):
                hbase.resume(gateway)
        last = await ann.post_until_done(room, "after", "away after")
        assert await ann.texts(room, 1, last.headers["Falcon-Position"]) == [*sent, "after"]

    run(scenario)


def test_reading_goes_on_while_the_log_is_away_and_sending_is_refused_in_time(run: Run, kafka: Kafka) -> None:
    async def scenario(ann: Caller) -> None:
        room = await ann.room()
        last = await ann.post_until_done(room, "before", "no log 0")
        await ann.texts(room, 0, last.headers["Falcon-Position"])
        for node in (1, 2, 3):
            kafka.pause(node)
        try:
            sending = asyncio.create_task(ann.post(room, "meanwhile", "no log 1"))
            for _ in range(20):
                assert await ann.texts(room, 0) == ["before"]
            refused = await sending
            assert (refused.status_code, refused.json()["code"]) == (503, "outcome_unknown")
            assert refused.elapsed.total_seconds() < 10
        finally:
            for node in (1, 2, 3):
                kafka.resume(node)
        last = await ann.post_until_done(room, "meanwhile", "no log 1")
        assert await ann.texts(room, 1, last.headers["Falcon-Position"]) == ["before", "meanwhile"]

    run(scenario)


def test_the_tables_are_rebuilt_and_verified_while_they_are_in_use(run: Run, cluster: Cluster) -> None:
    async def scenario(ann: Caller) -> None:
        room = await ann.room()
        for i in range(60):
            last = await ann.post_until_done(room, f"{i}", f"rebuilt {i}")
        await ann.texts(room, 0, last.headers["Falcon-Position"])
        said = await asyncio.to_thread(cluster.falcon, "rebuild", "timeline")
        assert "Rebuilt timeline" in said
        assert await ann.texts(room, 1, last.headers["Falcon-Position"]) == [f"{i}" for i in range(60)]
        said = await asyncio.to_thread(cluster.falcon, "verify")
        assert said.count("0 missing, 0 wrong") == len(READ_MODELS), said

    run(scenario)


def test_only_what_a_projection_has_stopped_at_can_be_skipped(cluster: Cluster, described: dict[str, Any]) -> None:
    with pytest.raises(ServerFault, match="has not stopped there"):
        cluster.falcon("skip", "timeline", "0", "5", "--reason", "a test")


# --- what may be set wrongly ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("role", "settings", "said"),
    [
        ("write", {"FALCON_KAFKA_PREFIX": "elsewhere."}, "topic elsewhere.journal is not there: run falcon prepare"),
        ("project", {"FALCON_PARTITIONS": "5"}, "topic tea.journal has 4 partitions, not 5"),
        ("api", {"FALCON_PARTITIONS": "5"}, "topic tea.journal has 4 partitions, not 5"),
        ("write", {"FALCON_KAFKA": "127.0.0.1:1"}, "no Kafka answers at 127.0.0.1:1"),
        ("api", {"FALCON_HBASE_PREFIX": "elsewhere"}, "elsewhere_meta: run falcon prepare"),
    ],
)
def test_a_wrong_setting_is_said_in_a_line_and_nothing_runs(
    cluster: Cluster, role: str, settings: dict[str, str], said: str
) -> None:
    assert said in refusal(cluster, role, settings)


def test_an_edge_that_looks_for_the_log_in_the_wrong_place_serves_reads_and_takes_nobodys_place(
    cluster: Cluster, described: dict[str, Any]
) -> None:
    wrong = {"FALCON_KAFKA": "127.0.0.1:1", "FALCON_HTTP_PORT": "0", "FALCON_OPS_PORT": "0"}
    command = [sys.executable, "-m", "falcon", "api", "--json"]
    environment = {**os.environ, **cluster.environment(), **wrong, "FALCON_DATA_DIR": str(cluster.folder / "wrong")}
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE) as edge:
        assert edge.stdout is not None
        try:
            where = json.loads(edge.stdout.readline())
            with httpx.Client(timeout=60, verify=False) as http:  # there is no TLS
                read = http.get(f"{where['url']}/v1/rooms", headers={"Authorization": f"Bearer {described['token']}"})
                probes = [
                    http.get(f"{where['ops_url']}/{probe}").status_code for probe in ("startupz", "livez", "readyz")
                ]
        finally:
            edge.terminate()
    assert (read.status_code, probes) == (200, [200, 200, 503])


def test_gateways_that_do_not_answer_are_said_in_a_line_and_nothing_runs(cluster: Cluster, tmp_path: Path) -> None:
    """They are looked for for half a minute, and here for two seconds."""
    impatient = beginning_with(
        tmp_path / "first", "from falcon.adapters.hbase import prepare\n\nprepare._SECONDS = 2.0\n"
    )
    assert "127.0.0.1:1" in refusal(cluster, "project", {"FALCON_HBASE": "127.0.0.1:1", **impatient})


def test_tables_of_another_log_are_refused(cluster: Cluster, described: dict[str, Any]) -> None:
    with pytest.raises(ServerFault, match="log"):
        cluster.falcon_with({"FALCON_KAFKA_PREFIX": "another."}, "prepare")


def refusal(cluster: Cluster, role: str, settings: dict[str, str]) -> str:
    """The message of a role that does not start: a line or a few, and no traceback."""
    ports = {"FALCON_HTTP_PORT": "0", "FALCON_OPS_PORT": "0", "FALCON_INTERNAL_PORT": "0"}
    data = {"FALCON_DATA_DIR": str(cluster.folder / f"wrong-{role}")}
    with pytest.raises(ServerFault) as fault:
        cluster.falcon_with({**settings, **ports, **data}, role)
    said = str(fault.value)
    assert "Traceback" not in said
    assert len(said.splitlines()) <= 7, said
    return said
