"""Attacks by one account whose requests are few and small, and cost the server much."""

import asyncio
import json
import random
import re
from typing import Final
from urllib.parse import quote

from tools.attack.attacks import Attack, Counts, Streams, Target, connection, request_and_answer, send

_EMOJI: Final = ("👍", "👎", "😀", "🎉", "🚀", "👀", "🍵", "🔥", "💯", "🙏")
_LARGE_BYTES: Final = 60_000
_ID: Final = re.compile(rb"^id: (\S+)", re.MULTILINE)
_BACKLOG: Final = 60  # messages of 60 KB: more than a client may get again


async def resumes(target: Target, counts: Counts) -> None:
    """Resumes a stream behind its own large messages, again and again, from two places: a client may get again what
    lies behind one, and too much lies behind the other."""
    places = [await _place(target, counts)]
    for messages in (10, _BACKLOG):
        async with connection(target) as streams:
            for _ in range(messages):
                body = {"text": "x" * _LARGE_BYTES}
                await request_and_answer(streams, counts, target.post(f"/v1/rooms/{target.room}/messages", body))
        places.append(await _place(target, counts))
    for _ in range(200):
        async with connection(target) as streams:
            await _events(target, streams, counts, f"Last-Event-ID: {random.choice(places)}")


async def _place(target: Target, counts: Counts) -> str:
    """The id of a stream's first event. Raises ConnectionError if it is refused."""
    async with connection(target) as streams:
        found = _ID.search(await _events(target, streams, counts))
    if found is None:
        raise ConnectionError("no stream")
    return found[1].decode()


async def _events(target: Target, streams: Streams, counts: Counts, *fields: str) -> bytes:
    """The beginning of a stream, until it is live."""
    reader, writer = streams
    await send(writer, target.head("GET", "/v1/stream", *fields))
    seen = b""
    while not any(name in seen for name in (b"event: hello", b"event: caught_up", b"event: catch_up", b"rate_limited")):
        piece = await reader.read(1 << 20)
        if not piece:
            break
        counts["KiB of streams"] += len(piece) >> 10
        seen = seen[-1_000:] + piece
    counts["streams refused" if b"rate_limited" in seen else "streams begun"] += 1
    return seen


async def reaction_pages(target: Target, counts: Counts) -> None:
    """Reacts, and reads the page again with the ETag that it had: each reaction makes it another page."""
    path = f"/v1/rooms/{target.room}/messages"
    async with connection(target) as streams:
        for number in range(500):
            emoji = quote(random.choice(_EMOJI))
            method = random.choice(("PUT", "DELETE"))
            seq = random.randint(1, 18)
            if number % 5 == 0:
                await request_and_answer(streams, counts, target.head(method, f"{path}/{seq}/reactions/{emoji}"))
            await request_and_answer(streams, counts, target.head("GET", f"{path}?limit=200", 'If-None-Match: "1"'))


async def watches(target: Target, counts: Counts) -> None:
    """Opens streams that watch five hundred strangers, and leaves them at once."""
    watched = ",".join(str(target.stranger + number) for number in range(500))
    for _ in range(200):
        async with connection(target) as (reader, writer):
            await send(writer, target.head("GET", f"/v1/stream?watch={watched}"))
            counts[(await reader.readuntil(b"\r\n"))[9:12].decode()] += 1


async def escapes(target: Target, counts: Counts) -> None:
    """Messages of control characters, each six times as long in JSON."""
    async with connection(target) as streams:
        for _ in range(100):
            body = {"text": "\x01" * _LARGE_BYTES}
            await request_and_answer(streams, counts, target.post(f"/v1/rooms/{target.room}/messages", body))
            await asyncio.sleep(0)


async def fills_the_disk(target: Target, counts: Counts) -> None:
    """The largest messages, as many as limits let through: their bytes of a day, not the disk, come to an end."""
    async with connection(target) as streams:
        for _ in range(200):
            body = {"text": "x" * _LARGE_BYTES}
            await request_and_answer(streams, counts, target.post(f"/v1/rooms/{target.room}/messages", body))


async def searches(target: Target, counts: Counts) -> None:
    """Searches for its most frequent words by relevance, and again."""
    async with connection(target) as streams:
        for _ in range(200):
            path = f"/v1/search?q={random.choice('xtab')}*&sort=relevance&limit=50"
            await request_and_answer(streams, counts, target.head("GET", path))


async def threads(target: Target, counts: Counts) -> None:
    """Starts a thread at each of its messages."""
    room = f"/v1/rooms/{target.room}"
    async with connection(target) as streams:
        for _ in range(100):
            status, body = await request_and_answer(
                streams, counts, target.post(f"{room}/messages", {"text": "x"}, f"Idempotency-Key: {random.random()}")
            )
            if status == 201:
                path = f"{room}/messages/{json.loads(body)['seq']}/thread"
                await request_and_answer(streams, counts, target.head("PUT", path))


COSTLY: Final = {
    "resumes": Attack(resumes, 8),
    "reaction pages": Attack(reaction_pages, 8),
    "watches of strangers": Attack(watches, 8),
    "escaped texts": Attack(escapes, 4),
    "a full disk": Attack(fills_the_disk, 4),
    "searches": Attack(searches, 8),
    "threads": Attack(threads, 8),
}
