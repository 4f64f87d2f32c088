"""Chooses which of the server's addresses the next attempt goes to."""

import itertools
import ssl
import time
from collections.abc import Sequence
from ipaddress import ip_address
from urllib.parse import urlsplit

import httpx

_SHUNNED_SECONDS = 2.0


class Addresses:
    """Takes turns over the addresses and, for a moment, keeps off the ones that did not answer.

    Raises ValueError for an address that is not an HTTP address.
    """

    def __init__(self, urls: Sequence[str]) -> None:
        if not urls:
            raise ValueError("a client needs at least one address")
        self.urls = tuple(_checked(url) for url in urls)
        self._turns = itertools.count()
        self._shunned_until = dict.fromkeys(self.urls, 0.0)

    def next(self) -> str:
        """The address whose turn it is; a shunned one only if all are."""
        now = time.monotonic()
        for _ in self.urls:
            url = self.urls[next(self._turns) % len(self.urls)]
            if self._shunned_until[url] <= now:
                return url
        return self.urls[next(self._turns) % len(self.urls)]

    def shun(self, url: str) -> bool:
        """Keep off this address for a moment. True: another one is worth trying at once."""
        now = time.monotonic()
        self._shunned_until[url] = now + _SHUNNED_SECONDS
        return any(until <= now for until in self._shunned_until.values())

    @property
    def only_local(self) -> bool:
        """True if all addresses are on this machine."""
        return all(_is_local(httpx.URL(url).host) for url in self.urls)

    def verification(self) -> ssl.SSLContext | bool:
        """The check of the servers' certificates, as httpx takes it: by public authorities, or by those in
        ``SSL_CERT_FILE``, also on this machine. None without TLS, since reading authorities takes longer than a
        request."""
        return httpx.create_ssl_context() if any(url.startswith("https:") for url in self.urls) else False


def _checked(url: str) -> str:
    try:
        parsed = httpx.URL(url)
        _ = urlsplit(url).port  # httpx takes brackets without an address in them, and a port above 65535
    except (httpx.InvalidURL, ValueError) as fault:
        raise ValueError(f"{url!r} is not an address: {fault}") from fault
    if parsed.scheme not in ("http", "https") or not parsed.host:
        raise ValueError(
            f"{url!r} is not an address: one begins with http:// or https://, such as http://127.0.0.1:8080"
        )
    return url.rstrip("/")


def _is_local(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
