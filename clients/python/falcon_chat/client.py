"""One method for each request of the API."""

from collections.abc import AsyncGenerator, Iterable, Mapping, Sequence
from contextlib import aclosing
from datetime import datetime
from types import TracebackType
from typing import Any, Final, Literal, TypeVar
from urllib.parse import quote

import httpx
import msgspec

from falcon_chat.connection import Connection
from falcon_chat.connection import Token as GivenToken
from falcon_chat.errors import Problem
from falcon_chat.exporting import ExportHeader, export_blocks
from falcon_chat.models import (
    Account,
    Accounts,
    Author,
    Authors,
    Bookmark,
    BookmarkPage,
    CreatedAccount,
    FoundAccounts,
    FoundMessages,
    Imported,
    InvitationList,
    InvitationView,
    IssuedInvitation,
    IssuedToken,
    LinkOwner,
    ListedRooms,
    Me,
    Member,
    Members,
    Message,
    MessageReaders,
    Messages,
    Pin,
    Pins,
    PostedMessage,
    ReactionCount,
    Reactions,
    ReadState,
    Role,
    Room,
    Rooms,
    Session,
    Sessions,
    SignedIn,
    SignInLink,
    SignInWays,
    Threads,
    Token,
    Tokens,
)
from falcon_chat.patience import Clock
from falcon_chat.streaming import Stream

T = TypeVar("T")

_AUTHORS_MAX: Final = 50  # the most that the API names at once
_PAGE_MAX: Final = 200


