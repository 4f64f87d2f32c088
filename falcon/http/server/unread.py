"""Bytes of answers that wait in this process until their client reads."""

import asyncio
import gc

from uvicorn.protocols.utils import is_ssl


def transport_below(transport: asyncio.Transport) -> asyncio.Transport:
    """The transport that writes to the socket.

    uvloop's TLS hands all bytes at once to a TCP transport, and says from then on that nothing waits. It gives no
    access to that transport, so this looks for it among the objects that TLS refers to.
    """
    if is_ssl(transport):
        for protocol in gc.get_referents(transport):
            if type(protocol).__name__ == "SSLProtocol":
                below = [each for each in gc.get_referents(protocol) if type(each).__name__ == "TCPTransport"]
                if below:
                    return below[0]  # type: ignore[no-any-return]
    return transport
