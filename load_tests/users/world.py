"""Prepares the chat: imports its past, and gives each of its accounts a token."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Final

from falcon.cli.importing import import_lines
from falcon_chat import FalconClient, Imported, Problem, Unreachable
from load_tests.users.stage import World
from tools.harness.generate import Past, account_ref, room_ref

_LOOK_SECONDS: Final = 5.0
_IMPORT_SECONDS: Final = 120.0
_AT_ONCE: Final = 16


class NotReady(Exception):
    """There is no Falcon to test. The message says what there is instead, in one line."""


async def look(urls: Sequence[str], admin_token: str, token: str | None) -> None:
    """Check that Falcon answers, is ready, and knows these tokens. Raises NotReady."""
    for url in urls:
        for name, each in (("FALCON_ADMIN_TOKEN", admin_token), ("FALCON_TOKEN", token)):
            if each is not None:
                await _look(url, name, each)


async def _look(url: str, name: str, token: str) -> None:
    try:
        async with FalconClient(url, token, timeout=_LOOK_SECONDS) as falcon:
            me = await falcon.me()
    except ValueError as wrong:  # no address, or no token
        raise NotReady(f"{url}, {name}: {wrong}") from wrong
    except Problem as problem:
        if problem.status == 401:
            raise NotReady(f"{url} does not know the token in {name}") from problem
        raise NotReady(f"what answers at {url} is no Falcon: {problem}") from problem
    except Unreachable as silent:
        if isinstance(silent.last, Problem):
            raise NotReady(f"the Falcon at {url} is not ready: {silent.last}") from silent
        raise NotReady(f"nothing answers: {silent.last}; start a Falcon there, or correct FALCON_URL") from silent
    if name == "FALCON_ADMIN_TOKEN" and not me.is_admin:
        raise NotReady(f"{url}: the token in {name} is that of {me.name}, who is no admin")


async def make(urls: Sequence[str], admin_token: str, past: Past, seed: int, pace: float) -> World:
    """The same past is brought in once, however often this is asked for. Raises NotReady."""
    known = Imported({}, {}, 0, 0)
    try:
        async with FalconClient(urls, admin_token, timeout=_IMPORT_SECONDS) as admin:

            async def send(lines: bytes) -> Imported:
                answer = await admin.import_lines(lines)
                known.accounts.update(answer.accounts)
                known.rooms.update(answer.rooms)
                return answer

            await import_lines(enumerate(past.lines(), 1), "the generated past", send)
            account_ids = [known.accounts[account_ref(number)] for number in range(past.accounts)]
            tokens = await _tokens(admin, account_ids)
    except (Problem, Unreachable) as fault:
        raise NotReady(f"the chat could not be made ready at {', '.join(urls)}: {fault}") from fault
    room_ids = [known.rooms[room_ref(number)] for number in range(past.rooms)]
    return World(list(urls), admin_token, account_ids, tokens, room_ids, past.members, seed, pace)


async def _tokens(admin: FalconClient, account_ids: Sequence[int]) -> list[str]:
    turns = asyncio.Semaphore(_AT_ONCE)

    async def one(account_id: int) -> str:
        async with turns:
            return (await admin.create_token(account_id)).token

    return await asyncio.gather(*map(one, account_ids))
