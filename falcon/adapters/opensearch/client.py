"""Calls to OpenSearch. There are few kinds of them, and OpenSearch's own client would bring gRPC and 35 MB."""

from typing import Any, Final
from urllib.parse import urlsplit

import aiohttp
import msgspec

from falcon.read.store import ReadStoreUnavailable

_CONNECT_SECONDS: Final = 2.0  # a server that is there answers at once
_ANSWER_SECONDS: Final = 5.0  # the slowest search takes some 0.1 s; a caller would not wait longer
BULK_SECONDS: Final = 60.0  # a bulk of 2,000 messages takes 0.2 s, and more while the server merges

# 401, 403: its operator will allow it again, or makes room on the disk. 429: it has too much to do.
_MAY_PASS: Final = (401, 403, 408, 429)

_encode: Final = msgspec.json.Encoder().encode


class NoIndex(ReadStoreUnavailable):
    """The index is not there: it was deleted, or nothing has made it yet."""


class IndexRefuses(Exception):
    """OpenSearch does not take what it was given. Trying again does not help."""


class OpenSearchClient:
    """Serves one event loop. ``url``: of a node, or of a proxy before several, with a user and a password if it wants
    them."""

    def __init__(self, url: str) -> None:
        self._url = url.rstrip("/")
        self._server = f"OpenSearch at {urlsplit(url).netloc.rpartition('@')[2]}"  # without its password
        self._session: aiohttp.ClientSession | None = None

    async def ask(self, method: str, path: str, body: object = None, *, seconds: float = _ANSWER_SECONDS) -> Any:
        """Returns the decoded answer. ``body``: lines as bytes, else a value for JSON.

        Raises ReadStoreUnavailable, NoIndex, IndexRefuses.
        """
        if self._session is None:
            self._session = aiohttp.ClientSession()
        data = body if isinstance(body, bytes) or body is None else _encode(body)
        headers = {"Content-Type": "application/x-ndjson" if isinstance(body, bytes) else "application/json"}
        limit = aiohttp.ClientTimeout(total=seconds, sock_connect=_CONNECT_SECONDS)
        try:
            async with self._session.request(
                method, f"{self._url}/{path}", data=data, headers=headers, timeout=limit
            ) as answer:
                said, status = await answer.read(), answer.status
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise ReadStoreUnavailable(f"{self._server} does not answer: {error!r}") from error
        if status < 400:
            return msgspec.json.decode(said)
        words = f"{self._server} answers {status}: {said[:500].decode(errors='replace')}"
        if status == 404:
            raise NoIndex(words)
        raise ReadStoreUnavailable(words) if status >= 500 or status in _MAY_PASS else IndexRefuses(words)

    async def version(self) -> str:
        """OpenSearch's version; empty if another server is there. Raises as ``ask`` does."""
        said = (await self.ask("GET", "")).get("version", {})
        return str(said["number"]) if said.get("distribution") == "opensearch" else ""

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()
