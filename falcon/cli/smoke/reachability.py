"""Checks that Falcon answers at every address, and accepts the token."""

import asyncio
import time
from collections.abc import Iterator, Sequence
from typing import Final

import httpx
import msgspec

from falcon.cli.smoke.check import Check, CheckFailed
from falcon_chat import FalconClient

_AGAIN_SECONDS: Final = 0.25
_SAID_MAX: Final = 200
_PASSING: Final = frozenset({502, 503, 504})


class Reachability:
    """``http`` sends requests without a token."""

    def __init__(self, urls: Sequence[str], http: httpx.AsyncClient, falcon: FalconClient, seconds: float) -> None:
        self._urls = urls
        self._http = http
        self._falcon = falcon
        self._seconds = seconds

    def checks(self) -> Iterator[Check]:
        way = "the address, DNS, the ingress and the Service, and whether pods are ready (`kubectl get pods`)"
        yield Check("reach", self._reach, "Falcon to answer at every address", way)
        token = "the token (FALCON_TOKEN, --token, --token-file): is it one of this Falcon's?"
        yield Check("whoami", self._whoami, "the account that the token belongs to", token)

    async def _reach(self) -> str:
        for url in self._urls:
            await self._answers(url.rstrip("/"))
        return ", ".join(self._urls)

    async def _answers(self, url: str) -> None:
        """Waits some seconds, because a server or its proxy may just be starting. Raises CheckFailed."""
        until = time.monotonic() + self._seconds
        while True:
            try:
                answer = await self._http.get(f"{url}/v1/me")
                if _is_falcons(answer):
                    return
                wrong = f"{url} answers {answer.status_code} to /v1/me: {answer.text[:_SAID_MAX].strip()!r}"
                passing = answer.status_code in _PASSING
            except httpx.RequestError as fault:
                wrong, passing = f"{url} does not answer ({str(fault) or type(fault).__name__})", True
            if not passing or time.monotonic() + _AGAIN_SECONDS > until:
                raise CheckFailed(wrong)
            await asyncio.sleep(_AGAIN_SECONDS)

    async def _whoami(self) -> str:
        me = await self._falcon.me()
        return f"account {me.account_id}, {me.name}"


class _Refusal(msgspec.Struct):
    code: str


def _is_falcons(answer: httpx.Response) -> bool:
    """The answer to a request without a token."""
    try:
        return msgspec.json.decode(answer.content, type=_Refusal).code == "unauthenticated"
    except msgspec.DecodeError:
        return False
