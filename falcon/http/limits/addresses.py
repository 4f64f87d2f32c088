"""The address that a request comes from, behind the proxies before Falcon."""

import socket
from collections.abc import Iterable, Sequence
from ipaddress import ip_address, ip_network
from typing import Final, TypeAlias

# An IPv4 address, or the first 64 bits of an IPv6 address: one network may use all addresses that begin with them.
AddressKey: TypeAlias = bytes

UNKNOWN: Final[AddressKey] = b""
_PREFIX_BYTES: Final = 8  # of IPv6: a customer has all addresses behind 64 bits
_NETWORK_BYTES: Final = 6  # of IPv6: a customer often has all addresses behind 48 or 56 bits
# IPv4 addresses as IPv6 clients reach them, and are reached (RFC 6052): each is one client's, or one network's.
_NAT64: Final = bytes.fromhex("0064ff9b") + bytes(8)
_MAPPED: Final = bytes(10) + b"\xff\xff"  # before an IPv4 address within IPv6
_HOPS_MAX: Final = 20  # of X-Forwarded-For, from its end
_TEXT_MAX: Final = 64  # the longest text of an address, with its zone and port, is shorter


class Addresses:
    """``trusted``: networks of the proxies whose X-Forwarded-For counts."""

    def __init__(self, trusted: Sequence[str] = ()) -> None:
        networks = [ip_network(each) for each in trusted]
        # A check by ipaddress would take as long as all the rest of a refusal.
        self._trusted = [(n.max_prefixlen // 8, int(n.netmask), int(n.network_address)) for n in networks]

    def of_request(self, client: tuple[str, int] | None, headers: Iterable[tuple[bytes, bytes]]) -> AddressKey:
        """The last address before the trusted proxies. Earlier addresses in X-Forwarded-For may be forged by the
        client."""
        address = _parse(client[0]) if client else None
        if address is None:
            return UNKNOWN
        if self._is_trusted(address):
            for hop in _hops(headers):
                before = _parse(hop)
                if before is None:
                    break
                address = before
                if not self._is_trusted(address):
                    break
        return _key(address)

    def text_of(self, client: tuple[str, int] | None, headers: Iterable[tuple[bytes, bytes]]) -> str:
        """The address of :meth:`of_request` for people to read; of an IPv6 address the network. Empty if it is
        unknown."""
        key = self.of_request(client, headers)
        return str(ip_address(key.ljust(16, b"\0") if len(key) == _PREFIX_BYTES else key)) if key else ""

    def behind_proxy(self, client: tuple[str, int] | None, headers: Iterable[tuple[bytes, bytes]]) -> AddressKey | None:
        """Like :meth:`of_request`, but None if the other end is no trusted proxy."""
        return None if self.of_peer(client) is not None else self.of_request(client, headers)

    def of_peer(self, client: tuple[str, int] | None) -> AddressKey | None:
        """The key of a connection's other end; None for a trusted proxy, whose connections carry many clients."""
        address = _parse(client[0]) if client else None
        if address is None or self._is_trusted(address):
            return None
        return _key(address)

    def _is_trusted(self, address: bytes) -> bool:
        number = int.from_bytes(address)
        return any(len(address) == size and number & mask == network for size, mask, network in self._trusted)


def network_of(key: AddressKey) -> AddressKey | None:
    """The first 48 bits of an IPv6 key, which many keys of one network share; None for IPv4."""
    return key[:_NETWORK_BYTES] if len(key) == _PREFIX_BYTES else None


def _key(address: bytes) -> AddressKey:
    return address.removeprefix(_NAT64)[:_PREFIX_BYTES]


def _hops(headers: Iterable[tuple[bytes, bytes]]) -> list[str]:
    """The addresses in X-Forwarded-For, the nearest first."""
    fields = [value for name, value in headers if name == b"x-forwarded-for"]
    hops = b",".join(fields).rsplit(b",", _HOPS_MAX)
    return [hop.decode("latin-1").strip() for hop in reversed(hops[-_HOPS_MAX:])]


def _parse(text: str) -> bytes | None:
    """The 4 or 16 bytes of an address; None for any other text. It may have a port, which some proxies add. IPv4
    addresses within IPv6 become IPv4."""
    if len(text) > _TEXT_MAX:
        return None
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        if ":" not in text:
            return socket.inet_pton(socket.AF_INET, text)
        address = socket.inet_pton(socket.AF_INET6, text.partition("%")[0])
    except (OSError, ValueError):
        return None
    return address.removeprefix(_MAPPED)
