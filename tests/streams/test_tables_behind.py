"""Streams while the read tables stand still, or are slow: the log continues, and who comes back continues with it."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

import apsw
import pytest

from falcon.adapters.sqlite import database
from falcon.adapters.sqlite.read_store import SqliteReadStore
from falcon.features.rooms.rules import OpenDirect
from falcon.http import bearer_tokens
from falcon.http.stream.turns import _TURNS
from falcon.read.store import ReadStoreUnavailable
from tests.streams.reader import Event, Listen, Listener, problem_of
from tests.streams.test_stream import away_for_long, begun, names, revoke, second_token, seqs, ticket_of
from tests.support.http import Falcon, Person

# By projection: the queries that read its tables only.
TABLES: Final = {
    "timeline": ("page", "message", "messages", "message_at", "newest", "summaries"),
    "rooms": ("room", "rooms_among", "direct_rooms", "all_rooms"),
    "memberships": ("roles_of", "mentions"),
    "accounts": ("accounts", "names_of", "bearer", "tokens"),
}
ALL: Final = tuple(TABLES)
# Queries that read several tables, and are as old as the oldest of them here.
MIXED: Final = {
    "rooms": ("rooms_of", "member_rooms", "member_rooms_among", "summaries_of", "access"),
    "memberships": (
        *("rooms_of", "member_rooms", "member_rooms_among", "summaries", "summaries_of"),
        *("access", "members"),
    ),
}


@pytest.fixture
def stop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., None]]:
    """Projections that stand still from now on: of a copy of their tables, which others continue beside."""

    with ExitStack() as opened:

        def stopped(falcon: Falcon, *projections: str) -> None:
            copy = tmp_path / "stopped.db"
            connection = database.connect(falcon.settings.database, writable=False)
            connection.execute("VACUUM INTO ?", (str(copy),))
            connection.close()
            old_connection = apsw.Connection(str(copy))
            opened.callback(old_connection.close)
            live, old = falcon.edge.store, SqliteReadStore(old_connection)
            applied_live = live.applied_everywhere

            async def applied_everywhere(partitions: int, which: tuple[str, ...] | None = None) -> Any:
                behind = set(which or ALL) & set(projections)
                return await (old.applied_everywhere if behind else applied_live)(partitions, which)

            monkeypatch.setattr(live, "applied_everywhere", applied_everywhere)
            for projection in projections:
                for query in (*TABLES[projection], *MIXED.get(projection, ())):
                    monkeypatch.setattr(live, query, getattr(old, query))

        yield stopped


def room_in(hello: Event, room: Any) -> Any:
    return next(each for each in hello.data["rooms"] if each["room_id"] == room.room_id)


# --- what a stream begins with ----------------------------------------------------------------------------------------


def test_a_state_and_what_follows_it_have_every_message_though_one_table_lacks_some(
    start: Callable[..., Falcon], listen: Listen, stop: Callable[..., None]
) -> None:
    falcon = start()
    anna, ben = falcon.account("Anna"), falcon.account("Ben")
    room = anna.makes_room("Tea", ben)
    anna.says(room, "One", mentions=[ben.account_id])
    stop(falcon, "timeline")
    anna.says(room, "Two", mentions=[ben.account_id])
    anna.says(room, "Three")
    stream = listen(ben)
    shown = room_in(stream.next(), room)
    assert (shown["last_seq"], shown["last_message"]["text"]) == (1, "One")
    assert (shown["unread"], shown["mentions"]) == (1, 1)
    assert [stream.next().data["text"] for _ in range(2)] == ["Two", "Three"]
    anna.says(room, "Four")
    assert stream.next().data["text"] == "Four"


def test_a_state_of_a_room_without_a_message_that_all_tables_show(
    start: Callable[..., Falcon], listen: Listen, stop: Callable[..., None]
) -> None:
    falcon = start()
    anna = falcon.account("Anna")
    room = anna.makes_room("Tea")
    stop(falcon, "timeline")
    anna.says(room, "One")
    stream = listen(anna)
    shown = room_in(stream.next(), room)
    assert (shown["last_seq"], shown["last_message"], shown["unread"]) == (0, None, 0)
    assert stream.next().data["text"] == "One"


def test_who_is_to_catch_up_is_told_of_messages_that_can_be_read(
    start: Callable[..., Falcon], listen: Listen, stop: Callable[..., None]
) -> None:
    falcon = start(stream_events=10)
    anna, room, hello = away_for_long(falcon, listen)
    stop(falcon, "timeline")
    anna.says(room, "And one that no page has yet")
    again = listen.resume(anna, hello)
    assert again.next().data == {"rooms": [{"room_id": room.room_id, "last_seq": 20}]}
    assert seqs([again.next()]) == [21]


def test_a_room_that_one_has_just_come_to_can_be_listened_to_before_the_tables_know(
    start: Callable[..., Falcon], listen: Listen, stop: Callable[..., None]
) -> None:
    falcon = start()
    anna, cleo = falcon.account("Anna"), falcon.account("Cleo")
    room, other = anna.makes_room("Tea"), anna.makes_room("Other")
    stop(falcon, *ALL)
    assert anna.put(f"{room}/members/{cleo.account_id}", {"role": "member"}).is_success
    stream = listen(cleo, rooms=str(room.room_id))
    assert stream.next().data["rooms"] == []
    anna.says(room, "Welcome")
    assert names([stream.next(), stream.next()]) == ["member.joined", "message.posted"]
    problem_of(listen(cleo, rooms=str(other.room_id)), 404, "room_not_found")


# --- who comes back ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("projections", [("timeline",), ("memberships", "accounts"), ALL])
def test_who_comes_back_waits_for_no_table(
    start: Callable[..., Falcon], listen: Listen, stop: Callable[..., None], projections: tuple[str, ...]
) -> None:
    falcon = start()
    anna, ben = falcon.account("Anna"), falcon.account("Ben")
    room = anna.makes_room("Tea", ben)
    stop(falcon, *projections)
    stream = begun(listen(ben))
    anna.says(room, "One")
    new = anna.makes_room("Coffee", ben)
    heard = stream.until("room.created")
    assert names(heard) == ["message.posted"]
    anna.says(new, "Two")
    anna.patch(str(new), {"name": "Water"})
    anna.delete(f"{room}/members/{ben.account_id}")
    live = [stream.next() for _ in range(3)]
    assert names(live) == ["message.posted", "room.changed", "member.left"]
    for place, token in enumerate((stream.events[-4], *live)):
        again = listen.resume(ben, token)
        assert again.until("caught_up") == live[place:]
    anna.says(room, "Without him")
    anna.says(new, "With him")
    assert again.next().data["text"] == "With him"


def test_who_comes_back_to_a_room_that_he_has_left_hears_nothing_of_it(
    start: Callable[..., Falcon], listen: Listen, stop: Callable[..., None]
) -> None:
    falcon = start()
    anna, ben = falcon.account("Anna"), falcon.account("Ben")
    room = anna.makes_room("Tea", ben)
    stop(falcon, *ALL)
    stream = begun(listen(ben))
    anna.delete(f"{room}/members/{ben.account_id}")
    left = stream.next("member.left")
    anna.says(room, "Without him")
    assert listen.resume(ben, left).until("caught_up") == []
    problem_of(listen(ben, resume=left.id, rooms=str(room.room_id)), 404, "room_not_found")


def test_who_is_far_behind_and_names_a_room_that_is_not_his_is_refused(
    start: Callable[..., Falcon], listen: Listen
) -> None:
    falcon = start(stream_events=10)
    anna, ben = falcon.account("Anna"), falcon.account("Ben")
    room = anna.makes_room("Tea")
    hello = listen(ben).next()
    for i in range(20):
        anna.says(room, f"{i}")
    problem_of(listen(ben, resume=hello.id, rooms=str(room.room_id)), 404, "room_not_found")


def test_a_token_that_was_revoked_is_refused_before_the_tables_know(
    start: Callable[..., Falcon], listen: Listen, stop: Callable[..., None]
) -> None:
    """Also the token of a remembered caller, and one in a ticket."""
    falcon = start()
    anna = falcon.account("Anna")
    phone = second_token(anna)
    ticket, hello = ticket_of(phone), begun(listen(phone)).events[0]
    stop(falcon, *ALL)
    assert anna.delete(f"/v1/accounts/{anna.account_id}/tokens/2").status_code == 204
    assert listen.opened[0].next().data["reason"] == "unauthenticated"
    problem_of(listen(phone), 401, "unauthenticated")
    problem_of(listen.resume(phone, hello), 401, "unauthenticated")
    problem_of(listen.bare(falcon, {}, ticket=ticket), 401, "unauthenticated")
    assert listen.resume(anna, hello).next().name == "caught_up"


def test_a_token_that_was_just_issued_is_good_before_the_tables_know(
    start: Callable[..., Falcon], listen: Listen, stop: Callable[..., None]
) -> None:
    falcon = start()
    anna = falcon.account("Anna")
    stop(falcon, *ALL)
    phone = second_token(anna)
    ticket = bearer_tokens.ticket(falcon.edge.secret, anna.account_id, hash_of(phone))
    assert listen.bare(falcon, {}, ticket=ticket).next().name == "hello"


def hash_of(person: Person) -> str:
    parsed = bearer_tokens.parse(person.token)
    assert parsed is not None
    return bearer_tokens.hash_of(parsed[1])


@pytest.fixture
def no_names(monkeypatch: pytest.MonkeyPatch) -> None:
    """A direct room is opened as an older Falcon did: its event does not have the names."""
    monkeypatch.setattr("falcon.features.rooms.api.OpenDirect", lambda by, peer, _: OpenDirect(by, peer))


@pytest.mark.usefixtures("no_names")
def test_a_direct_room_bears_the_other_ones_name_though_the_tables_learn_it_late(
    start: Callable[..., Falcon], listen: Listen, monkeypatch: pytest.MonkeyPatch
) -> None:
    falcon = start()
    anna, ben = falcon.account("Anna"), falcon.account("Ben")
    stream = begun(listen(ben))
    falcon.edge.names.forget()
    find, asked = falcon.edge.store.names_of, 0

    async def names_of(account_ids: Any) -> Any:
        nonlocal asked
        if anna.account_id in account_ids:
            asked += 1
        return {} if 0 < asked < 6 else await find(account_ids)

    monkeypatch.setattr(falcon.edge.store, "names_of", names_of)
    anna.direct_with(ben)
    assert stream.next().data["name"] == "Anna"
    again = listen.resume(ben, stream.events[0])
    assert [(event.name, event.data["name"]) for event in again.until("caught_up")] == [("room.created", "Anna")]
    assert asked == 6, "a name that is known is not looked up again"


@pytest.mark.usefixtures("no_names")
def test_a_name_that_the_tables_never_learn_ends_the_stream_and_not_the_others(
    start: Callable[..., Falcon], listen: Listen, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("falcon.read.lookups._KNOWN_SECONDS", 0.05)
    falcon = start()
    anna, ben = falcon.account("Anna"), falcon.account("Ben")
    room = anna.makes_room("Tea", ben)
    hello = listen(ben).next()

    async def names_of(account_ids: Any) -> Any:
        return {}

    anna.direct_with(ben)
    falcon.edge.names.forget()
    monkeypatch.setattr(falcon.edge.store, "names_of", names_of)
    bye = listen.resume(ben, hello).rest()[-1]
    assert (bye.name, bye.data["reason"], bye.id) == ("bye", "draining", hello.id)
    assert anna.says(room, "Still here") == 1


# --- all at once ------------------------------------------------------------------------------------------------------


class SlowTables:
    """Every query takes ``seconds``, ``threads`` at a time, and when more than ``queue`` wait they are refused."""

    def __init__(self, store: Any, patch: pytest.MonkeyPatch, *, threads: int, queue: int, seconds: float) -> None:
        self.asked = 0
        self.most_waiting = 0
        self._waiting = 0
        self._threads = asyncio.Semaphore(threads)
        self._queue = queue
        self._seconds = seconds
        for names_of in (*TABLES.values(), *MIXED.values(), ("applied", "applied_everywhere")):
            for name in names_of:
                if not hasattr(getattr(store, name), "slow"):
                    patch.setattr(store, name, self._slow(getattr(store, name)))

    def _slow(self, query: Callable[..., Any]) -> Callable[..., Any]:
        async def slowed(*arguments: Any) -> Any:
            self.asked += 1
            if self._waiting >= self._queue:
                raise ReadStoreUnavailable("too many wait for the tables")
            self._waiting += 1
            self.most_waiting = max(self.most_waiting, self._waiting)
            async with self._threads:
                self._waiting -= 1
                await asyncio.sleep(self._seconds)
                return await query(*arguments)

        slowed.slow = True  # type: ignore[attr-defined]
        return slowed


@pytest.mark.parametrize("resumes", [True, False])
def test_a_thousand_who_come_back_at_once_are_all_live_soon(
    start: Callable[..., Falcon], listen: Listen, monkeypatch: pytest.MonkeyPatch, resumes: bool
) -> None:
    """As after the end of an API process, on tables as quick as a cluster's."""
    falcon = start()
    people = [falcon.account(f"Person {i}") for i in range(25)]
    room = people[0].makes_room("Tea", *people[1:])
    hello = listen(people[0]).next()
    people[0].says(room, "Missed")
    tables = SlowTables(falcon.edge.store, monkeypatch, threads=16, queue=256, seconds=0.003)
    for person in people:
        falcon.edge.authenticator.forget(person.account_id)
    query = {"resume": hello.id} if resumes else {}
    back = [
        Listener(falcon, "sse", query, {"Authorization": f"Bearer {person.token}"})
        for person in people
        for _ in range(40)
    ]
    listen.opened += back

    async def all_are_live() -> None:
        async def lives(listener: Listener) -> None:
            await listener._open()
            await listener.wait_for(lambda: bool({"hello", "caught_up"} & set(names(listener.events))))

        async with asyncio.timeout(60):
            await asyncio.gather(*map(lives, back))

    falcon.run(all_are_live())
    assert {each.status for each in back} == {200}
    assert tables.most_waiting <= 16, "others are to be served meanwhile"
    people[0].says(room, "Welcome back")
    for each in back[::50]:
        assert each.next("message.posted").data["seq"] == (1 if resumes else 2)


