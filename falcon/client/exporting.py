"""An export as it comes over a connection that may break: whole lines, each once."""

from collections.abc import AsyncGenerator, AsyncIterator

import httpx
import msgspec

from falcon.client.connection import Busy, Connection, why


class _Line(msgspec.Struct):
    type: str
    ref: str = ""
    room: str = ""
    seq: int = 0


def resume_token(line: bytes) -> str | None:
    """Where the export goes on after this line of it; None after the header, where it begins.

    Raises msgspec.DecodeError or ValueError for what is no line of an export.
    """
    last = msgspec.json.decode(line, type=_Line)
    match last.type:
        case "falcon-export":
            return None
        case "account" | "room":
            return f"{last.type}:{last.ref}"
        case "message":
            return f"message:{last.room}:{last.seq}"
        case unknown:
            raise ValueError(f"an export has no lines of type {unknown!r}")


async def export_blocks(connection: Connection, resume: str | None) -> AsyncGenerator[bytes, None]:
    """Blocks of whole lines. After a break it goes on behind the last of them; the deadline is per step forward.

    Raises Problem and Unreachable.
    """
    patience = connection.patience()
    begun = False
    while True:
        # Broken off right behind the header, it begins anew: with a header that the caller has already.
        drop_header = begun and resume is None
        try:
            async with connection.stream("/v1/export", {"resume": resume} if resume else {}) as response:
                async for block in _whole_lines(response.aiter_bytes()):
                    new = block.partition(b"\n")[2] if drop_header else block
                    drop_header = False
                    if new:
                        yield new
                        begun = True
                        resume = _resume_after(new)
                        patience.renew()
                return
        except httpx.TransportError as fault:
            await patience.wait(ConnectionError(why(fault)))
        except Busy as busy:
            await patience.wait(busy.problem, busy.retry_after)


def _resume_after(block: bytes) -> str | None:
    return resume_token(block[block.rfind(b"\n", 0, -1) + 1 :])


async def _whole_lines(pieces: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    torn: list[bytes] = []
    async for piece in pieces:
        end = piece.rfind(b"\n") + 1
        if end:
            yield b"".join((*torn, piece[:end]))
            torn = [piece[end:]] if end < len(piece) else []
        else:
            torn.append(piece)
    if torn:
        raise httpx.RemoteProtocolError("the export ended within a line")
