"""Import histories: one JSON object a line.

Lines that were imported before are skipped, so a client may send a request, or a whole file, again. All lines of a
request are checked before the first is executed.
"""

from collections.abc import Sequence
from functools import reduce
from operator import or_
from typing import Any, Final

import msgspec

from falcon.features.accounts import api as accounts
from falcon.features.catalogue import modules
from falcon.features.rooms import api as rooms
from falcon.features.threads import api as threads
from falcon.http import shapes
from falcon.http.api import examples, permissions
from falcon.http.api.lines import Checks, ImportCommands, LineKind, OfARoom
from falcon.http.api.operation import ApiOperation, Group, in_group
from falcon.http.edge import Edge
from falcon.http.problems import Problem, broken, not_json, wrong_media_type
from falcon.http.requests import AuthedRequest, from_validation, read_body
from falcon.http.responses import BytesResponse, json_response

# In the order in which an import carries them out: each refers to those before it.
LINE_KINDS: Final[tuple[LineKind, ...]] = tuple(
    sorted(
        (kind for api in reversed(modules("api")) for kind in getattr(api, "LINES", ())),
        key=lambda kind: kind.followers is not None or kind.of_account is not None,
    )
)
ImportLine: Final[Any] = reduce(or_, (kind.shape for kind in LINE_KINDS))
_line: Final[msgspec.json.Decoder[Any]] = msgspec.json.Decoder(ImportLine)
_KIND_OF: Final = {kind.shape: kind for kind in LINE_KINDS}
_LINES_MAX: Final = 2_000  # decided within a second or two: a request is not to hold its connection for long
_BODY_MAX: Final = 1 << 20  # bytes


async def import_lines(edge: Edge, request: AuthedRequest) -> BytesResponse:
    """Import accounts, rooms and messages.

    Requires an administrator. The body is newline-delimited JSON: one account, room or message per line. Lines that
    were imported before are skipped, so the request can be sent again.
    """
    # It responds when reads show everything that was imported, since the next request may refer to it.
    request.headers.pop(b"idempotency-key", None)  # an import needs none, and one key would stand for many commands
    lines = _parse(await _ndjson(request))
    await edge.reads.reach_positions(request)
    checks = Checks(edge, request)
    await checks.look_up(
        dict.fromkeys(account_id for line in lines for account_id in _KIND_OF[type(line)].accounts(line)),
        {line.room_id for line in lines if isinstance(line, OfARoom)},
    )
    for number, line in enumerate(lines, 1):
        if (check := _KIND_OF[type(line)].check) is not None:
            await check(checks, line, f"line {number}: ")
    for kind in LINE_KINDS:
        if kind.check_all is not None:
            await kind.check_all(checks)
    commands = ImportCommands(edge, request)
    imported = {
        kind.shape: await kind.carry_out(commands, [line for line in lines if isinstance(line, kind.shape)])
        for kind in LINE_KINDS
    }
    body = shapes.Imported(
        dict(imported[accounts.AccountLineShape].refs),
        {**imported[rooms.RoomLineShape].refs, **imported[threads.ThreadLineShape].refs},
        sum(each.imported for each in imported.values()),
        sum(each.skipped for each in imported.values()),
        dict(imported[rooms.MembersLineShape].left_out),
        dict(imported[accounts.AccountLineShape].taken),
    )
    return json_response(200, body, *await commands.readable())


async def _ndjson(request: AuthedRequest) -> list[bytes]:
    media_type = request.headers.get(b"content-type", b"").split(b";")[0].strip().lower()
    if media_type != b"application/x-ndjson":
        raise wrong_media_type("application/x-ndjson")
    body = await read_body(request.receive, request.headers, _BODY_MAX)
    lines = [line for line in body.split(b"\n") if line.strip()]
    if len(lines) > _LINES_MAX:
        rule = broken("body", f"must have at most {_LINES_MAX:,} lines")
        raise Problem(413, "too_large", f"The request has more than {_LINES_MAX:,} lines.", rule)
    return lines


def _parse(lines: Sequence[bytes]) -> list[Any]:
    parsed: list[Any] = []
    for number, data in enumerate(lines, 1):
        try:
            line = _line.decode(data)
        except msgspec.ValidationError as error:
            raise from_validation(error, ImportLine, f"line {number}: ") from None
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise not_json(f"line {number}", error) from None
        _KIND_OF[type(line)].rules(line, f"line {number}: ")
        parsed.append(line)
    return parsed


# --- operations -------------------------------------------------------------------------------------------------------

GROUP: Final = Group("Import and export", "For admins of Falcon.", learned=9)
OPERATIONS: Final = in_group(
    GROUP,
    ApiOperation(
        "POST",
        "/v1/import",
        import_lines,
        permissions.ADMINS,
        {200: shapes.Imported({"al": examples.ALICE}, {}, 0, 0)},
        accounts.AccountLineShape("old-chat", "al", "Alice"),
        one_of=ImportLine,
        media_type="application/x-ndjson",
        problems=(
            "account_not_found",
            "last_owner",
            "message_deleted",
            "message_not_found",
            "outcome_unknown",
            "room_not_found",
        ),
    ),
)