def test_streams_that_cannot_begin_in_time_are_sent_elsewhere(
    start: Callable[..., Falcon], listen: Listen, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("falcon.http.stream.turns._TURN_SECONDS", 0.05)
    falcon = start()
    anna = falcon.account("Anna")
    turns = falcon.edge.streams._opener._turns.free
    for _ in range(_TURNS):
        falcon.run(turns.acquire())
    refused = listen(anna)
    problem_of(refused, 503, "overloaded")
    assert int(refused.answer_headers["retry-after"]) >= 1
    turns.release()
    assert listen(anna).next().name == "hello"
    assert falcon.edge.streams._opening == 0


def test_nobody_waits_for_those_whose_revoked_tokens_are_checked_with_the_log(
    start: Callable[..., Falcon], listen: Listen, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While a projection has stopped, say, each such check takes as long as a request may wait."""
    falcon = start()
    anna, ben = falcon.account("Anna"), falcon.account("Ben")
    phone = second_token(anna)
    revoke(anna, phone)
    checks, over = 0, asyncio.Event()

    async def catch_up(partition: int, seconds: float) -> None:
        nonlocal checks
        checks += 1
        await over.wait()

    monkeypatch.setattr(falcon.edge.reads.freshness, "catch_up", catch_up)
    bearer = {"Authorization": f"Bearer {phone.token}"}
    refused = [Listener(falcon, "sse", {}, bearer) for _ in range(2 * _TURNS)]

    async def ben_listens_while_they_wait() -> None:
        async with asyncio.TaskGroup() as tasks:
            for each in refused:
                tasks.create_task(each._open())
            while checks < _TURNS:
                await asyncio.sleep(0)
            stream = Listener(falcon, "sse", {}, {"Authorization": f"Bearer {ben.token}"})
            listen.opened.append(stream)
            try:
                await stream._open()
            finally:
                over.set()

    falcon.run(ben_listens_while_they_wait())
    assert listen.opened[0].status == 200
    assert {each.status for each in refused} == {401}


def test_those_who_are_about_to_begin_count_among_the_streams_of_a_server(
    start: Callable[..., Falcon], listen: Listen
) -> None:
    falcon = start(streams_max=2)
    anna = falcon.account("Anna")
    begun(listen(anna))
    falcon.edge.streams._opening = 1
    problem_of(listen(anna), 503, "overloaded")
    falcon.edge.streams._opening = 0
    begun(listen(anna))
