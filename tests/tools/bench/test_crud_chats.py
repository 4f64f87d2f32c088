"""The hand-written chat that the benchmark runs beside Falcon, on a PostgreSQL of its own."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tools.bench.neighbours import CrudServer, prove
from tools.bench.peers.postgres import PostgresMissing, find_binaries
from tools.harness.calls import Caller
from tools.harness.machine import Cores
from tools.harness.running import running
from tools.harness.servers import Targets

pytestmark = pytest.mark.processes


@pytest.fixture(scope="module")
def chat() -> Iterator[tuple[CrudServer, Targets]]:
    """A chat that runs, and its rooms with the tokens of members."""
    try:
        find_binaries()
    except PostgresMissing as missing:
        pytest.skip(str(missing))
    folder = Path(tempfile.mkdtemp(prefix="falcon-crud-", dir="/var/tmp"))
    folder.chmod(0o711)  # PostgreSQL's user has to pass through
    core = min(os.sched_getaffinity(0))
    try:
        server = CrudServer(core, folder)
        with running([server], Cores(core, core)):
            yield server, server.fill(rooms=3, accounts=2)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def test_it_keeps_what_it_acknowledges_and_answers_a_retry_alike(chat: tuple[CrudServer, Targets]) -> None:
    server, targets = chat
    assert b'"has_before":false,"has_after":false' in prove(server, targets)


def test_a_page_goes_back_from_a_message(chat: tuple[CrudServer, Targets]) -> None:
    server, targets = chat
    room, token = targets[0]
    caller = Caller(server.address, token)
    seqs = [caller.must("POST", f"/v1/rooms/{room}/messages", {"text": "Tea?"}).json()["seq"] for _ in range(3)]
    page = caller.must("GET", f"/v1/rooms/{room}/messages?limit=2&before={seqs[-1]}").json()
    caller.close()
    assert [message["seq"] for message in page["messages"]] == seqs[:2]
    assert page["has_after"]


def test_a_room_is_hidden_from_accounts_that_are_no_members(chat: tuple[CrudServer, Targets]) -> None:
    server, targets = chat
    caller = Caller(server.address, targets[0][1])
    path = f"/v1/rooms/{max(room for room, _ in targets) + 1}/messages"
    refused = [caller.call("GET", path).status, caller.call("POST", path, {"text": "Hello?"}).status]
    caller.close()
    assert refused == [404, 404]
