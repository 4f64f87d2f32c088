"""Mention it with "tea or coffee?", and it chooses: once, however often it is killed and started again in between.

FALCON_URL=http://127.0.0.1:8080 FALCON_TOKEN=… python examples/choosing_bot.py PLACE  (a file: how far it has got)"""

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from random import Random

from falcon_chat import Event, FalconClient, MessagePosted, Problem, ResumeRefused


async def events(falcon: FalconClient, resume: str | None) -> AsyncIterator[Event]:
    try:
        async for event in falcon.stream(resume=resume):
            yield event
    except ResumeRefused:  # Falcon was restored from a copy: what it was asked since then has gone with the history
        async for event in falcon.stream():
            yield event


async def run(place: Path, resume: str | None) -> None:
    async with FalconClient(os.environ["FALCON_URL"].split(","), os.environ["FALCON_TOKEN"]) as falcon:
        me = (await falcon.me()).account_id
        async for event in events(falcon, resume):
            if isinstance(event, MessagePosted) and me in event.message.mentions:
                asked, key = event.message, f"choice-{event.message.room_id}-{event.message.seq}"
                choice = Random(key).choice(asked.text.rstrip("?").split(" or "))  # the same key gives the same choice
                with suppress(Problem):  # it may have been removed from the room meanwhile
                    await falcon.post(asked.room_id, f"I'd say: {choice}", reply_to=asked.seq, key=key)
            place.with_suffix(".new").write_text(event.id)
            place.with_suffix(".new").rename(place)  # a rename is atomic: the file never has half an id


if len(sys.argv) != 2:
    sys.exit(f"usage: {sys.argv[0]} PLACE  (a file: how far the bot has got)")
path = Path(sys.argv[1])
asyncio.run(run(path, path.read_text() if path.exists() else None))
