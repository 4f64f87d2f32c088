"""A way around ASGI for responses that are whole: one write instead of two, without a check of each field.

uvicorn writes a head and then a body, each with a system call of its own that wakes the client.
"""

from typing import Final

from starlette.types import Send
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, RequestResponseCycle

from falcon.http.responses import NO_BODY, BytesResponse

_FIELD: Final = b"%b: %b\r\n".__mod__
_CLOSE: Final = b"connection: close\r\n"
# A larger body is not copied after its head: clients that read the same page slowly then hold one copy of it.
_COPIED_BYTES_MAX: Final = 16 << 10


def write_whole(send: Send, response: BytesResponse) -> bool:
    """Write the response to the request that ``send`` is for, and end it.

    Returns False if it did nothing and the caller must take ASGI's way: ``send`` is not uvicorn's own or belongs to a
    layer that changes responses, the request is a HEAD, or the connection is full or has ended.
    """
    cycle = getattr(send, "__self__", None)
    if (
        not isinstance(cycle, RequestResponseCycle)
        or cycle.response_started
        or cycle.disconnected
        or cycle.flow.write_paused
        or cycle.default_headers
        or cycle.scope["method"] == "HEAD"
    ):
        return False
    status, body, headers = response.status, response.body, response.headers
    fields = b"".join(map(_FIELD, headers))
    if fields.count(b"\n") != len(headers) or fields.count(b"\r") != len(headers):
        raise ValueError(f"a field of a response has a line break: {headers!r}")
    cycle.response_started = cycle.response_complete = True
    cycle.waiting_for_100_continue = False
    length = b"" if status in NO_BODY else b"content-length: %d\r\n" % len(body)
    close = b"" if cycle.keep_alive else _CLOSE
    if len(body) > _COPIED_BYTES_MAX:
        cycle.transport.writelines((b"%b%b%b%b\r\n" % (STATUS_LINE[status], length, fields, close), body))
    else:
        cycle.transport.write(b"%b%b%b%b\r\n%b" % (STATUS_LINE[status], length, fields, close, body))
    cycle.message_event.set()
    if not cycle.keep_alive:
        cycle.transport.close()
    cycle.on_response()
    return True
