"""The stream as the people who listen to it see it, over Server-Sent Events and over WebSockets."""

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from falcon.features.accounts.rules import RevokeToken
from falcon.http import bearer_tokens
from falcon.http.stream import sessions
from falcon.http.stream.sinks import SseSink
from falcon.journal.envelope import Envelope
from falcon.journal.ports import JournalUnavailable
from falcon.read.store import ReadStoreUnavailable
from falcon.streams import feed, replay, resume_tokens, revocations, room_lists
from falcon.streams.frames import Frame
from falcon.streams.tail import LocatedRecord
from falcon.telemetry import metrics
from falcon.write.gateway import partition_for
from falcon.write.protocol import Accepted, CommandEnvelope
from tests.streams.reader import Event, Listen, Listener, Transport, problem_of, soon
from tests.support.http import Falcon, Json, Person, Room, without_more
from tests.support.store_calls import StoreCalls
from tools.harness.waiting import eventually

Start = Callable[..., Falcon]
BOTH = pytest.mark.parametrize("transport", ["sse", "websocket"])


def shown(events: list[Event]) -> list[tuple[str, Any]]:
    return [(event.name, event.data) for event in events]


def names(events: list[Event]) -> list[str]:
    return [event.name for event in events]


def seqs(events: list[Event]) -> list[int]:
    return [event.data["seq"] for event in events if event.name == "message.posted"]


def begun(listener: Listener) -> Listener:
    """Past its hello."""
    assert listener.next().name == "hello"
    return listener


# --- hello ------------------------------------------------------------------------------------------------------------


@BOTH
def test_hello_is_the_state_that_the_events_after_it_continue(
    anna: Person, ben: Person, room: Room, listen: Listen, transport: Transport
) -> None:
    anna.says(room, "Tea?", mentions=[ben.account_id])
    anna.direct_with(ben)
    stream = listen(ben, transport=transport)
    hello = stream.next()
    assert (hello.name, hello.data) == (
        "hello",
        {
            "account_id": ben.account_id,
            "rooms": ben.rooms(),
            "truncated": False,
            "unread_threads": 0,
            "without_receipts": [],
        },
    )
    anna.says(room, "Or coffee?")
    assert stream.next().data == without_more(anna.message(room, 2))


def test_an_event_stream_is_not_kept_back_or_stored(anna: Person, listen: Listen) -> None:
    stream = listen(anna)
    assert stream.status == 200
    assert stream.answer_headers["content-type"].startswith("text/event-stream")
    assert stream.answer_headers["cache-control"] == "no-store"


def test_a_stream_looks_its_token_up_once(falcon: Falcon, listen: Listen, monkeypatch: pytest.MonkeyPatch) -> None:
    dora = falcon.account("Dora")
    calls = StoreCalls(falcon, monkeypatch)
    hello = begun(listen(dora)).events[0]
    assert calls.made.count("bearer") == 1
    falcon.edge.authenticator.forget(dora.account_id)
    assert listen.resume(dora, hello).next().name == "caught_up"
    assert calls.made.count("bearer") == 2


def test_one_who_is_nowhere_is_told_so(cleo: Person, listen: Listen) -> None:
    assert listen(cleo).next().data == {
        "account_id": cleo.account_id,
        "rooms": [],
        "truncated": False,
        "unread_threads": 0,
        "without_receipts": [],
    }


