"""Colleagues who are invited, sign in, change their names, race for handles, get roles and lose them, go and come back.

Each does one thing at a time, so the model beside it knows what answers must say. Only handles are shared: the one who
has been answered has it until it begins to give it up.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

from tools.people.asking import Ask, Asking, Command, Reply
from tools.people.sessions import Account

Follow: TypeAlias = Callable[[str, str, Callable[[], None]], Coroutine[Any, Any, None]]

WITHDRAWN_SECONDS: Final = 2.0  # after which no process grants what was taken away
_STRANGER: Final = Account(0, "")
_HANDLES: Final = 4
_ENDED: Final = 6
_PASSWORDS: Final = ("tea at four o'clock", "coffee at ten o'clock", "cake at half past three")
_WRONG: Final = 0.2  # of the sign-ins, also a wrong one: ten in ten minutes lock a login
_LOOK_SECONDS: Final = (0.0, 1.5)  # between the end of the two seconds and a look


@dataclass(eq=False)
class Colleague:
    """``token``: one that stays until the colleague is deactivated. ``ended``: tokens that are refused, and since when.
    ``moving``: it may be giving up its handle."""

    account: Account
    name: str
    handle: str | None = None
    password: str = ""
    moving: bool = False
    is_in: bool = False  # the open room
    ended: list[tuple[str, float]] = field(default_factory=list)


class Colleagues(Asking):
    """``owner`` manages them. ``follow``: follows the stream of a server with a token until it ends,
    and says when something has come. ``handles``: how
    many they race for. ``grace_seconds``: that a server may be late by, since it may be frozen."""

    later = frozenset({429, 503})  # a sign-in that had no answer counts as wrong for a while

    def __init__(
        self,
        ask: Ask,
        urls: Callable[[], Sequence[str]],
        owner: Account,
        chance: random.Random,
        *,
        steady: Callable[[], float],
        follow: Follow,
        name: str = "colleagues",
        handles: int = _HANDLES,
        grace_seconds: float = 0.0,
    ) -> None:
        super().__init__(ask, urls, chance, steady=steady, name=name)
        self.wishes = 0
        self._owner = owner
        self._follow = follow
        self._withdrawn_seconds = WITHDRAWN_SECONDS + grace_seconds
        self._handles = [f"handle.{number}" for number in range(handles)]
        self._all: list[Colleague] = []
        self._room = 0
        self._streams: set[asyncio.Task[None]] = set()

    # --- what they do -------------------------------------------------------------------------------------------------

    async def arrive(self, count: int) -> None:
        made = await self._do(self._owner, "POST", "/v1/rooms", {"name": "Open"}, 201)
        self._room = 0 if made is None else made.body["room_id"]
        await self._do(self._owner, "PATCH", f"/v1/rooms/{self._room}", {"open": True}, 200, {"open": True})
        for number in range(count):
            made = await self._do(self._owner, "POST", "/v1/accounts", {"name": f"Colleague {number}"}, 201)
            if made is not None:
                account = Account(made.body["account_id"], made.body["token"])
                self._all.append(Colleague(account, made.body["name"]))

    async def work(self, pause_seconds: tuple[float, float]) -> None:
        """Until ``ending`` is set."""
        acts: dict[Callable[[Colleague], Awaitable[None]], int] = {
            self._rename: 3,
            self._wish: 10,
            self._wish_twice: 4,
            self._join_and_leave: 3,
            self._sign_in_and_out: 3,
            self._use_a_link_twice: 2,
            self._accept_one_invitation_twice: 2,
            self._rise_and_fall: 3,
            self._go_and_come_back: 2,
        }
        await self._each(acts, pause_seconds)

    async def race(self, pause_seconds: tuple[float, float], wishes: int) -> None:
        """Only wish, together so often."""
        wanted = self.wishes + wishes
        await self._each({self._wish: 5, self._wish_twice: 1}, pause_seconds, lambda: self.wishes >= wanted)

    async def _each(
        self,
        acts: Mapping[Callable[[Colleague], Awaitable[None]], int],
        pause_seconds: tuple[float, float],
        enough: Callable[[], bool] = lambda: False,
    ) -> None:
        async def one(colleague: Colleague) -> None:
            while not (self.ending or enough()):
                [act] = self.chance.choices([*acts], [*acts.values()])
                await act(colleague)
                await self._check(colleague)
                await asyncio.sleep(self.chance.uniform(*pause_seconds))

        try:
            await asyncio.gather(*map(one, self._all))
        finally:
            await self._hang_up(self._streams)

    # --- names and handles --------------------------------------------------------------------------------------------

    async def _rename(self, one: Colleague) -> None:
        self._number += 1
        name = f"{one.name.partition(',')[0]}, {self._number}"
        if await self._do(one.account, "PATCH", "/v1/me", {"name": name, "title": "Tea"}, 200) is not None:
            one.name = name

    async def _wish(self, one: Colleague) -> None:
        """For a handle that others may have, or for none."""
        wished = self.chance.choice([*self._handles, None])
        one.moving = True
        if await self._shows(one, await self._wished(one, wished), wished):
            one.handle = wished
        one.moving = self.ending

    async def _wish_twice(self, one: Colleague) -> None:
        """From two devices, for two handles: the newest wish wins, whichever that is."""
        first, second = self.chance.sample(self._handles, 2)
        one.moving = True
        replies = await asyncio.gather(self._wished(one, first), self._wished(one, second))
        may_be = {one.handle if reply is None or reply.status != 200 else None for reply in replies} - {None}
        for wished, reply in zip((first, second), replies, strict=True):
            if reply is None or reply.status == 200:
                may_be.add(wished)
            elif reply.status != 409:
                self._say(f"a wish of account {one.account.account_id} was answered {reply.status} {reply.body}")
        seen = await self._query(one.account, "/v1/me")
        if seen is not None and seen.status == 200:
            if seen.body["handle"] not in may_be and (may_be or seen.body["handle"] is not None):
                self._say(f"account {one.account.account_id} wished twice, and shows {seen.body['handle']}: {replies}")
            one.handle = seen.body["handle"]
            self._judge_holders(one)
        one.moving = self.ending

    async def _wished(self, one: Colleague, handle: str | None) -> Reply | None:
        self.wishes += 1
        self._number += 1
        key = f"{self._name}-{self._number}"
        return await self._insist(Command(one.account, "PATCH", "/v1/me", {"handle": handle}, key, (200, {})))

    async def _shows(self, one: Colleague, reply: Reply | None, wished: str | None) -> bool:
        """True if the wish was granted."""
        if reply is None:
            return False
        if reply.status == 200 and reply.body["handle"] == wished:
            before, one.handle = one.handle, wished
            self._judge_holders(one)
            one.handle = before
            return True
        if (reply.status, reply.body.get("code")) != (409, "handle_taken"):
            self._say(f"a wish of account {one.account.account_id} was answered {reply.status} {reply.body}")
        return False

    def _judge_holders(self, one: Colleague) -> None:
        for other in self._all:
            if other is not one and one.handle is not None and other.handle == one.handle and not other.moving:
                ids = [one.account.account_id, other.account.account_id]
                self._say(f"accounts {ids} both have {one.handle}")

    async def _check(self, one: Colleague) -> None:
        """Also at another server than the one that answered; tokens that have ended stay so."""
        seen = await self._query(one.account, "/v1/me")
        if seen is None:
            return
        shown = {field: (seen.body or {}).get(field) for field in ("name", "handle", "role", "deactivated")}
        wanted = {"name": one.name, "handle": one.handle, "role": "member", "deactivated": False}
        if shown != wanted:
            self._say(f"account {one.account.account_id} is shown as {seen.status} {shown}, not {wanted}")
        if one.ended:
            token, since = self.chance.choice(one.ended)
            await self._refused(token, since, "GET", "/v1/me", None, 401)

    # --- the open room ------------------------------------------------------------------------------------------------

    async def _join_and_leave(self, one: Colleague) -> None:
        member = f"/v1/rooms/{self._room}/members/{one.account.account_id}"
        self._number += 1
        said = {"text": f"{self._name} {self._number}"}
        says = f"/v1/rooms/{self._room}/messages"
        await self._do(one.account, "POST", says, said, 201 if one.is_in else 403)
        if one.is_in:
            if await self._do(one.account, "DELETE", member, None, 204) is not None:
                one.is_in = False
        elif await self._do(one.account, "PUT", member, {"role": "member"}, 200) is not None:
            one.is_in = True

    # --- signing in ---------------------------------------------------------------------------------------------------

    async def _sign_in_and_out(self, one: Colleague) -> None:
        if not one.password:
            await self._use_a_link_twice(one)
        if not one.password or one.handle is None:
            return
        credentials = {"login": one.handle, "password": one.password, "bearer": True}
        signed_in = await self._do(_STRANGER, "POST", "/v1/sign-in", credentials, 201)
        if signed_in is None:
            return
        session = Account(one.account.account_id, signed_in.body["token"])
        following = self._following(session.token)
        if self.chance.random() < _WRONG:
            await self._do(_STRANGER, "POST", "/v1/sign-in", {**credentials, "password": "something else"}, 401)
        out = await self._insist(Command(session, "DELETE", "/v1/session", None, self._key(), (204, {})))
        if out is None:
            return
        if out.status not in (204, 401):  # a retry has no session any more
            self._say(f"signing out of account {one.account.account_id} was answered {out.status} {out.body}")
        await self._end(one, [session.token], following)

    async def _use_a_link_twice(self, one: Colleague) -> None:
        """Two people have found it, and one is let in."""
        path = f"/v1/accounts/{one.account.account_id}/sign-in-link"
        linked = await self._do(self._owner, "POST", path, {}, 201)
        if linked is None:
            return
        code = linked.body["url"].partition("=")[2]
        passwords = self.chance.sample(_PASSWORDS, 2)
        bodies = [{"password": each, "bearer": True} for each in passwords]
        path = f"/v1/sign-in/by-code/{code}"
        replies = await asyncio.gather(*(self._ask(self._url(), "POST", path, {}, body) for body in bodies))
        let_in = [n for n, reply in enumerate(replies) if reply is not None and reply.status == 201]
        if len(let_in) > 1:
            self._say(f"a link let two in: {replies}")
        one.password = passwords[let_in[0]] if let_in else ""
        if let_in:
            again = await self._insist(Command(_STRANGER, "POST", path, bodies[0], "", (404, {})))
            if again is not None and again.status != 404:
                self._say(f"a used link was answered {again.status} {again.body}")

    async def _accept_one_invitation_twice(self, one: Colleague) -> None:
        body = {"uses": 1, "rooms": [self._room]}
        invited = await self._do(self._owner, "POST", "/v1/invitations", body, 201)
        if invited is None:
            return
        path = f"/v1/invitations/by-code/{invited.body['url'].partition('=')[2]}"
        self._number += 1
        bodies = [{"name": f"Newcomer {self._number}", "password": each, "bearer": True} for each in _PASSWORDS[:2]]
        commands = [Command(_STRANGER, "POST", path, body, "", (201, {})) for body in bodies]
        replies = await asyncio.gather(*map(self._insist, commands))
        answered = [reply for reply in replies if reply is not None]
        if len(answered) == len(replies) and sorted(reply.status for reply in answered) != [201, 404]:
            self._say(f"an invitation for one was answered {[(each.status, each.body) for each in answered]}")
        for newcomer in (reply.body for reply in answered if reply.status == 201):
            account = Account(newcomer["account"]["account_id"], newcomer["token"])
            self._number += 1
            said = {"text": f"{self._name} {self._number}"}
            await self._do(account, "POST", f"/v1/rooms/{self._room}/messages", said, 201)

    # --- what may be withdrawn ----------------------------------------------------------------------------------------

    async def _rise_and_fall(self, one: Colleague) -> None:
        path = f"/v1/accounts/{one.account.account_id}"
        if await self._do(self._owner, "PATCH", path, {"role": "admin"}, 200, {"is_admin": True}) is None:
            return
        seen = await self._query(one.account, "/v1/me")
        if seen is not None and seen.body.get("role") != "admin":
            self._say(f"account {one.account.account_id} is an admin, and is shown as {seen.body}")
        if await self._do(self._owner, "PATCH", path, {"role": "member"}, 200, {"is_admin": False}) is None:
            return
        since = self._steady()
        acts: list[tuple[str, str, Any]] = [
            ("GET", "/v1/accounts?limit=1", None),
            ("PATCH", path, {"about": "of an admin"}),
            ("POST", "/v1/invitations", {}),
            ("POST", f"{path}/sign-in-link", {}),
        ]
        for _ in self._urls():
            await self._refused(one.account.token, since, *self.chance.choice(acts), 403)

    async def _go_and_come_back(self, one: Colleague) -> None:
        path = f"/v1/accounts/{one.account.account_id}"
        following = self._following(one.account.token)
        if await self._do(self._owner, "PATCH", path, {"deactivated": True}, 200, {"deactivated": True}) is None:
            return
        await self._end(one, [one.account.token], following)
        await self._do(self._owner, "POST", f"{path}/tokens", {}, 403)
        if await self._do(self._owner, "PATCH", path, {"deactivated": False}, 200, {"deactivated": False}) is None:
            return
        issued = await self._do(self._owner, "POST", f"{path}/tokens", {}, 201)
        if issued is not None:
            one.account = Account(one.account.account_id, issued.body["token"])

    def _following(self, token: str) -> "Mapping[asyncio.Task[None], asyncio.Event]":
        """The streams, each with whether it has begun: one that waits for its first event shows nothing."""
        following: dict[asyncio.Task[None], asyncio.Event] = {}
        for url in self._urls():
            begun = asyncio.Event()
            following[asyncio.create_task(self._follow(url, token, begun.set))] = begun
        self._streams.update(following)
        return following

    async def _end(
        self, one: Colleague, tokens: Sequence[str], following: "Mapping[asyncio.Task[None], asyncio.Event]"
    ) -> None:
        """These have ended now, with their streams."""
        since = self._steady()
        one.ended = [*one.ended, *((token, since) for token in tokens)][-_ENDED:]
        for token in tokens:
            await self._refused(token, since, "GET", "/v1/me", None, 401)
        late = self._withdrawn_seconds + _LOOK_SECONDS[1] - (self._steady() - since)
        going = (await asyncio.wait(following, timeout=max(0.0, late)))[1] if following else ()
        if any(following[each].is_set() for each in going):
            self._say(f"a stream of account {one.account.account_id} outlives its token")
        await self._hang_up(following)

    async def _hang_up(self, following: Iterable["asyncio.Task[None]"]) -> None:
        ending = set(following)
        for each in ending:
            each.cancel()
        await asyncio.gather(*ending, return_exceptions=True)
        self._streams -= ending

    async def _refused(self, token: str, since: float, method: str, path: str, body: Any, status: int) -> None:
        """Ask every server at least two seconds after that time; what they grant to others is no more granted."""
        pause = since + WITHDRAWN_SECONDS - self._steady()
        if pause > 0:
            await asyncio.sleep(pause + self.chance.uniform(*_LOOK_SECONDS))
        for url in self._urls():
            while not self.ending:
                asked = self._steady() - since
                reply = await self._ask(url, method, path, {"Authorization": f"Bearer {token}"}, body)
                if reply is None or reply.status in (status, *self.later):
                    break
                if asked > self._withdrawn_seconds:
                    self._say(f"{method} {path} was answered {reply.status} {asked:.1f} s after its end, at {url}")
                    break
                await asyncio.sleep(self.chance.uniform(*_LOOK_SECONDS))

    # --- asking -------------------------------------------------------------------------------------------------------

    async def _do(
        self, person: Account, method: str, path: str, body: Any, status: int, fields: Mapping[str, Any] | None = None
    ) -> Reply | None:
        """The reply if it is the expected one."""
        command = Command(person, method, path, body, self._key() if person.token else "", (status, fields or {}))
        reply = await self._insist(command)
        if reply is None:
            return None
        said = {name: (reply.body or {}).get(name) for name in command.expected[1]}
        if (reply.status, said) != command.expected:
            self._say(f"{command} was answered {reply.status} {reply.body}, not {command.expected}")
            return None
        return reply

    def _key(self) -> str:
        self._number += 1
        return f"{self._name}-{self._number}"
