"""Operators' acts on the cluster while people chat and other things fail. Each act checks its result.

An act may have to be repeated while another fault is on. It must never end well with a wrong result.
"""

import asyncio
import itertools
import time
from random import Random
from typing import Final

import httpx

from falcon.read.catalogue import READ_MODELS
from tools.chaos.cluster import ChaosCluster, NotHealed
from tools.people.history import spoken
from tools.servers.daemon import ServerFault

_ACT_SECONDS: Final = 240.0  # other faults included
_AGAIN_SECONDS: Final = 1.0
_ALL_THERE: Final = "0 missing, 0 wrong"

_numbers = itertools.count(1)


async def export(cluster: ChaosCluster, chance: Random) -> None:
    """Make a backup. Its contents are judged when the run is over (``judge_export``)."""
    path = cluster.exports / f"{next(_numbers)}.jsonl"
    path.parent.mkdir(exist_ok=True)
    await _until_done(cluster, "export", str(path), "--url", ",".join(cluster.urls), "--token", cluster.admin_token)


async def verify(cluster: ChaosCluster, chance: Random) -> None:
    """The tables lack nothing, since none of the faults takes a row from them."""
    said = await _until_done(cluster, "verify")
    if said.count(_ALL_THERE) != len(READ_MODELS):
        raise NotHealed(f"falcon verify has found a difference: {said}")


async def rebuild(cluster: ChaosCluster, chance: Random) -> None:
    await _until_done(cluster, "rebuild", chance.choice(sorted(READ_MODELS)))


async def prepare(cluster: ChaosCluster, chance: Random) -> None:
    """Once more, as each deployment does."""
    await _until_done(cluster, "prepare")


async def skip(cluster: ChaosCluster, chance: Random) -> None:
    """A message in a room of the operator's own, skipped before a projection has come to it, is shown as missing, and
    no other is."""
    async with httpx.AsyncClient(trust_env=False, timeout=20) as http:
        room = (await _until_answered(http, cluster, "POST", "/v1/rooms", {"name": "Skipped"})).json()["room_id"]
        await cluster.scale_and_wait("project", 0)
        try:
            texts = texts_of(room)
            posted = [
                await _until_answered(http, cluster, "POST", f"/v1/rooms/{room}/messages", {"text": t}) for t in texts
            ]
            partition, offset = posted[1].headers["Falcon-Position"].split(":")
            await _until_done(cluster, "skip", "timeline", partition, offset, "--reason", "chaos", "--force")
            cluster.skipped.add((room, posted[1].json()["seq"]))
        finally:
            await cluster.scale_and_wait("project", 2)
        headers = {"Falcon-Position": posted[2].headers["Falcon-Position"], "Falcon-Wait": "10"}
        page = (await _until_answered(http, cluster, "GET", f"/v1/rooms/{room}/messages", headers=headers)).json()
    shown = [None if each.get("missing") else each["text"] for each in page["messages"]]
    if shown != [texts[0], None, texts[2]]:
        raise NotHealed(f"the second of {texts} was skipped, and the page of room {room} shows {shown}")


def texts_of(room: int) -> list[str]:
    """The texts of three messages in the operator's room, with names that no other room's have."""
    return [spoken(f"operator.{room}.{place}/0") for place in range(3)]


async def _until_done(cluster: ChaosCluster, *arguments: str) -> str:
    """Repeat the command until it succeeds. Returns its output. Raises NotHealed if it still fails after a while."""
    until = time.monotonic() + _ACT_SECONDS
    while True:
        try:
            return await asyncio.to_thread(cluster.falcon, *arguments)
        except ServerFault as failed:
            if time.monotonic() > until:
                raise NotHealed(f"for {_ACT_SECONDS:g} s {failed}") from failed
        await asyncio.sleep(_AGAIN_SECONDS)


async def _until_answered(
    http: httpx.AsyncClient,
    cluster: ChaosCluster,
    method: str,
    path: str,
    body: dict[str, str] | None = None,
    headers: dict[str, str] | None = None,
) -> httpx.Response:
    """Repeat the request at all edges until one answers. Raises NotHealed."""
    key = {} if body is None else {"Idempotency-Key": f"operator-{next(_numbers)}"}
    until = time.monotonic() + _ACT_SECONDS
    for url in itertools.cycle(cluster.urls):
        try:
            answer = await http.request(
                method,
                url + path,
                json=body,
                headers={"Authorization": f"Bearer {cluster.admin_token}", **key, **(headers or {})},
            )
        except httpx.HTTPError:
            pass
        else:
            if answer.is_success:
                return answer
            if answer.status_code not in (429, 503):
                raise NotHealed(f"{method} {path} was denied: {answer.status_code} {answer.text}")
        if time.monotonic() > until:
            raise NotHealed(f"{method} {path} was not answered for {_ACT_SECONDS:g} s")
        await asyncio.sleep(_AGAIN_SECONDS)
    raise AssertionError
