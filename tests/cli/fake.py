"""A Falcon in memory that answers as the command line and the client expect."""

import re
from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import httpx
import msgspec

from falcon_chat import Clock

Json: TypeAlias = dict[str, Any]
Respond: TypeAlias = Callable[[httpx.Request], httpx.Response]
Piece: TypeAlias = bytes | Exception | Callable[[], bytes]

TIME = "2026-11-25T09:30:00.123Z"


EMPTY: Json = {"type": "falcon-export", "version": 2, "source": "0123456789abcdef", "position": "0:0"}


class FakeClock:
    """Time passes only by sleeping. After ``patience`` sleeps comes Ctrl-C."""

    def __init__(self, patience: int = 1000) -> None:
        self.time = 0.0
        self.slept: list[float] = []
        self._patience = patience

    def clock(self) -> Clock:
        return Clock(now=lambda: self.time, sleep=self._sleep)

    async def _sleep(self, seconds: float) -> None:
        if len(self.slept) == self._patience:
            raise KeyboardInterrupt
        self.slept.append(seconds)
        self.time += seconds


def problem(status: int, code: str, detail: str = "", errors: Iterable[Json] = (), **headers: str) -> httpx.Response:
    body = {"type": "about:blank", "status": status, "code": code, "detail": detail, "errors": list(errors)}
    return httpx.Response(status, json=body, headers={key.replace("_", "-"): value for key, value in headers.items()})


def busy(status: int = 503, after: str = "1") -> httpx.Response:
    return problem(status, "overloaded", "come back", Retry_After=after)


def unanswered(request: httpx.Request) -> httpx.Response:
    raise httpx.ConnectError("refused", request=request)


def message(room_id: int, seq: int, text: str, **fields: Any) -> Json:
    return {
        "room_id": room_id,
        "seq": seq,
        "author_id": 130,
        "text": text,
        "posted_at": TIME,
        "edited_at": None,
        "deleted": False,
        "reply_to": None,
        "mentions": [],
    } | fields


def account(account_id: int, name: str, *, is_admin: bool = False, **more: Any) -> Json:
    role = "admin" if is_admin else "member"
    profile: Json = {"handle": None, "title": "", "about": "", "bot": False, "role": role, "deactivated": False}
    return {"account_id": account_id, "name": name, **profile, "is_admin": is_admin, "created_at": TIME, **more}


def room(room_id: int, name: str, **fields: Any) -> Json:
    return {
        "room_id": room_id,
        "kind": "group",
        "name": name,
        "description": "",
        "role": "admin",
        "last_seq": 0,
        "created_at": TIME,
        "peer_id": None,
        "open": False,
        "default": False,
    } | fields


def listed_room(room_id: int, name: str, **fields: Any) -> Json:
    """The room as the list of rooms has it."""
    unread: Json = {"read_seq": 0, "unread": 0, "mentions": 0, "updated_at": TIME, "last_message": None}
    return room(room_id, name, **unread | fields)


def event(id: str, name: str, data: Json) -> bytes:
    """The event as the stream sends it."""
    return b"id: %b\nevent: %b\ndata: %b\n\n" % (id.encode(), name.encode(), msgspec.json.encode(data))


def streaming(*pieces: Piece) -> Respond:
    """A connection of the stream: its pieces, and the error at its end, if any."""
    kind = {"Content-Type": "text/event-stream"}
    return lambda _: httpx.Response(200, headers=kind, content=_sent(pieces))


async def _sent(pieces: Iterable[Piece]) -> AsyncIterator[bytes]:
    for piece in pieces:
        if isinstance(piece, Exception):
            raise piece
        yield piece if isinstance(piece, bytes) else piece()


