"""Reads operations ports at an interval."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import datetime

import httpx

from falcon.cli.calling import Outside
from falcon.cli.faults import Fault
from falcon.cli.top.change import Change
from falcon.cli.top.rows import View
from falcon.cli.top.scraping import TIMEOUT_SECONDS, Answer, PortState, Scrape, ask
from falcon.cli.top.view import Reading, short_names, view
from falcon_chat import Clock
from falcon_chat.addresses import Addresses


def checked(urls: Sequence[str]) -> list[str]:
    """Without duplicates. Raises Fault for text that is not an address."""
    try:
        return list(Addresses(list(dict.fromkeys(url.rstrip("/") for url in urls))).urls)
    except ValueError as fault:
        raise Fault(str(fault)) from fault


@asynccontextmanager
async def watching(urls: Sequence[str], outside: Outside) -> AsyncIterator["Watch"]:
    """Raises Fault if no port can be read at the start."""
    async with httpx.AsyncClient(transport=outside.transport, timeout=TIMEOUT_SECONDS, trust_env=False) as client:
        watch = Watch(urls, client, outside.clock or Clock())
        await watch.begin()
        yield watch


class Watch:
    """Keeps the last scrape of each address. After a missed scrape the change covers a longer time."""

    def __init__(self, urls: Sequence[str], client: httpx.AsyncClient, clock: Clock) -> None:
        self._urls = urls
        self._names = short_names(urls)
        self._client = client
        self._clock = clock
        self._last: dict[str, Scrape] = {}

    async def begin(self) -> None:
        """Raises Fault if no address has metrics."""
        answers = await self._ask_all()
        self._keep(answers)
        if not self._last:
            raise Fault("; ".join(_told(url, answer) for url, answer in zip(self._urls, answers, strict=True)))

    async def read_after(self, interval: float) -> View:
        """The changes after so many seconds."""
        await self._clock.sleep(interval)
        answers = await self._ask_all()
        readings = [
            Reading(name, answer.state, answer.note, self._change(url, answer.scrape))
            for url, name, answer in zip(self._urls, self._names, answers, strict=True)
        ]
        self._keep(answers)
        return view(readings, datetime.now().astimezone())

    async def _ask_all(self) -> list[Answer]:
        return await asyncio.gather(*(ask(self._client, url, self._clock.now) for url in self._urls))

    def _change(self, url: str, scrape: Scrape | None) -> Change | None:
        return None if scrape is None else Change(self._last.get(url), scrape)

    def _keep(self, answers: Sequence[Answer]) -> None:
        for url, answer in zip(self._urls, answers, strict=True):
            if answer.scrape is not None:
                self._last[url] = answer.scrape


def _told(url: str, answer: Answer) -> str:
    if answer.state is PortState.NOT_OPERATIONS:
        return f"{url} is no operations port of Falcon ({answer.note}); its number is FALCON_OPS_PORT"
    return f"{url} is {answer.state.value} ({answer.note})"