def test_of_very_many_rooms_the_newest_are_shown_and_all_are_heard(
    anna: Person, listen: Listen, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("falcon.http.stream.opening._HELLO_ROOMS_MAX", 2)
    rooms = [anna.makes_room(f"Room {i}") for i in range(4)]
    stream = listen(anna)
    hello = stream.next()
    assert hello.data["truncated"] is True
    assert hello.data["rooms"] == anna.rooms()[:2]
    for room in rooms:
        anna.says(room, "Anybody?")
    assert [stream.next("message.posted").data["room_id"] for _ in rooms] == [room.room_id for room in rooms]


def test_a_room_that_is_talked_in_while_the_list_is_read_is_heard(
    falcon: Falcon, anna: Person, listen: Listen, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(room_lists, "FEW", 2)
    monkeypatch.setattr(room_lists, "_PART", 2)
    rooms = [anna.makes_room(f"Room {i}") for i in range(4)]
    store = falcon.edge.store
    read = store.member_rooms
    parts: list[int] = []

    async def member_rooms(account_id: int, limit: int, after: int = 0) -> Any:
        found = await read(account_id, limit, after)
        parts.append(limit)
        if parts == [3, 2]:  # the account was found to be in many rooms
            await said(falcon, anna, rooms[0])
        return found

    monkeypatch.setattr(store, "member_rooms", member_rooms)
    hello = listen(anna).next()
    assert {each["room_id"] for each in hello.data["rooms"]} == {room.room_id for room in rooms}


async def said(falcon: Falcon, person: Person, room: Room) -> None:
    request = person.request("POST", f"{room}/messages", {"text": "Hello"})
    assert (await falcon._client.send(request)).status_code == 201


# --- every kind of event ----------------------------------------------------------------------------------------------


@BOTH
def test_messages_come_as_they_are_read(
    anna: Person, ben: Person, room: Room, listen: Listen, transport: Transport
) -> None:
    stream = begun(listen(ben, transport=transport))
    seq = anna.says(room, 'Tea? ☕ "quoted"\n\u2028 \0', mentions=[ben.account_id])
    assert shown([stream.next()]) == [("message.posted", without_more(anna.message(room, seq)))]
    anna.patch(f"{room}/messages/{seq}", {"text": "Coffee?"})
    assert shown([stream.next()]) == [("message.edited", without_more(anna.message(room, seq)))]
    anna.delete(f"{room}/messages/{seq}")
    deleted = stream.next()
    assert shown([deleted]) == [("message.deleted", without_more(anna.message(room, seq)))]
    assert deleted.data["deleted"] is True and deleted.data["text"] == ""


@BOTH
def test_of_a_room_everybody_sees_the_own_role(
    anna: Person, ben: Person, cleo: Person, listen: Listen, transport: Transport
) -> None:
    streams = {person: begun(listen(person, transport=transport)) for person in (anna, ben, cleo)}
    room = anna.makes_room("Tea", ben, readonly=cleo)
    expected = {person: person.get(str(room)).json() for person in streams}
    assert {person.name: expected[person]["role"] for person in streams} == {
        "Anna": "admin",
        "Ben": "member",
        "Cleo": "readonly",
    }
    for person, stream in streams.items():
        assert shown([stream.next()]) == [("room.created", expected[person])]
    anna.says(room, "Hi")
    anna.patch(str(room), {"name": "Coffee", "description": "Not tea"})
    for person, stream in streams.items():
        assert stream.next().name == "message.posted"
        assert shown([stream.next()]) == [("room.changed", person.get(str(room)).json())]
    last = {person: person.get(str(room)).json() for person in streams}
    anna.delete(str(room))
    for person, stream in streams.items():
        assert shown([stream.next()]) == [("room.deleted", last[person])]


def test_a_direct_room_bears_the_other_ones_name(anna: Person, ben: Person, listen: Listen) -> None:
    streams = {person: begun(listen(person)) for person in (anna, ben)}
    room = anna.direct_with(ben)
    for person, other in ((anna, ben), (ben, anna)):
        created = streams[person].next()
        assert shown([created]) == [("room.created", person.get(str(room)).json())]
        assert (created.data["kind"], created.data["name"]) == ("direct", other.name)
    ben.says(room, "Psst")
    assert streams[anna].next().data == without_more(ben.message(room, 1))


def test_members_come_change_and_go(anna: Person, ben: Person, cleo: Person, room: Room, listen: Listen) -> None:
    stream = begun(listen(ben))
    member: Json = {"room_id": room.room_id, "account_id": cleo.account_id}
    anna.put(f"{room}/members/{cleo.account_id}", {"role": "member"})
    assert shown([stream.next()]) == [("member.joined", {**member, "role": "member"})]
    anna.put(f"{room}/members/{cleo.account_id}", {"role": "readonly"})
    assert shown([stream.next()]) == [("member.changed", {**member, "role": "readonly"})]
    cleo.delete(f"{room}/members/{cleo.account_id}")
    assert shown([stream.next()]) == [("member.left", {**member, "role": "readonly"})]


def test_a_read_mark_moves_only_for_the_account_itself(anna: Person, ben: Person, room: Room, listen: Listen) -> None:
    desk, phone, others = begun(listen(ben)), begun(listen(ben)), begun(listen(anna))
    for text in ("One", "Two", "Three"):
        anna.says(room, text, mentions=[ben.account_id])
    ben.marks_read(room, 2)
    moved = {"room_id": room.room_id, "read_seq": 2, "unread": 1, "mentions": 1}
    for stream in (desk, phone):
        assert stream.until("read.moved")[-1].name == "message.posted"
        assert shown([stream.events[-1]]) == [("read.moved", moved)]
    anna.says(room, "Four")
    assert names(others.until("message.posted")) == []
    assert "read.moved" not in names(others.events)


def test_posting_moves_the_authors_own_mark_without_a_word(
    anna: Person, ben: Person, room: Room, listen: Listen
) -> None:
    stream = begun(listen(anna))
    anna.says(room, "One")
    ben.says(room, "Two")
    assert [stream.next().name for _ in range(2)] == ["message.posted", "message.posted"]


def test_changing_ones_own_role_shows_in_what_comes_after(
    anna: Person, ben: Person, room: Room, listen: Listen
) -> None:
    stream = begun(listen(ben))
    anna.put(f"{room}/members/{ben.account_id}", {"role": "readonly"})
    anna.patch(str(room), {"name": "Quiet"})
    assert stream.next().data["role"] == "readonly"
    assert stream.next("room.changed").data["role"] == "readonly"


# --- who sees what ----------------------------------------------------------------------------------------------------


def test_what_happens_in_others_rooms_is_not_heard(anna: Person, cleo: Person, room: Room, listen: Listen) -> None:
    stream = begun(listen(cleo))
    anna.says(room, "Not for Cleo")
    own = cleo.makes_room("Own")
    assert stream.next().data["room_id"] == own.room_id


@BOTH
def test_one_who_is_removed_gets_that_as_the_last_event_of_the_room(
    anna: Person, ben: Person, room: Room, listen: Listen, transport: Transport
) -> None:
    own = ben.makes_room("Own")
    stream = begun(listen(ben, transport=transport))
    anna.says(room, "Before")
    anna.delete(f"{room}/members/{ben.account_id}")
    anna.says(room, "Behind his back")
    anna.patch(str(room), {"name": "Without Ben"})
    ben.says(own, "Still here")
    assert stream.next().data["text"] == "Before"
    left = stream.next()
    assert (left.name, left.data["account_id"]) == ("member.left", ben.account_id)
    assert stream.next().data == without_more(ben.message(own, 1))


def test_one_who_joins_starts_there(anna: Person, cleo: Person, room: Room, listen: Listen) -> None:
    stream = begun(listen(cleo))
    anna.says(room, "Before")
    anna.put(f"{room}/members/{cleo.account_id}", {"role": "member"})
    anna.says(room, "After")
    assert shown([stream.next()])[0][0] == "member.joined"
    assert stream.next().data["text"] == "After"
    anna.delete(f"{room}/members/{cleo.account_id}")
    anna.says(room, "Gone")
    anna.put(f"{room}/members/{cleo.account_id}", {"role": "readonly"})
    anna.says(room, "Back")
    rest = [stream.next() for _ in range(3)]
    assert names(rest) == ["member.left", "member.joined", "message.posted"]
    assert rest[-1].data["text"] == "Back"


def test_events_of_rooms_that_nobody_listens_to_are_not_decoded(
    falcon: Falcon, anna: Person, cleo: Person, room: Room, listen: Listen, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys: list[int] = []
    decode = feed.decoded

    def decoded(raw: LocatedRecord) -> Envelope:
        if raw.record.type not in feed.HISTORY_EVENTS:
            keys.append(raw.record.key)
        return decode(raw)

    monkeypatch.setattr(feed, "decoded", decoded)
    stream = begun(listen(cleo))
    before = metrics.stream_events.labels("no").value, metrics.stream_events.labels("yes").value
    for i in range(20):
        anna.says(room, f"{i}")
    own = cleo.makes_room("Own")
    cleo.says(own, "Hi")
    stream.next("message.posted")
    assert room.room_id not in keys
    after = metrics.stream_events.labels("no").value, metrics.stream_events.labels("yes").value
    assert (after[0] - before[0], after[1] - before[1]) == (20, 2)


def test_falcon_measures_the_memory_of_what_streams_resume_from(start: Start, listen: Listen) -> None:
    anna = start().account("Anna")  # the gauge shows the Falcon that started last in this process
    room = anna.makes_room()
    stream = begun(listen(anna))
    before = metrics.streams_remembered.value
    anna.says(room, "x" * 10_000)
    stream.next("message.posted")
    assert 10_000 < metrics.streams_remembered.value - before < 11_000


def test_read_marks_of_those_who_do_not_listen_are_not_decoded(
    anna: Person, ben: Person, room: Room, listen: Listen, monkeypatch: pytest.MonkeyPatch
) -> None:
    decode, types = feed.decoded, Counter[str]()

    def decoded(raw: LocatedRecord) -> Envelope:
        types[raw.record.type] += 1
        return decode(raw)

    monkeypatch.setattr(feed, "decoded", decoded)
    anna.says(room, "Tea?")
    stream = begun(listen(anna))
    for force in (False, True):
        for seq in (1, 0):
            ben.marks_read(room, seq, force=force)
    anna.marks_read(room, 0, force=True)
    assert stream.next("read.moved").data["read_seq"] == 0
    assert types["read-moved"] == 1


# --- rooms= -----------------------------------------------------------------------------------------------------------


@BOTH
def test_a_stream_can_be_narrowed_to_some_rooms(anna: Person, room: Room, listen: Listen, transport: Transport) -> None:
    other, third = anna.makes_room("Other"), anna.makes_room("Third")
    stream = listen(anna, transport=transport, rooms=f"{room.room_id},{other.room_id}")
    hello = stream.next()
    assert sorted(each["room_id"] for each in hello.data["rooms"]) == sorted([room.room_id, other.room_id])
    assert hello.data["rooms"] and all(each in anna.rooms() for each in hello.data["rooms"])
    anna.says(third, "Unheard")
    anna.makes_room("A new one, unheard of")
    anna.says(other, "Heard")
    assert stream.next().data == without_more(anna.message(other, 1))


@BOTH
@pytest.mark.parametrize("rooms", ["{strange}", "{own},{strange}", "0", "99999999999999999999"])
def test_a_room_that_one_is_not_in_is_not_found(
    anna: Person, cleo: Person, room: Room, listen: Listen, transport: Transport, rooms: str
) -> None:
    own = cleo.makes_room("Own")
    asked = rooms.format(own=own.room_id, strange=room.room_id)
    problem_of(listen(cleo, transport=transport, rooms=asked), 404, "room_not_found")


@pytest.mark.parametrize("rooms", ["", "x", ",", "1,", "-1", "1.5"])
def test_rooms_are_named_by_their_ids(anna: Person, listen: Listen, rooms: str) -> None:
    problem_of(listen(anna, rooms=rooms), 422, "invalid")


def test_a_hundred_rooms_can_be_named_and_no_more(anna: Person, listen: Listen) -> None:
    problem_of(listen(anna, rooms=",".join(map(str, range(1, 102)))), 422, "invalid")


def test_rooms_that_a_narrowed_stream_does_not_want_leave_nothing_behind(
    falcon: Falcon, anna: Person, room: Room, listen: Listen
) -> None:
    begun(listen(anna, rooms=str(room.room_id)))
    others = [anna.makes_room(f"{i}").room_id for i in range(5)]
    anna.says(room, "Hi")
    listen.opened[0].next("message.posted")
    assert not set(others) & falcon.edge.streams._feed._rooms.keys()


# --- refusals ---------------------------------------------------------------------------------------------------------


@BOTH
@pytest.mark.parametrize("authorization", [None, "", "Bearer", "Bearer nonsense", "Basic YTpi", "Bearer falcon_1_x"])
def test_whoever_is_not_known_is_refused_before_the_stream(
    falcon: Falcon, listen: Listen, transport: Transport, authorization: str | None
) -> None:
    headers = {} if authorization is None else {"Authorization": authorization}
    refused = listen.bare(falcon, headers, transport=transport)
    problem_of(refused, 401, "unauthenticated")
    assert refused.answer_headers["www-authenticate"].startswith("Bearer")


@BOTH
@pytest.mark.parametrize("token", ["nonsense", "é☕", "A" * 70_000, "AQ", "=" * 8])
def test_what_is_no_resume_token_is_malformed(anna: Person, listen: Listen, transport: Transport, token: str) -> None:
    problem_of(listen(anna, transport=transport, resume=token), 400, "malformed")


@BOTH
def test_a_resume_token_of_another_falcon_is_malformed(anna: Person, listen: Listen, transport: Transport) -> None:
    foreign = resume_tokens.encode("another log", {0: 1})
    problem_of(listen(anna, transport=transport, resume=foreign), 400, "malformed")


def test_a_resume_token_from_beyond_the_log_is_malformed(falcon: Falcon, anna: Person, listen: Listen) -> None:
    """After a restore from a backup, say: else what happened since is missed without a word."""
    beyond = resume_tokens.encode(falcon.edge.instance, {0: falcon.log_length() + 1_000})
    problem_of(listen(anna, resume=beyond), 400, "malformed")


@BOTH
def test_a_fault_of_falcons_is_told_as_one_and_logged_once(
    falcon: Falcon,
    anna: Person,
    listen: Listen,
    transport: Transport,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def fail(*asked: Any) -> None:
        raise ValueError("a fault")

    monkeypatch.setattr(falcon.edge.streams, "open", fail)
    monkeypatch.setattr(logging.getLogger("falcon"), "propagate", True)
    problem_of(listen(anna, transport=transport), 500, "internal")
    assert [record.getMessage() for record in caplog.records] == ["GET /v1/stream failed"]


def test_an_unknown_parameter_is_refused(anna: Person, listen: Listen) -> None:
    problem_of(listen(anna, room="1"), 422, "invalid")


def test_only_get_is_possible(anna: Person) -> None:
    for method in ("POST", "PUT", "DELETE", "PATCH"):
        answer = anna.send(method, "/v1/stream")
        assert (answer.status_code, answer.headers["allow"]) == (405, "GET")


# --- tickets ----------------------------------------------------------------------------------------------------------


def ticket_of(person: Person) -> str:
    made = person.post("/v1/stream/tickets")
    assert made.status_code == 201 and list(made.json()) == ["ticket"]
    ticket: str = made.json()["ticket"]
    return ticket


@BOTH
def test_a_ticket_stands_for_the_token_once(falcon: Falcon, anna: Person, listen: Listen, transport: Transport) -> None:
    first, second = ticket_of(anna), ticket_of(anna)
    assert first != second  # though they are of the same second
    for ticket in (first, second):
        stream = listen.bare(falcon, {}, transport=transport, ticket=ticket)
        assert stream.next().data["account_id"] == anna.account_id
        for _ in range(2):
            problem_of(listen.bare(falcon, {}, transport=transport, ticket=ticket), 401, "unauthenticated")


@BOTH
def test_a_ticket_that_is_wrong_or_old_is_none(
    falcon: Falcon, anna: Person, listen: Listen, transport: Transport
) -> None:
    good = ticket_of(anna)
    secret, hash = falcon.edge.secret, bearer_tokens.hash_of(anna.token.split("_")[2])
    old = bearer_tokens.ticket(secret, anna.account_id, hash, now=time.time() - 61)
    foreign = bearer_tokens.ticket(b"another secret", anna.account_id, hash)
    others = bearer_tokens.ticket(secret, falcon.admin.account_id, hash)
    changed = good[:10] + ("A" if good[10] != "A" else "B") + good[11:]
    spelt_otherwise = (good + "==", good + "====", good[:4] + "\n" + good[4:], good + "*", " " + good)
    for ticket in ("", "x", "é", "A" * 1_000, good[:-4], good[:-1], changed, *spelt_otherwise, old, foreign, others):
        problem_of(listen.bare(falcon, {}, transport=transport, ticket=ticket), 401, "unauthenticated")
    assert listen.bare(falcon, {}, transport=transport, ticket=good).next().name == "hello"


def test_a_ticket_of_a_revoked_token_is_none(falcon: Falcon, anna: Person, listen: Listen) -> None:
    other = second_token(anna)
    ticket = ticket_of(other)
    revoke(anna, other)
    problem_of(listen.bare(falcon, {}, ticket=ticket), 401, "unauthenticated")


def test_who_has_no_token_gets_no_ticket(falcon: Falcon) -> None:
    assert falcon.send("POST", "/v1/stream/tickets").status_code == 401


# --- from a token -----------------------------------------------------------------------------------------------------


@BOTH
def test_who_was_away_gets_what_came_after_his_last_event_in_order_and_once(
    anna: Person, ben: Person, room: Room, listen: Listen, transport: Transport
) -> None:
    stream = begun(listen(ben, transport=transport))
    anna.says(room, "One")
    last = stream.next()
    stream.close()
    anna.says(room, "Two")
    anna.says(room, "Three")
    again = listen(ben, transport=transport, resume=last.id)
    replay = again.until("caught_up")
    assert [event.data["text"] for event in replay] == ["Two", "Three"]
    anna.says(room, "Four")
    assert again.next().data["text"] == "Four"


def test_who_missed_nothing_is_told_so_at_once(ben: Person, room: Room, listen: Listen) -> None:
    hello = listen(ben).next()
    again = listen.resume(ben, hello)
    caught_up = again.next()
    assert (caught_up.name, caught_up.data) == ("caught_up", {})
    assert listen.resume(ben, caught_up).next().name == "caught_up"


@BOTH
def test_last_event_id_counts_before_resume(
    falcon: Falcon, anna: Person, ben: Person, room: Room, listen: Listen, transport: Transport
) -> None:
    stream = begun(listen(ben))
    anna.says(room, "One")
    anna.says(room, "Two")
    first, second = stream.next(), stream.next()
    headers = {"Authorization": f"Bearer {ben.token}", "Last-Event-ID": second.id}
    again = listen.bare(falcon, headers, transport=transport, resume=first.id)
    assert again.until("caught_up") == []
    problem_of(
        listen.bare(falcon, {**headers, "Last-Event-ID": "x"}, transport=transport, resume=first.id), 400, "malformed"
    )


def test_a_deleted_messages_text_is_not_told_again(anna: Person, ben: Person, room: Room, listen: Listen) -> None:
    hello = listen(ben).next()
    seq = anna.says(room, "A secret", mentions=[ben.account_id])
    anna.patch(f"{room}/messages/{seq}", {"text": "Another secret"})
    anna.says(room, "Harmless")
    anna.delete(f"{room}/messages/{seq}")
    replay = listen.resume(ben, hello).until("caught_up")
    assert names(replay) == ["message.posted", "message.edited", "message.posted", "message.deleted"]
    assert "secret" not in str(replay)
    assert [event.data["text"] for event in replay] == ["", "", "Harmless", ""]
    assert replay[0].data["deleted"] is True and replay[0].data["seq"] == seq


def test_nothing_comes_twice_while_the_tables_are_behind_the_log(
    falcon: Falcon, anna: Person, ben: Person, room: Room, listen: Listen, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As with a projection of its own, or on a cluster, whenever a client resumes quickly."""
    stream = begun(listen(ben))
    behind = falcon.run(falcon.edge.store.applied_everywhere(falcon.edge.partitions))
    anna.says(room, "Heard")
    heard = stream.next()

    async def applied_everywhere(*which: Any) -> Any:
        return behind

    monkeypatch.setattr(falcon.edge.store, "applied_everywhere", applied_everywhere)
    assert names(listen.resume(ben, heard).until("caught_up")) == []


def test_one_who_comes_back_has_his_token_looked_up_once(
    falcon: Falcon, ben: Person, listen: Listen, monkeypatch: pytest.MonkeyPatch
) -> None:
    hello = listen(ben).next()
    falcon.edge.authenticator.forget(ben.account_id)
    looked_up: list[int] = []
    bearer = falcon.edge.store.bearer

    async def counted(account_id: int, token_hash: str) -> Any:
        looked_up.append(account_id)
        return await bearer(account_id, token_hash)

    monkeypatch.setattr(falcon.edge.store, "bearer", counted)
    assert names(listen.resume(ben, hello).until("caught_up")) == []
    assert looked_up == [ben.account_id]


def test_a_token_that_is_only_remembered_is_looked_up_before_a_stream_goes_on(
    start: Start, listen: Listen, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another server may have revoked it, before the place in the log from which this one looks for that: it did not
    read the log meanwhile."""
    falcon = start()
    ben = falcon.account("Ben")
    stream = listen(ben)
    hello = stream.next()
    stream.close()
    assert falcon.edge.streams._feed._segments == {}

    async def revoked(account_id: int, token_hash: str) -> None:
        return None

    monkeypatch.setattr(falcon.edge.store, "bearer", revoked)
    problem_of(listen.resume(ben, hello), 401, "unauthenticated")


def test_a_token_that_the_log_confirms_is_not_looked_up_and_is_refused_once_the_log_has_revoked_it(
    falcon: Falcon, anna: Person, ben: Person, listen: Listen, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on a cluster."""
    monkeypatch.setattr(revocations, "_FRESH_SECONDS", 3_600.0)
    following = falcon.edge.authenticator.revocations

    async def follow() -> None:
        following.start()
        await eventually(lambda: following.still_valid_since(time.monotonic(), time.monotonic()))

    falcon.run(follow())
    phone, bens = second_token(anna), second_token(ben)
    lost = begun(listen(phone))
    begun(listen(bens))
    # The token remains in the cache, as for a stream that began to open before the revocation.
    monkeypatch.setattr(falcon.edge.authenticator._cache, "drop_account", lambda account_id: None)
    revoke_elsewhere(anna)
    assert lost.rest()[-1].name == "bye"

    async def forbidden(account_id: int, token_hash: str) -> None:
        raise AssertionError("the tables are asked")

    monkeypatch.setattr(falcon.edge.store, "bearer", forbidden)
    problem_of(listen(phone), 401, "unauthenticated")
    problem_of(listen.resume(phone, lost.events[0]), 401, "unauthenticated")
    assert listen(bens).next().name == "hello"
    falcon.run(following.stop())


def test_a_direct_room_is_heard_of_while_the_tables_are_behind_the_log(
    falcon: Falcon, anna: Person, ben: Person, listen: Listen, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As with a projection of its own, or on a cluster."""
    stream = begun(listen(ben))
    store = falcon.edge.store
    access = store.access

    async def shows_nothing_yet(room_id: int, account_id: int) -> None:
        return None

    monkeypatch.setattr(store, "access", shows_nothing_yet)
    room = anna.direct_with(ben)
    anna.says(room, "Psst")
    monkeypatch.setattr(store, "access", access)
    assert names(stream.until("message.posted")) == ["room.created"]


@pytest.mark.parametrize("count", [4, 5])
def test_one_who_comes_back_hears_all_of_very_many_rooms(
    anna: Person, listen: Listen, monkeypatch: pytest.MonkeyPatch, count: int
) -> None:
    monkeypatch.setattr("falcon.http.stream.opening._ROLES_PART", 2)
    rooms = [anna.makes_room(f"Room {i}") for i in range(count)]
    hello = listen(anna).next()
    for room in rooms:
        anna.says(room, "Missed")
    stream = listen(anna, resume=hello.id)
    missed = stream.until("caught_up")
    assert [event.data["room_id"] for event in missed if event.name == "message.posted"] == [
        room.room_id for room in rooms
    ]
    for room in rooms:
        anna.says(room, "Heard")
    assert [stream.next("message.posted").data["room_id"] for _ in rooms] == [room.room_id for room in rooms]


# --- catch_up ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def forgetful(start: Start) -> Falcon:
    return start(stream_events=100)


@BOTH
def test_where_a_replay_would_be_too_long_the_history_is_to_be_read(
    forgetful: Falcon, listen: Listen, transport: Transport
) -> None:
    anna, ben = forgetful.account("Anna"), forgetful.account("Ben")
    room, quiet = anna.makes_room("Tea", ben), anna.makes_room("Quiet", ben)
    other = anna.makes_room("Other", ben)
    stream = begun(listen(ben, transport=transport))
    anna.says(room, "Heard")
    last = stream.next()
    stream.close()
    for i in range(150):
        anna.says(room, f"{i}")
    back = listen(ben, transport=transport, resume=last.id)
    catch_up = back.next()
    assert catch_up.name == "catch_up" and list(catch_up.data) == ["rooms"]
    assert sorted(map(str, catch_up.data["rooms"])) == sorted(
        str({"room_id": each.room_id, "last_seq": seq}) for each, seq in ((room, 151), (quiet, 0), (other, 0))
    )
    anna.says(room, "On it goes")
    assert back.next().data["text"] == "On it goes"
    assert names(listen(ben, transport=transport, resume=catch_up.id).until("caught_up")) == ["message.posted"]


def test_what_is_remembered_no_more_is_read_again(forgetful: Falcon, listen: Listen) -> None:
    """A segment remembers a hundred records. A short replay may begin before them while a stream is open."""
    anna = forgetful.account("Anna")
    room = anna.makes_room("Tea")
    hello = listen(anna).next()
    tokens_seen = [hello.id]
    stream = listen.opened[0]
    for i in range(230):
        anna.says(room, f"{i}")
        tokens_seen.append(stream.next().id)
    for since in (229, 131, 130):
        replay = listen(anna, resume=tokens_seen[since]).until("caught_up")
        assert seqs(replay) == list(range(since + 1, 231))
    assert listen(anna, resume=tokens_seen[129]).next().name == "catch_up"


def test_a_long_replay_begins_where_nobody_has_been_listening(forgetful: Falcon, listen: Listen) -> None:
    anna = forgetful.account("Anna")
    room = anna.makes_room("Tea")
    stream = listen(anna)
    hello = stream.next()
    stream.close()
    for i in range(99):
        anna.says(room, f"{i}")
    assert seqs(listen.resume(anna, hello).until("caught_up")) == list(range(1, 100))


# --- the end ----------------------------------------------------------------------------------------------------------


def second_token(person: Person) -> Person:
    made = person.post(f"/v1/accounts/{person.account_id}/tokens")
    assert made.status_code == 201, made.text
    return Person(person.falcon, person.account_id, person.name, made.json()["token"])


def revoke(person: Person, other: Person) -> None:
    """Person revokes the token that other shows."""
    falcon = person.falcon
    path = f"/v1/accounts/{person.account_id}/tokens"
    listed = person.get(path).json()["tokens"]
    newest = max(listed, key=lambda each: each["token_id"])
    gone = falcon.admin.delete(f"{path}/{newest['token_id']}")
    assert gone.status_code == 204, gone.text


def revoke_elsewhere(person: Person) -> None:
    """Another server revokes the newest token, and this one hears of it by the log alone."""
    listed = person.get(f"/v1/accounts/{person.account_id}/tokens").json()["tokens"]
    person.falcon.run(revoked_elsewhere(person, max(each["token_id"] for each in listed)))


async def revoked_elsewhere(person: Person, token_id: int) -> None:
    edge = person.falcon.edge
    command = RevokeToken(person.account_id, token_id)
    partition = partition_for(command, person.account_id, None, edge.partitions)
    envelope = CommandEnvelope(partition, person.account_id, command, time.monotonic() + 60)
    assert isinstance(await edge.gateway.ask(envelope), Accepted)


@BOTH
def test_a_revoked_token_ends_its_streams_and_no_others(anna: Person, listen: Listen, transport: Transport) -> None:
    phone = second_token(anna)
    lost, kept = begun(listen(phone, transport=transport)), begun(listen(anna, transport=transport))
    room = anna.makes_room("Tea")
    revoke(anna, phone)
    rest = lost.rest()
    assert names(rest) == ["room.created", "bye"]
    assert rest[-1].data == {"reason": "unauthenticated", "retry_after_ms": 1_000}
    assert rest[-1].id == rest[0].id
    assert lost.close_code == (4001 if transport == "websocket" else None)
    anna.says(room, "Still here")
    assert kept.next("message.posted").data["text"] == "Still here"
    problem_of(listen(phone, transport=transport), 401, "unauthenticated")


def test_a_token_that_is_revoked_while_the_tables_are_asked_about_it_opens_no_stream(
    start: Start, listen: Listen, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The tables show the revocation right behind their answer. So the log is read from where they stood before it."""
    falcon = start()
    anna = falcon.account("Anna")
    phone = second_token(anna)
    bearer = falcon.edge.store.bearer

    async def revoked_meanwhile(account_id: int, token_hash: str) -> Any:
        monkeypatch.undo()
        found = await bearer(account_id, token_hash)
        await revoked_elsewhere(anna, 2)
        return found

    monkeypatch.setattr(falcon.edge.store, "bearer", revoked_meanwhile)
    problem_of(listen(phone), 401, "unauthenticated")


def test_a_stream_that_begins_just_behind_a_revocation_does_not_last(
    falcon: Falcon, anna: Person, listen: Listen
) -> None:
    """Another process revoked it, so that this one remembers it still."""
    phone = second_token(anna)
    assert phone.get("/v1/me").status_code == 200
    revoke_elsewhere(anna)
    stream = listen(phone)
    if stream.status == 200:
        anna.makes_room("Private")
        assert names(stream.rest())[-1] == "bye"
    else:
        problem_of(stream, 401, "unauthenticated")


@BOTH
def test_draining_sends_everybody_elsewhere_at_different_times(
    start: Start, listen: Listen, transport: Transport
) -> None:
    falcon = start()
    anna = falcon.account("Anna")
    room = anna.makes_room("Tea")
    streams = [begun(listen(anna, transport=transport)) for _ in range(8)]
    anna.says(room, "Hi")
    last = [stream.next().id for stream in streams]
    falcon.run(drained(falcon))
    byes = [stream.rest() for stream in streams]
    assert [names(bye) for bye in byes] == [["bye"]] * 8
    assert [bye[0].id for bye in byes] == last
    assert {bye[0].data["reason"] for bye in byes} == {"draining"}
    waits = [bye[0].data["retry_after_ms"] for bye in byes]
    if transport == "sse":
        assert [stream.retry for stream in streams] == [str(wait) for wait in waits], "a browser waits for as long"
    assert len(set(waits)) > 1 and all(0 < wait <= 10_000 for wait in waits)
    assert {stream.close_code for stream in streams} == {1012 if transport == "websocket" else None}
    refused = listen(anna, transport=transport)
    problem_of(refused, 503, "overloaded")
    assert int(refused.answer_headers["retry-after"]) >= 1


async def drained(falcon: Falcon) -> None:
    falcon.edge.streams.drain()


def test_draining_reaches_those_who_are_still_beginning(start: Start, listen: Listen) -> None:
    falcon = start()
    anna = falcon.account("Anna")
    room = anna.makes_room("Tea")
    hello = listen(anna).next()
    for i in range(5):
        anna.says(room, f"{i}")
    reading = listen(anna, stalls=True, resume=hello.id)
    falcon.run(drained(falcon))
    reading.drain()
    assert names(reading.rest())[-1] == "bye"


def drain_as_streams_begin(patch: pytest.MonkeyPatch) -> None:
    """The server begins to stop between a stream's opening and its first event."""
    serve = sessions.Streams.serve

    async def drained_meanwhile(streams: sessions.Streams, *arguments: Any) -> None:
        streams.drain()
        await serve(streams, *arguments)

    patch.setattr(sessions.Streams, "serve", drained_meanwhile)


def away_for_long(falcon: Falcon, listen: Listen) -> tuple[Person, Room, Event]:
    """Anna, her room, and the last event that she heard: 20 messages ago, where the server remembers fewer."""
    anna = falcon.account("Anna")
    room = anna.makes_room("Tea")
    hello = listen(anna).next()
    for i in range(20):
        anna.says(room, f"{i}")
    return anna, room, hello


@BOTH
def test_who_is_sent_away_at_the_very_beginning_is_told_from_where_to_go_on(
    start: Start, listen: Listen, transport: Transport, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To a browser an empty id means that it has none any more: it would start from the beginning, and miss what it
    came back for."""
    falcon = start()
    anna = falcon.account("Anna")
    room = anna.makes_room("Tea")
    hello = listen(anna).next()
    anna.says(room, "Missed")
    drain_as_streams_begin(monkeypatch)
    assert [(event.name, event.id) for event in listen(anna, transport=transport, resume=hello.id).rest()] == [
        ("bye", hello.id)
    ]


@BOTH
def test_who_is_sent_away_before_a_state_was_shown_is_shown_one_at_the_next_server(
    start: Start, listen: Listen, transport: Transport, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The place of a state that never came would leave out all that the state has."""
    falcon = start(stream_events=10)
    anna, _, hello = away_for_long(falcon, listen)
    for sent, id in (({}, ""), ({"resume": hello.id}, hello.id)):
        with monkeypatch.context() as patch:
            drain_as_streams_begin(patch)
            heard = listen(anna, transport=transport, **sent).rest()
            assert [(event.name, event.id) for event in heard] == [("bye", id)]
        falcon.edge.streams._draining = False
    assert listen(anna, transport=transport, resume=hello.id).next().name == "catch_up"


def test_no_more_streams_than_may_be(start: Start, listen: Listen) -> None:
    falcon = start(streams_max=2)
    anna = falcon.account("Anna")
    first = begun(listen(anna))
    begun(listen(anna))
    problem_of(listen(anna), 503, "overloaded")
    first.close()
    begun(listen(anna))


@BOTH
def test_a_slow_reader_is_cut_and_nobody_else_is_disturbed(start: Start, listen: Listen, transport: Transport) -> None:
    falcon = start(stream_buffer=16_384)
    anna = falcon.account("Anna")
    room = anna.makes_room("Tea")
    slow, quick = begun(listen(anna, transport=transport)), begun(listen(anna, transport=transport))
    slow.fill()
    for i in range(30):
        anna.says(room, f"{i} " + "x" * 1_000)
        assert quick.next().data["seq"] == i + 1
    slow.drain()
    heard = slow.rest()
    bye = heard[-1]
    assert (bye.name, bye.data) == ("bye", {"reason": "slow", "retry_after_ms": 1_000})
    assert slow.close_code == (4008 if transport == "websocket" else None)
    assert seqs(heard) == list(range(1, len(heard)))
    assert bye.id == heard[-2].id
    assert seqs(listen(anna, transport=transport, resume=bye.id).until("caught_up")) == list(range(len(heard), 31))


def test_a_reader_who_takes_nothing_any_more_is_cut_off(
    start: Start, listen: Listen, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("falcon.http.stream.sinks._BYE_SECONDS", 0.05)
    falcon = start(stream_buffer=16_384)
    anna = falcon.account("Anna")
    room = anna.makes_room("Tea")
    stuck = begun(listen(anna))
    stuck.fill()
    for i in range(30):
        anna.says(room, f"{i} " + "x" * 1_000)
    soon(falcon, lambda: stuck.aborted and stuck.ended)


def test_a_browser_that_takes_nothing_any_more_is_cut_off(
    start: Start, listen: Listen, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("falcon.http.stream.sinks._BYE_SECONDS", 0.05)
    falcon = start(stream_buffer=16_384, cors_origins=("https://tea.test",))
    anna = falcon.account("Anna")
    room = anna.makes_room("Tea")
    headers = {"Authorization": f"Bearer {anna.token}", "Origin": "https://tea.test"}
    stuck = begun(listen.bare(falcon, headers))
    stuck.fill()
    for i in range(30):
        anna.says(room, f"{i} " + "x" * 1_000)
    soon(falcon, lambda: stuck.ended)
    assert stuck.aborted


@BOTH
def test_a_client_that_goes_away_is_forgotten(start: Start, listen: Listen, transport: Transport) -> None:
    falcon = start()
    anna = falcon.account("Anna")
    room = anna.makes_room("Tea")
    streams = [begun(listen(anna, transport=transport)) for _ in range(3)]
    for stream in streams:
        stream.close()
    left = falcon.edge.streams._feed
    assert (left._accounts, left._rooms, left._segments) == ({}, {}, {})
    anna.says(room, "Hi")
    begun(listen(anna, transport=transport))


def test_silence_is_broken_by_comments(start: Start, listen: Listen, monkeypatch: pytest.MonkeyPatch) -> None:
    assert sessions._BEAT_SECONDS * 2 < 15
    monkeypatch.setattr(sessions, "_BEAT_SECONDS", 0.02)
    falcon = start()
    stream = begun(listen(falcon.account("Anna")))
    soon(falcon, lambda: stream.beats >= 2)


# --- one beside the other ---------------------------------------------------------------------------------------------


def test_a_client_that_is_gone_while_something_is_sent_to_it_does_not_disturb_the_others(
    start: Start, listen: Listen
) -> None:
    """A server of WebSockets says so by an exception, where the end of the connection has not come up yet."""
    falcon = start()
    anna = falcon.account("Anna")
    room = anna.makes_room("Tea")
    gone = begun(listen(anna, transport="websocket"))
    there = [begun(listen(anna, transport="websocket")) for _ in range(8)]
    gone.lost = True
    anna.says(room, "One")
    gone.close()
    anna.says(room, "Two")
    anna.delete(str(room))
    assert [seqs(stream.until("room.deleted")) for stream in there] == [[1, 2]] * 8


@BOTH
def test_the_last_one_to_leave_does_not_break_who_is_just_beginning(
    start: Start, listen: Listen, transport: Transport
) -> None:
    falcon = start()
    anna = falcon.account("Anna")
    room = anna.makes_room("Tea")
    before = listen(anna, transport=transport)
    hello = before.next()
    for i in range(5):
        anna.says(room, f"{i}")
    again = listen(anna, transport=transport, stalls=True, resume=hello.id)
    before.close()
    again.drain()
    assert seqs(again.until("caught_up")) == [1, 2, 3, 4, 5]


@BOTH
def test_a_quick_reader_is_not_too_slow_for_a_replay(start: Start, listen: Listen, transport: Transport) -> None:
    falcon = start(stream_buffer=16_384)
    anna = falcon.account("Anna")
    room = anna.makes_room("Tea")
    hello = listen(anna).next()
    for i in range(40):
        anna.says(room, f"{i} " + "x" * 1_000)
    again = listen(anna, transport=transport, slight=True, resume=hello.id)
    assert seqs(again.until("caught_up")) == list(range(1, 41))


def test_a_quick_reader_is_not_too_slow_for_a_burst(start: Start, listen: Listen) -> None:
    falcon = start(stream_buffer=16_384)
    anna = falcon.account("Anna")
    room = anna.makes_room("Tea")
    stream = begun(listen(anna, slight=True))
    posts = [anna.request("POST", f"{room}/messages", {"text": f"{i} " + "x" * 1_000}) for i in range(60)]
    assert {answer.status_code for answer in falcon.together(*posts)} == {201}
    assert [stream.next("message.posted").data["seq"] for _ in posts] == list(range(1, 61))


def test_what_is_deleted_during_a_replay_is_not_told_again(
    anna: Person, ben: Person, room: Room, listen: Listen, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(replay, "_CHUNK", 1)
    hello = listen(ben).next()
    anna.says(room, "Harmless")
    for _ in range(3):
        secret = anna.says(room, "A secret")
    again = listen(ben, stalls=True, resume=hello.id)
    assert anna.delete(f"{room}/messages/{secret}").status_code == 204
    again.drain()
    posted = [event.data for event in again.until("message.deleted") if event.name == "message.posted"]
    assert [message["text"] for message in posted if message["seq"] == secret] == [""]


@BOTH
def test_a_stream_that_could_not_begin_leaves_nothing_behind(
    start: Start, listen: Listen, monkeypatch: pytest.MonkeyPatch, transport: Transport
) -> None:
    falcon = start()
    anna = falcon.account("Anna")
    anna.makes_room("Tea")

    async def summary(*arguments: Any) -> None:
        raise ReadStoreUnavailable("away")

    monkeypatch.setattr("falcon.http.room_views.room_summaries", summary)
    problem_of(listen(anna, transport=transport), 503, "unavailable")
    assert falcon.edge.streams._feed._segments == {}


@BOTH
@pytest.mark.parametrize("fault", [JournalUnavailable("away"), replay.NotReached()])
def test_without_a_log_no_stream_begins(
    start: Start, listen: Listen, monkeypatch: pytest.MonkeyPatch, transport: Transport, fault: Exception
) -> None:
    falcon = start()
    anna = falcon.account("Anna")
    hello = listen(anna).next()

    async def prepare(beginning: Any) -> None:
        raise fault

    monkeypatch.setattr(replay.StreamReplay, "prepare", prepare)
    for query in ({}, {"resume": hello.id}):
        refused = listen(anna, transport=transport, **query)
        problem_of(refused, 503, "unavailable")
        assert int(refused.answer_headers["retry-after"]) >= 1


@BOTH
def test_a_log_that_goes_away_while_a_stream_begins_ends_it_where_it_is(
    start: Start, listen: Listen, monkeypatch: pytest.MonkeyPatch, transport: Transport
) -> None:
    falcon = start()
    anna = falcon.account("Anna")
    room = anna.makes_room("Tea")
    hello = listen(anna).next()
    for i in range(3):
        anna.says(room, f"{i}")
    show, shown = replay.StreamReplay._show, 0

    def show_next(beginning: Any, *record: Any) -> None:
        nonlocal shown
        shown += 1
        if shown > 2:
            raise JournalUnavailable("away")
        show(beginning, *record)

    monkeypatch.setattr(replay.StreamReplay, "_show", show_next)
    heard = listen(anna, transport=transport, resume=hello.id).rest()
    assert seqs(heard) == [1, 2]
    assert (heard[-1].name, heard[-1].data["reason"], heard[-1].id) == ("bye", "draining", heard[-2].id)
    monkeypatch.undo()
    assert seqs(listen.resume(anna, heard[-1]).until("caught_up")) == [3]


def test_a_connection_that_was_lost_in_the_middle_of_a_frame_is_not_waited_for() -> None:
    async def scenario() -> None:
        lost = asyncio.Event()
        sent: list[Any] = []

        async def send(message: Any) -> None:
            sent.append(message)
            if len(sent) == 1:
                await lost.wait()
                raise ConnectionResetError("the client has gone")

        sink = SseSink(send)
        assert not sink.send(Frame("id", "message.posted", b"{}"), lambda: None)
        lost.set()
        await asyncio.sleep(0)
        await eventually(lambda: sink._waiting is None)
        await sink.say_bye("slow", "id")
        assert b"event: bye" in sent[1]["body"]

    asyncio.run(scenario())


@BOTH
def test_reactions_come_to_everybody_in_the_room(
    anna: Person, ben: Person, cleo: Person, room: Room, listen: Listen, transport: Transport
) -> None:
    streams = [begun(listen(person, transport=transport)) for person in (anna, ben)]
    outside = begun(listen(cleo, transport=transport))
    anna.says(room, "Tea?")
    for act in (ben.put, ben.put, anna.put, ben.delete, ben.delete):
        act(f"{room}/messages/1/reactions/👍")
    reaction: Json = {"room_id": room.room_id, "seq": 1, "emoji": "👍"}
    for stream in streams:
        assert stream.next().name == "message.posted"
        assert shown([stream.next() for _ in range(3)]) == [
            ("reaction.added", {**reaction, "account_id": ben.account_id, "count": 1}),
            ("reaction.added", {**reaction, "account_id": anna.account_id, "count": 2}),
            ("reaction.removed", {**reaction, "account_id": ben.account_id, "count": 1}),
        ]
    cleo.makes_room("Own")
    assert outside.next().name == "room.created"


@BOTH
def test_pins_come_to_everybody_in_the_room(
    anna: Person, ben: Person, cleo: Person, room: Room, listen: Listen, transport: Transport
) -> None:
    streams = [begun(listen(person, transport=transport)) for person in (anna, ben)]
    outside = begun(listen(cleo, transport=transport))
    anna.says(room, "Tea?")
    for act in (ben.put, anna.put, anna.delete, ben.delete, ben.put):
        act(f"{room}/pins/1")
    anna.delete(f"{room}/messages/1")
    added, removed = (
        (name, {"room_id": room.room_id, "seq": 1, "account_id": by.account_id})
        for name, by in (("pin.added", ben), ("pin.removed", anna))
    )
    for stream in streams:
        assert stream.next().name == "message.posted"
        assert shown([stream.next() for _ in range(3)]) == [added, removed, added]
        assert stream.next().name == "message.deleted"
        assert shown([stream.next()]) == [removed]
    cleo.makes_room("Own")
    assert outside.next().name == "room.created"


@BOTH
def test_a_bookmark_comes_to_its_own_account_alone(
    anna: Person, ben: Person, room: Room, listen: Listen, transport: Transport
) -> None:
    anna.says(room, "Tea?")
    mine, others = begun(listen(ben, transport=transport)), begun(listen(anna, transport=transport))
    path = f"/v1/bookmarks/{room.room_id}/1"
    ben.put(path, {"note": "Later"}), ben.delete(path), ben.delete(path)
    mark = {"room_id": room.room_id, "seq": 1}
    assert shown([mine.next() for _ in range(2)]) == [
        ("bookmark.set", {**mark, "note": "Later"}),
        ("bookmark.removed", {**mark, "note": ""}),
    ]
    anna.says(room, "Coffee?")
    assert others.next().name == "message.posted"
    ben.says(ben.makes_room("Another"), "Hi")
    anna.makes_room("Of Anna")
    assert others.next().name == "room.created"


def test_a_replay_tells_of_reactions_as_they_happened(anna: Person, ben: Person, room: Room, listen: Listen) -> None:
    stream = begun(listen(ben))
    anna.says(room, "Tea?")
    posted = stream.next()
    anna.put(f"{room}/messages/1/reactions/👍")
    live = stream.next()
    resumed = listen.resume(ben, posted).next()
    assert (resumed.id, resumed.name, resumed.data) == (live.id, live.name, live.data)
