"""Admission control: a message for which there is no room is refused before it is parsed.

When clients send more than Falcon can carry, most of the work is refusing. A refusal that was parsed, routed and
authenticated costs half of what an accepted message does: at three times the limit nothing would be left for accepting.
Here a refusal costs a look at the bytes and a write of ready ones, a tenth of an accepted message.
"""

import re
from typing import Final

from falcon.domain.ids import partition_of
from falcon.http.problems import from_unavailable
from falcon.http.server.raw_responses import problem_bytes
from falcon.telemetry import metrics
from falcon.write import refusals
from falcon.write.gateway import CommandGateway

_ROUTE: Final = "/v1/rooms/{room_id}/messages"
_SEND: Final = re.compile(rb"POST /v1/rooms/([0-9]{1,16})/messages HTTP/1\.1\r\n")
_LENGTH: Final = re.compile(rb"\r\ncontent-length: ?([0-9]{1,7})\r\n", re.IGNORECASE)
# Requests that the parser must see: bodies without a length, Expect, connections that end, and browsers, whose CORS
# needs more fields in the answer.
_UNUSUAL: Final = re.compile(
    rb"\r\n(?:transfer-encoding:|expect:|origin:|connection:(?! ?keep-alive\r))", re.IGNORECASE
)
# The number tells accounts apart and may be forged: the token of each request that is admitted is checked later.
_ACCOUNT: Final = re.compile(rb"\r\nauthorization: ?bearer falcon_([0-9]{1,16})_", re.IGNORECASE)


class AdmissionControl:
    """One instance for each event loop. It admits everything until it is attached to a gateway."""

    def __init__(self) -> None:
        self._gateway: CommandGateway | None = None
        self._partitions = 1
        self._refusal = problem_bytes(from_unavailable(refusals.mailbox_full.answer), closes=False)
        self._refused = metrics.commands.labels("PostMessage", "overloaded")
        self._answered = metrics.http_requests.labels(_ROUTE, "POST", "5xx")

    def attach(self, gateway: CommandGateway, partitions: int) -> None:
        self._gateway = gateway
        self._partitions = partitions

    def refusal(self, data: bytes) -> bytes | None:
        """The response, if ``data`` is one whole request to send a message for which there is no room."""
        send = _SEND.match(data)
        if send is None or self._gateway is None:
            return None
        mailbox = self._gateway.mailbox(partition_of(int(send[1]), self._partitions))
        if mailbox is None:
            return None
        capacity = mailbox.capacity
        has_plenty = capacity.commands < capacity.plenty and not capacity.was_full
        if has_plenty or mailbox.expects() or not _is_whole(data):
            return None
        claimed = _ACCOUNT.search(data)
        account_id = None if claimed is None else int(claimed[1])
        if account_id is not None and mailbox.yields_to(account_id):
            return None
        mailbox.refuse()
        self._refused.inc()
        self._answered.inc()
        return self._refusal


def _is_whole(data: bytes) -> bool:
    """True if the bytes are one complete request with a body, and nothing else, on a connection that stays open."""
    end = data.find(b"\r\n\r\n")
    length = _LENGTH.search(data, 0, end + 2)
    return length is not None and len(data) == end + 4 + int(length[1]) and _UNUSUAL.search(data, 0, end + 2) is None