class FalconClient:
    """Falcon's API for one account.

    ``urls`` is one address or several of the same deployment, which take turns. ``timeout`` bounds each call in
    seconds, its retries included. With ``read_own_writes`` (the default) a read waits until it can see everything
    that this client has written.

    Every command takes a ``key``, its idempotency key. A caller that may crash and try again gives its own, and
    stores it before; otherwise each call makes one, and its retries use it.

    ``token`` is a token, that of a session, or a function that gives the token of now; None for signing in.

    Each method raises Problem and Unreachable, see :mod:`falcon_chat`.
    """

    def __init__(
        self,
        urls: str | Sequence[str],
        token: GivenToken = None,
        *,
        timeout: float = 30.0,
        read_own_writes: bool = True,
        transport: httpx.AsyncBaseTransport | None = None,
        clock: Clock | None = None,
    ) -> None:
        """Raises ValueError for an address or a token that cannot be one."""
        self._connection = Connection(
            [urls] if isinstance(urls, str) else urls,
            token,
            timeout=timeout,
            read_own_writes=read_own_writes,
            transport=transport,
            clock=clock or Clock(),
        )
        self._streams: list[Stream] = []

    async def __aenter__(self) -> "FalconClient":
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        for stream in self._streams:
            await stream.aclose()
        await self._connection.close()

    @property
    def position(self) -> str:
        """How far this client's writes reach, as in the header Falcon-Position; empty before the first."""
        return str(self._connection.positions)

    # Accounts and tokens

    async def me(self) -> Me:
        return await self._get("/v1/me", Me)

    async def change_me(self, *, key: str | None = None, **changes: Any) -> Account:
        """``changes``: name, handle, title, about, hide_reads. What is left out stays as it is; None takes a handle
        away."""
        return await self._command("PATCH", "/v1/me", changes, Account, key)

    async def create_account(self, name: str, *, key: str | None = None, **more: Any) -> CreatedAccount:
        """Admins only. ``more``: role, handle, email, title, bot."""
        return await self._command("POST", "/v1/accounts", {"name": name, **more}, CreatedAccount, key)

    async def accounts(
        self,
        *,
        role: str | None = None,
        deactivated: bool | None = None,
        limit: int | None = None,
        cursor: str | None = None,
    ) -> Accounts:
        """Admins only. ``role``, ``deactivated``: only these."""
        shown = None if deactivated is None else str(deactivated).lower()
        return await self._get("/v1/accounts", Accounts, role=role, deactivated=shown, limit=limit, cursor=cursor)

    async def accounts_of(self, account_ids: Iterable[int]) -> tuple[Account, ...]:
        """Accounts in the order of the ids, at most 200. An id that no account has is left out."""
        ids = ",".join(map(str, account_ids))
        return (await self._get("/v1/accounts", Accounts, ids=ids)).accounts

    async def search_accounts(
        self, q: str, *, room_id: int | None = None, limit: int | None = None
    ) -> tuple[Account, ...]:
        """People by the beginnings of words of names and handles. Members of the room come first."""
        found = await self._get("/v1/accounts/search", FoundAccounts, q=q, room=room_id, limit=limit)
        return found.accounts

    async def account(self, account_id: int) -> Account:
        return await self._get(f"/v1/accounts/{account_id}", Account)

    async def change_account(self, account_id: int, *, key: str | None = None, **changes: Any) -> Account:
        """Admins only. ``changes``: as in :meth:`change_me`, and email, role, deactivated."""
        return await self._command("PATCH", f"/v1/accounts/{account_id}", changes, Account, key)

    async def create_token(self, account_id: int, *, key: str | None = None, **more: Any) -> IssuedToken:
        """Admins and the account itself only. ``more``: name, scopes, expires_in (seconds)."""
        return await self._command("POST", f"/v1/accounts/{account_id}/tokens", more, IssuedToken, key)

    async def tokens(self, account_id: int) -> tuple[Token, ...]:
        """Admins and the account itself only."""
        return (await self._get(f"/v1/accounts/{account_id}/tokens", Tokens)).tokens

    async def revoke_token(self, account_id: int, token_id: int, *, key: str | None = None) -> None:
        """Admins and the account itself only."""
        await self._connection.command("DELETE", f"/v1/accounts/{account_id}/tokens/{token_id}", key=key)

    async def sign_out(self, *, key: str | None = None) -> None:
        """Revoke the token of this client."""
        await self._connection.command("DELETE", "/v1/me/token", key=key)

    # Signing in

    async def ways_to_sign_in(self) -> SignInWays:
        """Needs no token."""
        return await self._get("/v1/sign-in", SignInWays)

    async def sign_in(self, login: str, password: str) -> SignedIn:
        """Needs no token. The answer has the token of the session, for another client."""
        body = {"login": login, "password": password, "bearer": True}
        return await self._command("POST", "/v1/sign-in", body, SignedIn, None)

    async def set_password(self, password: str, *, current: str | None = None, key: str | None = None) -> None:
        content = msgspec.json.encode(_given(password=password, current=current))
        await self._connection.command("PUT", "/v1/me/password", content, key=key)

    async def sessions(self) -> tuple[Session, ...]:
        return (await self._get("/v1/sessions", Sessions)).sessions

    async def end_session(self, session_id: int, *, key: str | None = None) -> None:
        await self._connection.command("DELETE", f"/v1/sessions/{session_id}", key=key)

    async def end_other_sessions(self, *, key: str | None = None) -> None:
        await self._connection.command("DELETE", "/v1/sessions", key=key)

    async def end_current_session(self, *, key: str | None = None) -> None:
        await self._connection.command("DELETE", "/v1/session", key=key)

    async def sign_out_everywhere(self, account_id: int, *, key: str | None = None) -> None:
        """Admins and the account itself only."""
        await self._connection.command("POST", f"/v1/accounts/{account_id}/sign-out", b"{}", key=key)

    async def create_sign_in_link(self, account_id: int, *, mail: bool = False, key: str | None = None) -> SignInLink:
        """Admins only. ``mail``: send it to the account's e-mail, too."""
        return await self._command("POST", f"/v1/accounts/{account_id}/sign-in-link", {"mail": mail}, SignInLink, key)

    async def sign_in_link(self, code: str) -> LinkOwner:
        """Needs no token."""
        return await self._get(f"/v1/sign-in/by-code/{quote(code)}", LinkOwner)

    async def use_sign_in_link(self, code: str, password: str | None = None) -> SignedIn:
        """Needs no token. Without a password the account keeps its own. The answer has the token of the session, for
        another client."""
        body = {"password": password, "bearer": True}
        return await self._command("POST", f"/v1/sign-in/by-code/{quote(code)}", body, SignedIn, None)

    # Invitations

    async def create_invitation(
        self,
        *,
        role: Literal["owner", "admin", "member", "guest"] = "member",
        email: str | None = None,
        rooms: Iterable[int] = (),
        uses: int = 1,
        expires_in: int | None = None,
        key: str | None = None,
    ) -> IssuedInvitation:
        """Admins only; members invite guests of rooms that they administer. ``expires_in``: seconds."""
        body = _given(role=role, email=email, rooms=list(rooms), uses=uses, expires_in=expires_in)
        return await self._command("POST", "/v1/invitations", body, IssuedInvitation, key)

    async def invitations(self) -> InvitationList:
        return await self._get("/v1/invitations", InvitationList)

    async def delete_invitation(self, invitation_id: int, *, key: str | None = None) -> None:
        await self._connection.command("DELETE", f"/v1/invitations/{invitation_id}", key=key)

    async def read_invitation(self, code: str) -> InvitationView:
        """Needs no token."""
        return await self._get(f"/v1/invitations/by-code/{quote(code)}", InvitationView)

    async def accept_invitation(
        self, code: str, name: str, password: str, *, handle: str | None = None, email: str | None = None
    ) -> SignedIn:
        """Needs no token. The answer has the token of the session, for another client."""
        body = _given(name=name, password=password, handle=handle, email=email, bearer=True)
        return await self._command("POST", f"/v1/invitations/by-code/{quote(code)}", body, SignedIn, None)

    # Rooms and their members

    async def create_room(
        self, name: str, *, description: str = "", members: Mapping[int, Role] | None = None, key: str | None = None
    ) -> Room:
        """``members`` by account id; the caller becomes admin without being named."""
        invited = [{"account_id": account_id, "role": role} for account_id, role in (members or {}).items()]
        body = {"name": name, "description": description, "members": invited}
        return await self._command("POST", "/v1/rooms", body, Room, key)

    async def direct_room(self, account_id: int, *, key: str | None = None) -> Room:
        """The room of the caller and one other account, which is always the same."""
        return await self._command("PUT", f"/v1/direct/{account_id}", None, Room, key)

    async def rooms(self, *, limit: int | None = None, cursor: str | None = None) -> Rooms:
        return await self._get("/v1/rooms", Rooms, limit=limit, cursor=cursor)

    async def open_rooms(
        self, q: str | None = None, *, limit: int | None = None, cursor: str | None = None
    ) -> ListedRooms:
        """Rooms that you may join, by name, or by the beginnings of words of it."""
        return await self._get("/v1/rooms/directory", ListedRooms, q=q, limit=limit, cursor=cursor)

    async def room(self, room_id: int) -> Room:
        return await self._get(f"/v1/rooms/{room_id}", Room)

    async def change_room(
        self,
        room_id: int,
        *,
        name: str | None = None,
        description: str | None = None,
        open: bool | None = None,
        default: bool | None = None,
        key: str | None = None,
    ) -> Room:
        """Fields that are None stay as they are."""
        changes = _given(name=name, description=description, open=open, default=default)
        return await self._command("PATCH", f"/v1/rooms/{room_id}", changes, Room, key)

    async def delete_room(self, room_id: int, *, key: str | None = None) -> None:
        await self._connection.command("DELETE", f"/v1/rooms/{room_id}", key=key)

    async def members(self, room_id: int, *, limit: int | None = None, cursor: str | None = None) -> Members:
        return await self._get(f"/v1/rooms/{room_id}/members", Members, limit=limit, cursor=cursor)

    async def authors(self, room_id: int, account_ids: Iterable[int]) -> tuple[Author, ...]:
        """Names for a room's messages, also of accounts that have left the room. :class:`falcon_chat.Names` keeps
        them. An id that no account has is left out."""
        ids = list(dict.fromkeys(account_ids))
        found: list[Author] = []
        for start in range(0, len(ids), _AUTHORS_MAX):
            asked = ",".join(map(str, ids[start : start + _AUTHORS_MAX]))
            found += (await self._get(f"/v1/rooms/{room_id}/authors", Authors, ids=asked)).authors
        return tuple(found)

    async def put_member(self, room_id: int, account_id: int, role: Role, *, key: str | None = None) -> Member:
        """Bring an account in, or change its role. With your own account and the role ``member``: join an open room."""
        path = f"/v1/rooms/{room_id}/members/{account_id}"
        return await self._command("PUT", path, {"role": role}, Member, key)

    async def remove_member(self, room_id: int, account_id: int, *, key: str | None = None) -> None:
        """Removing your own account is leaving."""
        await self._connection.command("DELETE", f"/v1/rooms/{room_id}/members/{account_id}", key=key)

    # Messages

    async def post(
        self,
        room_id: int,
        text: str,
        *,
        reply_to: int | None = None,
        mentions: Iterable[int] = (),
        also_in_room: bool = False,
        key: str | None = None,
    ) -> PostedMessage:
        """``reply_to`` is the ``seq`` of a message of the room; ``mentions`` are account ids. ``also_in_room``: a
        message of a thread is posted in the thread's room, too, and the answer has its ``in_room``."""
        also = also_in_room or None
        body = _given(text=text, reply_to=reply_to, mentions=list(mentions) or None, also_in_room=also)
        return await self._command("POST", f"/v1/rooms/{room_id}/messages", body, PostedMessage, key)

    async def messages(
        self,
        room_id: int,
        *,
        limit: int | None = None,
        before: int | None = None,
        after: int | None = None,
        around: int | None = None,
    ) -> Messages:
        """The newest, or those before, after or around a ``seq``; give at most one of the three."""
        path = f"/v1/rooms/{room_id}/messages"
        return await self._get(path, Messages, limit=limit, before=before, after=after, around=around)

    async def message(self, room_id: int, seq: int) -> Message:
        return await self._get(f"/v1/rooms/{room_id}/messages/{seq}", Message)

    async def history(self, room_id: int, *, after: int = 0, up_to: int | None = None) -> AsyncGenerator[Message, None]:
        """The messages after ``after``, in order, page by page. With ``up_to`` it continues until that ``seq`` has
        come: this is how to read what a CatchUp names. ``timeout`` bounds the time without progress."""
        patience = self._connection.patience()
        while up_to is None or after < up_to:
            page = await self.messages(room_id, after=after, limit=_PAGE_MAX)
            for message in page.messages:
                if up_to is not None and message.seq > up_to:
                    return
                yield message
                after = message.seq
            if page.messages:
                patience.renew()
            if page.has_after:
                continue
            if up_to is None:
                return
            if not page.messages:
                await patience.wait(LookupError(f"room {room_id} does not show message {up_to} yet"))

    async def edit(
        self, room_id: int, seq: int, text: str, *, mentions: Iterable[int] | None = None, key: str | None = None
    ) -> Message:
        """``mentions`` None: the message keeps its own."""
        body = _given(text=text, mentions=None if mentions is None else list(mentions))
        return await self._command("PATCH", f"/v1/rooms/{room_id}/messages/{seq}", body, Message, key)

    async def delete_message(self, room_id: int, seq: int, *, key: str | None = None) -> None:
        """The message keeps its place; its text goes."""
        await self._connection.command("DELETE", f"/v1/rooms/{room_id}/messages/{seq}", key=key)

    async def add_reaction(self, room_id: int, seq: int, emoji: str, *, key: str | None = None) -> ReactionCount:
        """``emoji`` is one emoji, fully qualified. To react with it again changes nothing."""
        return await self._command("PUT", _reaction(room_id, seq, emoji), None, ReactionCount, key)

    async def remove_reaction(self, room_id: int, seq: int, emoji: str, *, key: str | None = None) -> None:
        """Remove your own reaction. Without one nothing changes."""
        await self._connection.command("DELETE", _reaction(room_id, seq, emoji), key=key)

    async def reactions(
        self, room_id: int, seq: int, *, emoji: str | None = None, limit: int | None = None, cursor: str | None = None
    ) -> Reactions:
        """All reactions to a message, or those with one emoji; oldest first."""
        path = f"/v1/rooms/{room_id}/messages/{seq}/reactions"
        return await self._get(path, Reactions, emoji=emoji, limit=limit, cursor=cursor)

    async def add_pin(self, room_id: int, seq: int, *, key: str | None = None) -> Pin:
        """Pin a message to its room. If it is pinned nothing changes."""
        return await self._command("PUT", f"/v1/rooms/{room_id}/pins/{seq}", None, Pin, key)

    async def remove_pin(self, room_id: int, seq: int, *, key: str | None = None) -> None:
        """Unpin a message. Without a pin nothing changes."""
        await self._connection.command("DELETE", f"/v1/rooms/{room_id}/pins/{seq}", key=key)

    async def pins(self, room_id: int) -> Pins:
        """The pinned messages of a room, the newest pin first; at most 100."""
        return await self._get(f"/v1/rooms/{room_id}/pins", Pins)

    async def search(
        self,
        q: str,
        *,
        room_id: int | None = None,
        author_id: int | None = None,
        mentions: Literal["me"] | None = None,
        has: Literal["file", "link"] | None = None,
        after: datetime | None = None,
        before: datetime | None = None,
        sort: Literal["newest", "relevance"] | None = None,
        limit: int | None = None,
        cursor: str | None = None,
    ) -> FoundMessages:
        """Messages that have all words, "phrases", prefix* and no -word of ``q``, in your rooms and open ones."""
        query: dict[str, str | int | None] = {
            "q": q,
            "room": room_id,
            "from": author_id,
            "mentions": mentions,
            "has": has,
        }
        query["after"] = None if after is None else after.isoformat()
        query["before"] = None if before is None else before.isoformat()
        return await self._get("/v1/search", FoundMessages, **query, sort=sort, limit=limit, cursor=cursor)

    async def set_bookmark(self, room_id: int, seq: int, *, note: str = "", key: str | None = None) -> Bookmark:
        """Keep a message for yourself, or change its note."""
        return await self._command("PUT", f"/v1/bookmarks/{room_id}/{seq}", {"note": note}, Bookmark, key)

    async def remove_bookmark(self, room_id: int, seq: int, *, key: str | None = None) -> None:
        """Remove a bookmark. If there is none nothing changes."""
        await self._connection.command("DELETE", f"/v1/bookmarks/{room_id}/{seq}", key=key)

    async def bookmarks(self, *, limit: int | None = None, cursor: str | None = None) -> BookmarkPage:
        """Your bookmarks, the newest first. ``message`` is None once you cannot read its room."""
        return await self._get("/v1/bookmarks", BookmarkPage, limit=limit, cursor=cursor)

    async def readers(
        self, room_id: int, seq: int, *, limit: int | None = None, cursor: str | None = None
    ) -> MessageReaders:
        """The members who have read up to a message or further, without its author and members who hide their reads."""
        return await self._get(
            f"/v1/rooms/{room_id}/messages/{seq}/readers", MessageReaders, limit=limit, cursor=cursor
        )

    async def thread(self, room_id: int, seq: int, *, key: str | None = None) -> Room:
        """Give the message's thread, which is a room. Falcon starts it if the message has none."""
        return await self._command("PUT", f"/v1/rooms/{room_id}/messages/{seq}/thread", None, Room, key)

    async def follow(self, thread_id: int, *, key: str | None = None) -> None:
        """Follow a thread. Its earlier messages count as read."""
        await self._connection.command("PUT", f"/v1/rooms/{thread_id}/follow", key=key)

    async def unfollow(self, thread_id: int, *, key: str | None = None) -> None:
        """Unfollow a thread, until the account is mentioned there or follows it again."""
        await self._connection.command("DELETE", f"/v1/rooms/{thread_id}/follow", key=key)

    async def threads(self, *, unread: bool = False, limit: int | None = None, cursor: str | None = None) -> Threads:
        """The threads that the account follows, the newest message first. ``unread``: only those with unread ones."""
        return await self._get("/v1/threads", Threads, unread="true" if unread else None, limit=limit, cursor=cursor)

    async def mark_read(self, room_id: int, seq: int, *, force: bool = False, key: str | None = None) -> ReadState:
        """Read up to ``seq``. The mark moves forward only, unless ``force``; forced to 0, everything is unread."""
        body = _given(seq=seq, force=force or None)
        return await self._command("PUT", f"/v1/rooms/{room_id}/read", body, ReadState, key)

    # What happens

    async def say_typing(self, room_id: int) -> None:
        """Repeat it every few seconds while you type. It takes no key. The server passes it on once a second at
        most."""
        await self._connection.command("POST", f"/v1/rooms/{room_id}/typing")

    def stream(
        self,
        rooms: Iterable[int] | None = None,
        resume: str | None = None,
        *,
        signals: Iterable[Literal["typing", "presence", "accounts", "receipts"]] = (),
        watch: Iterable[int] = (),
    ) -> Stream:
        """Events of these rooms, or of all rooms of the account, also those it joins later.

        >>> async for event in falcon.stream():
        ...     if isinstance(event, MessagePosted):
        ...         print(event.message.text)

        It continues for as long as you iterate: over lost connections, restarts of the server and all addresses. It
        gives each event once, in order. Only a refusal ends it (Problem: the token, a room); ``timeout`` does not
        apply. The first event is Hello, the present state; after a reconnection the missed events come first.

        To miss nothing over your own restarts, store ``event.id`` after you have processed an event, and start with
        ``resume=`` the last one that you stored. If you are killed before you store it, that event comes again. Make
        that harmless: post with a ``key`` made from the event, such as
        ``f"answer-{message.room_id}-{message.seq}"``, and the same text; the server remembers keys for ten minutes.
        If the server was restored from a copy, the stream gives Restarted and then Hello; if it does not know the
        ``resume`` that you gave, ResumeRefused is raised: start without it.
        After too long an absence CatchUp comes instead of the events: read each room with :meth:`history`. If you were
        removed from one of ``rooms`` meanwhile, the stream is refused (404) without the events before that.

        ``signals``: typing (Typing). ``watch``: at most 500 accounts with which this one shares a room, which are
        reported as they come and go (Presence); :meth:`Stream.watch` changes them. ``signals``: receipts (Receipts),
        how far others read in ``rooms`` of at most 100 members. All are best effort.
        """
        self._streams = [stream for stream in self._streams if not stream.is_closed]
        self._streams.append(Stream(self._connection, rooms, resume, signals, watch))
        return self._streams[-1]

    # Import and export

    async def import_lines(self, lines: bytes, *, key: str | None = None) -> Imported:
        """Admins only. ``lines``: JSON, one object a line, at most 1 MiB and 2,000 lines."""
        content_type = "application/x-ndjson"
        response = await self._connection.command("POST", "/v1/import", lines, key=key, content_type=content_type)
        return _decoded(response, Imported)

    def export(self, header: ExportHeader | None = None, resume: str | None = None) -> AsyncGenerator[bytes, None]:
        """Admins only. Blocks of whole lines, from the header on; or from ``resume`` on (see `resume_token`), in an
        export that began with ``header``. `is_end` recognizes the last line.

        After a broken connection it continues where it broke; ``timeout`` bounds the time without progress. Raises
        ExportFailed if the server cannot complete the export.
        """
        return export_blocks(self._connection, header, resume)

    async def export_header(self) -> ExportHeader:
        """Admins only. The first line of an export that begins now."""
        async with aclosing(export_blocks(self._connection, None, None)) as blocks:
            async for block in blocks:
                return msgspec.json.decode(block.partition(b"\n")[0], type=ExportHeader)
        raise Problem(200, "not_falcon", "the export is empty")

    async def _get(self, path: str, answer: type[T], **params: str | int | None) -> T:
        return _decoded(await self._connection.query(path, _given(**params)), answer)

    async def _command(
        self, method: str, path: str, body: dict[str, Any] | None, answer: type[T], key: str | None
    ) -> T:
        content = None if body is None else msgspec.json.encode(body)
        return _decoded(await self._connection.command(method, path, content, key=key), answer)


def _given(**fields: Any) -> dict[str, Any]:
    """The fields that are not None."""
    return {name: value for name, value in fields.items() if value is not None}


def _decoded(response: httpx.Response, answer: type[T]) -> T:
    try:
        return msgspec.json.decode(response.content, type=answer)
    except msgspec.DecodeError as fault:
        detail = f"{response.url} does not answer as Falcon does: {fault}"
        raise Problem(response.status_code, "not_falcon", detail) from fault


def _reaction(room_id: int, seq: int, emoji: str) -> str:
    return f"/v1/rooms/{room_id}/messages/{seq}/reactions/{quote(emoji)}"