class Script:
    """Answers requests in turn with the given answers, and then always with the last."""

    def __init__(self, *answers: httpx.Response | Respond) -> None:
        self._answers = list(answers)
        self.requests: list[httpx.Request] = []

    def transport(self) -> httpx.MockTransport:
        return httpx.MockTransport(self._respond)

    def _respond(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        answer = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
        return answer if isinstance(answer, httpx.Response) else answer(request)

    def header(self, name: str) -> list[str | None]:
        return [request.headers.get(name) for request in self.requests]


@dataclass
class FakeFalcon:
    """Rooms with messages that can be sent and read, and the two ends of a transfer."""

    messages: dict[int, list[Json]] = field(default_factory=dict)
    pinned: dict[int, Json] = field(default_factory=dict)
    rooms: list[Json] = field(default_factory=list)
    members: list[Json] = field(default_factory=list)
    left: dict[int, str] = field(default_factory=dict)  # former members: account to name
    accounts: list[Json] = field(default_factory=list)
    lists_accounts: bool = True
    export: list[bytes] = field(default_factory=list)
    breaks_after: list[int] = field(default_factory=list)  # bytes after which the next exports break off
    pieces_of: int = 50
    imports: list[list[Json]] = field(default_factory=list)
    leaves_out: bool = False  # the further members of rooms
    taken: Json = field(default_factory=dict)  # by ref, what other accounts have
    refuse_import: Callable[[Json], Json | None] = lambda line: None
    tokens: list[int] = field(default_factory=list)
    sessions: list[int] = field(default_factory=list)  # the first is the caller's own
    requests: list[httpx.Request] = field(default_factory=list)
    ids: dict[str, int] = field(default_factory=dict)
    streams: list[Respond] = field(default_factory=list)  # connections of the stream, in turn

    def transport(self) -> httpx.MockTransport:
        return httpx.MockTransport(self._respond)

    def _respond(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        path = request.url.path
        for pattern, respond in (
            (r"/v1/rooms", self._rooms),
            (r"/v1/rooms/(\d+)", self._room),
            (r"/v1/rooms/(\d+)/members", self._members),
            (r"/v1/rooms/(\d+)/members/(\d+)", self._member),
            (r"/v1/rooms/(\d+)/authors", self._authors),
            (r"/v1/rooms/(\d+)/read", self._read),
            (r"/v1/direct/(\d+)", self._direct),
            (r"/v1/rooms/(\d+)/messages", self._messages),
            (r"/v1/rooms/(\d+)/messages/(\d+)/reactions/.+", self._reaction),
            (r"/v1/rooms/(\d+)/pins/(\d+)", self._pin),
            (r"/v1/rooms/(\d+)/pins", self._pins),
            (r"/v1/rooms/(\d+)/messages/(\d+)/thread", self._thread),
            (r"/v1/rooms/(\d+)/follow", self._follow),
            (r"/v1/search", self._found),
            (r"/v1/accounts", self._accounts),
            (r"/v1/accounts/search", self._search),
            (r"/v1/accounts/(\d+)", self._account),
            (r"/v1/accounts/(\d+)/tokens", self._tokens),
            (r"/v1/accounts/(\d+)/tokens/(\d+)", self._token),
            (r"/v1/accounts/(\d+)/sign-in-link", self._link),
            (r"/v1/invitations", self._invite),
            (r"/v1/me", self._me),
            (r"/v1/sessions", self._sessions),
            (r"/v1/sessions/(\d+)", self._session),
            (r"/v1/stream", self._stream),
            (r"/v1/import", self._import),
            (r"/v1/export", self._export),
        ):
            if found := re.fullmatch(pattern, path):
                answer: httpx.Response = respond(request, *map(int, found.groups()))
                return answer
        return problem(404, "not_found")

    def _rooms(self, request: httpx.Request) -> httpx.Response:
        if request.method == "POST":
            return httpx.Response(201, json=room(64, msgspec.json.decode(request.content)["name"]))
        start = int(request.url.params.get("cursor", "0"))
        end = start + int(request.url.params.get("limit", "50"))
        return httpx.Response(
            200,
            json={"rooms": self.rooms[start:end], "next_cursor": str(end) if end < len(self.rooms) else None},
        )

    def _room(self, request: httpx.Request, room_id: int) -> httpx.Response:
        if room_id not in self.messages:
            return problem(404, "room_not_found", "there is no such room")
        if request.method == "DELETE":
            del self.messages[room_id]
            return httpx.Response(204)
        change = msgspec.json.decode(request.content) if request.method == "PATCH" else {}
        answer = room(room_id, change.get("name", "Tea"), last_seq=len(self.messages[room_id]))
        return httpx.Response(200, json=answer | change)

    def _members(self, _: httpx.Request, __: int) -> httpx.Response:
        return httpx.Response(200, json={"members": self.members, "next_cursor": None})

    def _member(self, request: httpx.Request, _: int, account_id: int) -> httpx.Response:
        here = [each for each in self.members if each["account_id"] == account_id]
        if request.method == "DELETE":
            if not here:
                return problem(404, "account_not_found", "there is no such member")
            self.members.remove(here[0])
            return httpx.Response(204)
        known = {each["account_id"]: each["name"] for each in self.accounts}
        added = {"account_id": account_id, "name": known.get(account_id, "Somebody"), "read_seq": 0}
        self.members.append(added | msgspec.json.decode(request.content))
        return httpx.Response(200, json=self.members[-1])

    def _authors(self, request: httpx.Request, _: int) -> httpx.Response:
        names = self.left | {each["account_id"]: each["name"] for each in self.members}
        ids = [int(each) for each in request.url.params["ids"].split(",")]
        found = [{"account_id": each, "name": names[each]} for each in ids if each in names]
        return httpx.Response(200, json={"authors": found})

    def _read(self, request: httpx.Request, room_id: int) -> httpx.Response:
        seq = msgspec.json.decode(request.content)["seq"]
        unread = len(self.messages[room_id]) - seq
        return httpx.Response(200, json={"room_id": room_id, "read_seq": seq, "unread": unread, "mentions": 0})

    def _reaction(self, request: httpx.Request, room_id: int, seq: int) -> httpx.Response:
        emoji = request.url.path.rpartition("/")[2]
        if request.method == "DELETE":
            return httpx.Response(204)
        return httpx.Response(200, json={"room_id": room_id, "seq": seq, "emoji": emoji, "count": 3})

    def _pin(self, request: httpx.Request, room_id: int, seq: int) -> httpx.Response:
        if request.method == "DELETE":
            self.pinned.pop(seq)
            return httpx.Response(204)
        self.pinned[seq] = {"room_id": room_id, "seq": seq, "pinned_by": 130, "pinned_at": TIME}
        return httpx.Response(200, json=self.pinned[seq])

    def _thread(self, _: httpx.Request, room_id: int, seq: int) -> httpx.Response:
        thread = room(room_id + 128, "") | {"kind": "thread", "parent": {"room_id": room_id, "seq": seq}}
        return httpx.Response(201, json=thread | {"follows": False})

    def _follow(self, _: httpx.Request, __: int) -> httpx.Response:
        return httpx.Response(204)

    def _found(self, request: httpx.Request) -> httpx.Response:
        """What room 64 says, with the query as the mark."""
        hits = [
            {"room_id": 64, "message": each, "snippet": [[request.url.params["q"], True], [" …", False]]}
            for each in self.messages[64]
        ]
        return httpx.Response(200, json={"hits": hits, "next_cursor": None})

    def _pins(self, _: httpx.Request, room_id: int) -> httpx.Response:
        by_seq = {message["seq"]: message for message in self.messages[room_id]}
        found = [{"message": by_seq[seq], "pinned_by": 130, "pinned_at": TIME} for seq in reversed(self.pinned)]
        return httpx.Response(200, json={"pins": found})

    def _direct(self, _: httpx.Request, account_id: int) -> httpx.Response:
        return httpx.Response(201, json=room(1000 + account_id, "Somebody", kind="direct"))

    def _messages(self, request: httpx.Request, room_id: int) -> httpx.Response:
        if room_id not in self.messages:
            return problem(404, "room_not_found", "there is no such room")
        known = self.messages[room_id]
        if request.method == "POST":
            body = msgspec.json.decode(request.content)
            known.append(message(room_id, len(known) + 1, **body))
            return httpx.Response(201, json=known[-1])
        limit = int(request.url.params.get("limit", "50"))
        if after := request.url.params.get("after"):
            page = [entry for entry in known if entry["seq"] > int(after)][:limit]
        else:
            before = int(request.url.params.get("before", len(known) + 1))
            page = [entry for entry in known if entry["seq"] < before][-limit:]
        before_it = bool(page) and page[0]["seq"] > 1
        after_it = bool(page) and page[-1]["seq"] < len(known)
        return httpx.Response(200, json={"messages": page, "has_before": before_it, "has_after": after_it})

    def _stream(self, request: httpx.Request) -> httpx.Response:
        return self.streams.pop(0)(request) if self.streams else busy()

    def _accounts(self, request: httpx.Request) -> httpx.Response:
        if request.method == "POST":
            asked = msgspec.json.decode(request.content)
            return httpx.Response(201, json=account(130, asked["name"]) | {"email": None, "token": "secret"})
        if not self.lists_accounts:
            return problem(403, "not_allowed")
        only = request.url.params.get("deactivated")
        found = [each for each in self.accounts if only in (None, str(each["deactivated"]).lower())]
        return httpx.Response(200, json={"accounts": found, "next_cursor": None})

    def _search(self, request: httpx.Request) -> httpx.Response:
        wanted = request.url.params["q"].removeprefix("@").casefold()
        texts = [(each, f"{each['name']} {each['handle']}".casefold()) for each in self.accounts]
        found = [each for each, text in texts if wanted in text and not each["deactivated"]]
        return httpx.Response(200, json={"accounts": found[: int(request.url.params.get("limit", "20"))]})

    def _account(self, request: httpx.Request, account_id: int) -> httpx.Response:
        found = [each for each in self.accounts if each["account_id"] == account_id]
        if not found:
            return problem(404, "account_not_found", "there is no such account")
        if request.method == "PATCH":
            found[0] |= msgspec.json.decode(request.content)
        return httpx.Response(200, json=found[0])

    def _tokens(self, request: httpx.Request, __: int) -> httpx.Response:
        if request.method == "POST":
            made: Json = {"token_id": 2, "token": "another secret", "name": "", "scopes": [], "expires_at": None}
            return httpx.Response(201, json=made)
        more: Json = {
            "kind": "token",
            "name": "",
            "scopes": [],
            "expires_at": None,
            "last_used_at": None,
            "issued_by": None,
        }
        tokens = [{"token_id": token_id, "created_at": TIME, **more} for token_id in self.tokens]
        return httpx.Response(200, json={"tokens": tokens})

    def _token(self, _: httpx.Request, __: int, token_id: int) -> httpx.Response:
        self.tokens.remove(token_id)
        return httpx.Response(204)

    def _link(self, _: httpx.Request, account_id: int) -> httpx.Response:
        return httpx.Response(
            201, json={"url": f"http://tea/#sign-in={account_id}_code", "expires_at": TIME, "mailed": False}
        )

    def _invite(self, request: httpx.Request) -> httpx.Response:
        asked = msgspec.json.decode(request.content)
        shown = {"invitation_id": 1, "url": "http://tea/#invitation=1_code", "expires_at": TIME, "mailed": False}
        return httpx.Response(201, json={**shown, "role": asked["role"], "uses_left": asked["uses"]})

    def _me(self, request: httpx.Request) -> httpx.Response:
        if request.method == "PATCH":
            return self._account(request, 130)
        own = {"account_id": 130, "name": "Alice", "handle": None, "title": "", "about": "", "bot": False}
        role = {"role": "owner", "deactivated": False, "is_admin": True, "created_at": TIME, "email": None}
        return httpx.Response(200, json={**own, **role, "organization_id": 1, "hide_reads": False, "scopes": ["read"]})

    def _sessions(self, request: httpx.Request) -> httpx.Response:
        if request.method == "DELETE":
            del self.sessions[1:]
            return httpx.Response(204)
        seen = {"created_at": TIME, "last_used_at": None, "user_agent": "Firefox", "address": "192.0.2.7"}
        listed = [{"session_id": each, "current": each == self.sessions[0], **seen} for each in self.sessions]
        return httpx.Response(200, json={"sessions": listed})

    def _session(self, _: httpx.Request, session_id: int) -> httpx.Response:
        self.sessions.remove(session_id)
        return httpx.Response(204)

    def _import(self, request: httpx.Request) -> httpx.Response:
        lines = [msgspec.json.decode(line) for line in request.content.splitlines()]
        for number, line in enumerate(lines, 1):
            if error := self.refuse_import(line):
                where = {"field": f"line {number}: {error['field']}", "rule": error["rule"]}
                return problem(422, "invalid", "a line is not in order", [where])
        self.imports.append(lines)
        given: dict[str, dict[str, int]] = {"account": {}, "room": {}}
        for line in lines:
            if line["type"] in given:
                name = f"{line['type']} {line['source']} {line['ref']}"
                given[line["type"]][line["ref"]] = self.ids.setdefault(name, 1000 + len(self.ids))
        messages = sum(line["type"] == "message" for line in lines)
        answer = {"accounts": given["account"], "rooms": given["room"], "imported": messages, "skipped": 0}
        answer["taken"] = {ref: texts for ref, texts in self.taken.items() if ref in given["account"]}
        if self.leaves_out:
            further = [line for line in lines if line["type"] == "members"]
            answer["left_out"] = {str(line["room_id"]): len(line["members"]) for line in further}
        return httpx.Response(200, json=answer)

    def _export(self, request: httpx.Request) -> httpx.Response:
        if not self.export:  # an empty Falcon
            return httpx.Response(200, content=self._pieces(msgspec.json.encode(EMPTY) + b"\n"))
        start = 0
        if resume := request.url.params.get("resume"):
            assert request.url.params["since"] == msgspec.json.decode(self.export[0])["position"]
            tokens = [_token_of(line) for line in self.export]
            start = tokens.index(resume) + (resume != "changes")
        content = b"".join(self.export[start:])
        return httpx.Response(200, content=self._pieces(content))

    async def _pieces(self, content: bytes) -> AsyncIterator[bytes]:
        end = self.breaks_after.pop(0) if self.breaks_after else len(content) + 1
        for start in range(0, min(end, len(content)), self.pieces_of):
            yield content[start : min(start + self.pieces_of, end)]
        if end <= len(content):
            raise httpx.ReadError("the connection broke")


def _token_of(line: bytes) -> str | None:
    entry = msgspec.json.decode(line)
    match entry["type"]:
        case "changes":
            return "changes"
        case "message" | "reaction":
            return f"message:{entry['room']}:{entry['seq']}"
        case "account" | "room":
            return f"{entry['type']}:{entry['ref']}"
    return None
