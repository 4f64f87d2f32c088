"""Whom a request comes from, as far as that can be told by its address."""

from collections.abc import Iterable, Sequence
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import Final, TypeAlias

# An IPv4 address, or the first 64 bits of an IPv6 one: a network has as many of these as it likes.
AddressKey: TypeAlias = bytes

_UNKNOWN: Final[AddressKey] = b""
_PREFIX_BYTES: Final = 8
_HOPS_MAX: Final = 20  # of X-Forwarded-For, from its end
_TEXT_MAX: Final = 64


class Addresses:
    """``trusted``: networks of the proxies whose X-Forwarded-For counts."""

    def __init__(self, trusted: Sequence[str] = ()) -> None:
        self._trusted = tuple(ip_network(each) for each in trusted)

    def of_request(self, client: tuple[str, int] | None, headers: Iterable[tuple[bytes, bytes]]) -> AddressKey:
        """The last address on the way here that is no trusted proxy's. What stands before that in X-Forwarded-For
        anybody may have written."""
        address = _parse(client[0]) if client else None
        if address is None:
            return _UNKNOWN
        if self._is_trusted(address):
            for hop in _hops(headers):
                before = _parse(hop)
                if before is None:
                    break
                address = before
                if not self._is_trusted(address):
                    break
        return _key(address)

    def of_peer(self, client: tuple[str, int] | None) -> AddressKey | None:
        """Of the other end of a connection; None for a trusted proxy, whose connections are everybody's."""
        address = _parse(client[0]) if client else None
        if address is None or self._is_trusted(address):
            return None
        return _key(address)

    def _is_trusted(self, address: IPv4Address | IPv6Address) -> bool:
        return any(address in network for network in self._trusted)


def _hops(headers: Iterable[tuple[bytes, bytes]]) -> list[str]:
    """The nearest first."""
    fields = [value.decode("latin-1") for name, value in headers if name == b"x-forwarded-for"]
    return [hop.strip() for hop in reversed(",".join(fields).split(","))][:_HOPS_MAX]


def _parse(text: str) -> IPv4Address | IPv6Address | None:
    """Also with a port behind it, as some proxies write it, and of IPv4 within IPv6."""
    if len(text) > _TEXT_MAX:
        return None
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        address = ip_address(text)
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address


def _key(address: IPv4Address | IPv6Address) -> AddressKey:
    return address.packed[:_PREFIX_BYTES]
