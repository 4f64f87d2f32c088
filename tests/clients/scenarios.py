"""What both clients do: one list of scenarios, which ``test_conformance`` runs against each of them.

``KILLED`` and ``SERVED`` talk to a real Falcon, which the former kill. ``SCRIPTED`` talk to a server that
answers as they say.
"""

import asyncio
import itertools
import json
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack, suppress
from typing import Any, Final

import pytest

from tests.clients.drivers import Client, Driver, Events, JavaScriptDriver, Json, NoAnswer, Refused, ResumeIsRefused
from tests.clients.scripted import MESSAGE, ScriptedServer, answer, busy, damaged, event, events, hangs_up, refusal
from tools.harness.falcon import Falcon

MISSED: Final = 130  # more events than the server of these scenarios keeps for a stream
TOKEN: Final = "falcon_1_token"
KEY: Final = "idempotency-key"
FACES: Final = [chr(0x1F600 + n) for n in range(40)]


class World:
    """A language's driver, and the Falcon that its clients talk to."""

    def __init__(self, driver: Driver, falcon: Falcon) -> None:
        self.driver = driver
        self.falcon = falcon
        self.url = str(falcon.info["url"])

    async def admin(self) -> Client:
        return await self.driver.client(self.url, self.falcon.info["admin_token"])

    async def person(self, name: str, *more_urls: str) -> "Person":
        """A client of a new account."""
        made = await (await self.admin()).call("create_account", name)
        client = await self.driver.client([*more_urls, self.url], made["token"])
        return Person(client, made["account_id"], made["token"])

    async def kill_everything(self) -> None:
        self.falcon.kill("launcher")
        await asyncio.to_thread(self.falcon.start)

    async def kill_what_serves(self) -> None:
        self.falcon.kill("serve")

    async def restart_in_order(self) -> None:
        await asyncio.to_thread(self.falcon.stop)
        await asyncio.to_thread(self.falcon.start)


class Person:
    def __init__(self, client: Client, account_id: int, token: str) -> None:
        self.client = client
        self.account_id = account_id
        self.token = token

    async def room(self, *members: "Person") -> int:
        invited = [{"account_id": member.account_id, "role": "member"} for member in members]
        made = await self.client.call("create_room", "Tea kitchen", members=invited)
        return int(made["room_id"])

    async def post(self, room: int, text: str, **options: Any) -> Json:
        posted: Json = await self.client.call("post", room, text, **options)
        return posted


async def heard(stream: Events, type: str) -> Json:
    """The next event of this type; others are passed over."""
    while True:
        event = await stream.next()
        if event["type"] == type:
            return event


async def begun(stream: Events) -> Json:
    """The hello of a stream that does not resume."""
    event = await stream.next()
    assert event["type"] == "hello"
    return event


def texts(messages: list[Json]) -> list[str]:
    assert [message["seq"] for message in messages] == list(
        range(messages[0]["seq"], messages[0]["seq"] + len(messages))
    )
    return [message["text"] for message in messages]


# --- a server that is killed ------------------------------------------------------------------------------------------


async def _chat_while(world: World, hurt: Callable[[], Awaitable[None]], count: int = 150) -> list[str]:
    """One sends and one listens while the server is hurt three times; the types of the events that were heard."""
    sent = [f"tea \U0001fad6 {n}" for n in range(count)]
    anna, ben = await world.person("Anna"), await world.person("Ben")
    room = await anna.room(ben)
    stream = await ben.client.stream()
    await begun(stream)
    received: list[Json] = []
    types: list[str] = []
    more, over = asyncio.Event(), asyncio.Event()

    async def listen() -> None:
        while len(received) < count:
            event = await stream.next()
            types.append(event["type"])
            if event["type"] == "message.posted":
                received.append(event["data"])
                more.set()

    async def hears(least: int) -> None:
        while len(received) < least:
            more.clear()
            await more.wait()

    async def send() -> None:
        for n, text in enumerate(sent):
            await hears(n - 20)  # so that each fault meets it while it sends
            if n == count - 1:
                await over.wait()  # so that it is never done before the last fault
            await anna.post(room, text)

    async with asyncio.timeout(180), asyncio.TaskGroup() as tasks:
        tasks.create_task(listen())
        tasks.create_task(send())
        for least in (count // 10, count // 2, count * 8 // 10):
            await hears(least)
            await hurt()
        over.set()
    assert texts(received) == sent
    assert texts(await anna.client.history(room)) == sent
    return types


async def nothing_is_lost_or_doubled_when_everything_is_killed(world: World) -> None:
    types = await _chat_while(world, world.kill_everything)
    assert "hello" not in types and "bye" not in types


async def nothing_is_lost_or_doubled_when_what_serves_is_killed(world: World) -> None:
    assert "hello" not in await _chat_while(world, world.kill_what_serves)


async def a_server_that_restarts_says_so_and_the_stream_goes_on(world: World) -> None:
    types = await _chat_while(world, world.restart_in_order)
    assert types.count("bye") == 3 and "hello" not in types, types


async def one_of_two_addresses_may_be_dead(world: World) -> None:
    async with ScriptedServer(hangs_up) as dead:
        anna = await world.person("Anna", dead.url)
        room = await anna.room()
        stream = await anna.client.stream()
        await begun(stream)
        for n in range(4):
            await anna.post(room, f"tea {n}")
        await world.kill_everything()
        await anna.post(room, "tea 4")
        assert [(await heard(stream, "message.posted"))["data"]["seq"] for _ in range(5)] == [1, 2, 3, 4, 5]
        await stream.leave()


async def reactions_are_made_and_taken_back_once_when_everything_is_killed(world: World) -> None:
    anna, ben = await world.person("Anna"), await world.person("Ben")
    room = await anna.room(ben)
    await anna.post(room, "Who wants tea?")
    stream = await ben.client.stream(rooms=[room])
    await begun(stream)
    hurts = {10: world.kill_everything, 25: world.kill_what_serves}
    for method, type, count in (("add_reaction", "reaction.added", 1), ("remove_reaction", "reaction.removed", 0)):
        for n, emoji in enumerate(FACES):
            async with asyncio.TaskGroup() as tasks:
                if n in hurts:
                    tasks.create_task(hurts[n]())
                tasks.create_task(anna.client.call(method, room, 1, emoji))
        told = [(await heard(stream, type))["data"] for _ in FACES]
        assert [(each["emoji"], each["count"]) for each in told] == [(emoji, count) for emoji in FACES]
        shown = (await anna.client.call("message", room, 1))["reactions"]
        assert [(each["emoji"], each["count"]) for each in shown] == [(emoji, count) for emoji in FACES if count]
    await stream.leave()


# --- a server that is well --------------------------------------------------------------------------------------------


async def every_request_has_a_method(world: World) -> None:
    admin, anna, ben = await world.admin(), await world.person("Anna"), await world.person("Ben")
    call = anna.client.call
    me = await call("me")
    assert (me["account_id"], me["name"], me["is_admin"]) == (anna.account_id, "Anna", False)
    handle = f"anna-{anna.account_id}"
    assert (await call("change_me", title="Tea taster", handle=handle))["handle"] == handle
    assert (await ben.client.call("account", anna.account_id))["title"] == "Tea taster"
    assert (await admin.call("change_account", anna.account_id, about="Mornings"))["about"] == "Mornings"
    assert (await admin.call("create_account", "Robo", bot=True))["role"] == "bot"
    assert {each["role"] for each in (await admin.call("accounts", role="bot"))["accounts"]} == {"bot"}
    assert (await admin.call("me"))["is_admin"]
    assert len((await admin.call("accounts", limit=1))["accounts"]) == 1

    room = await call("create_room", "Tea", description="Green or black?")
    assert (room["name"], room["description"], room["role"], room["last_seq"]) == ("Tea", "Green or black?", "admin", 0)
    number = room["room_id"]
    assert (await call("change_room", number, name="Tea kitchen"))["name"] == "Tea kitchen"
    assert (await call("room", number))["description"] == "Green or black?"
    assert (await call("put_member", number, ben.account_id, "readonly"))["role"] == "readonly"
    assert (await call("put_member", number, ben.account_id, "member"))["role"] == "member"
    members = (await call("members", number))["members"]
    assert {(each["name"], each["role"]) for each in members} == {("Anna", "admin"), ("Ben", "member")}

    first = await call("post", number, "Hi", mentions=[ben.account_id])
    assert (first["seq"], first["author_id"], first["mentions"]) == (1, anna.account_id, [ben.account_id])
    assert (await call("post", number, "Who?", reply_to=1))["reply_to"] == 1
    assert (await call("edit", number, 2, "Who wants some?"))["text"] == "Who wants some?"
    assert (await call("message", number, 2))["edited_at"] is not None
    assert await call("delete_message", number, 1) is None
    page = await call("messages", number, after=0, limit=1)
    assert (page["messages"][0]["deleted"], page["messages"][0]["text"], page["has_after"]) == (True, "", True)
    assert (await call("messages", number, before=2))["has_before"] is False
    assert len((await call("messages", number, around=1))["messages"]) == 2

    assert (await ben.client.call("mark_read", number, 1))["unread"] == 1
    assert (await ben.client.call("mark_read", number, 0, force=True))["unread"] == 2
    assert (await ben.client.call("rooms", limit=10))["rooms"][0]["room_id"] == number
    assert await ben.client.call("say_typing", number) is None
    direct = await call("direct_room", ben.account_id)
    assert (direct["kind"], direct["name"]) == ("direct", "Ben")

    assert await call("remove_member", number, ben.account_id) is None
    assert await call("authors", number, [ben.account_id]) == [{"account_id": ben.account_id, "name": "Ben"}]
    assert await call("delete_room", number) is None
    with pytest.raises(Refused) as gone:
        await call("room", number)
    assert (gone.value.status, gone.value.code) == (404, "room_not_found")

    second = await call("create_token", anna.account_id)
    assert len(await call("tokens", anna.account_id)) == 2
    assert await call("revoke_token", anna.account_id, second["token_id"]) is None
    assert await call("sign_out") is None
    with pytest.raises(Refused) as out:
        await call("me")
    assert (out.value.status, out.value.code) == (401, "unauthenticated")


async def a_person_is_invited_signs_in_and_ends_sessions(world: World) -> None:
    in_a_browser = isinstance(world.driver, JavaScriptDriver)  # where a session is a cookie, unless it asks for a token
    token_asked: Json = {"bearer": True} if in_a_browser else {}
    admin = await world.admin()
    invited = await admin.call("create_invitation", uses=2)
    assert len((await admin.call("invitations"))["invitations"]) >= 1
    code = invited["url"].partition("#invitation=")[2]
    stranger = await world.driver.client(world.url, None)
    assert (await stranger.call("read_invitation", code))["role"] == "member"
    handle = "gus.js" if in_a_browser else "gus.py"
    joined = await stranger.call("accept_invitation", code, "Gus", "tea at four o'clock", handle=handle, **token_asked)
    gus = await world.driver.client(world.url, joined["token"])
    assert (await gus.call("me"))["handle"] == handle
    assert await gus.call("set_password", "coffee at ten past", current="tea at four o'clock") is None
    again = await stranger.call("sign_in", handle, "coffee at ten past", **token_asked)
    sessions = await gus.call("sessions")
    assert [each["current"] for each in sessions] == [True, False]
    assert await gus.call("end_session", again["session_id"]) is None
    link = (await admin.call("create_sign_in_link", joined["account"]["account_id"]))["url"].partition("#sign-in=")[2]
    assert await stranger.call("sign_in_link", link) == {"name": "Gus", "has_password": True}
    linked = await stranger.call("use_sign_in_link", link, "tea at four o'clock", **token_asked)
    gus = await world.driver.client(world.url, linked["token"])
    assert await gus.call("end_other_sessions") is None
    assert await gus.call("end_current_session") is None
    assert await admin.call("sign_out_everywhere", joined["account"]["account_id"]) is None
    assert await admin.call("delete_invitation", invited["invitation_id"]) is None
    assert (await stranger.call("ways_to_sign_in"))["password"] is True


async def a_refusal_names_its_code_and_the_field(world: World) -> None:
    anna = await world.person("Anna")
    room = await anna.room()
    with pytest.raises(Refused) as refused:
        await anna.post(room, "")
    assert (refused.value.status, refused.value.code) == (422, "invalid")
    assert refused.value.errors[0]["field"] == "text" and refused.value.errors[0]["rule"]


async def to_react_twice_is_to_react_once(world: World) -> None:
    anna, ben = await world.person("Anna"), await world.person("Ben")
    room = await anna.room(ben)
    assert (await anna.post(room, "Who wants tea?"))["reactions"] == []

    async def shown() -> list[tuple[str, int, list[int]]]:
        message = await ben.client.call("message", room, 1)
        return [(each["emoji"], each["count"], each["accounts"]) for each in message["reactions"]]

    for person, count in ((anna, 1), (anna, 1), (ben, 2), (anna, 2)):
        reacted = await person.client.call("add_reaction", room, 1, "❤️")
        assert reacted == {"room_id": room, "seq": 1, "emoji": "❤️", "count": count}
    assert await shown() == [("❤️", 2, [anna.account_id, ben.account_id])]
    assert await ben.client.call("remove_reaction", room, 1, "🍵") is None  # is not there
    for _ in range(2):
        assert await ben.client.call("remove_reaction", room, 1, "❤️") is None
    assert await shown() == [("❤️", 1, [anna.account_id])]

    with pytest.raises(Refused) as unknown:
        await ben.client.call("add_reaction", room, 1, "tea")
    assert (unknown.value.code, unknown.value.errors[0]["field"]) == ("invalid", "emoji")
    await anna.client.call("delete_message", room, 1)
    with pytest.raises(Refused) as deleted:
        await ben.client.call("add_reaction", room, 1, "❤️")
    assert (deleted.value.status, deleted.value.code) == (409, "message_deleted")


async def reactions_are_listed_by_page(world: World) -> None:
    anna, ben = await world.person("Anna"), await world.person("Ben")
    room = await anna.room(ben)
    await anna.post(room, "Who wants tea?")
    made = [(emoji, each.account_id) for emoji in ("🍵", "❤️", "#️⃣") for each in (anna, ben)]
    for emoji, account_id in made:
        await (anna if account_id == anna.account_id else ben).client.call("add_reaction", room, 1, emoji)

    async def listed(**options: Any) -> list[list[tuple[str, int]]]:
        pages, more = [], options
        while True:
            page = await ben.client.call("reactions", room, 1, **more)
            pages.append([(each["emoji"], each["account_id"]) for each in page["reactions"]])
            if page["next_cursor"] is None:
                return pages
            more = options | {"cursor": page["next_cursor"]}

    assert await listed() == [made]
    assert await listed(limit=4) == [made[:4], made[4:]]
    assert await listed(emoji="❤️", limit=1) == [[made[2]], [made[3]]]
    assert await listed(emoji="🎉") == [[]]


async def a_message_is_answered_in_its_thread(world: World) -> None:
    anna, ben = await world.person("Anna"), await world.person("Ben")
    room = await anna.room(ben)
    stream = await ben.client.stream(rooms=[room])
    await begun(stream)
    await anna.post(room, "Tea?")
    thread = await anna.client.call("thread", room, 1)
    parent = {"room_id": room, "seq": 1}
    assert (thread["kind"], thread["parent"], thread["follows"], thread["role"]) == ("thread", parent, True, "admin")
    assert (await ben.client.call("thread", room, 1))["room_id"] == thread["room_id"]
    assert (await heard(stream, "thread.started"))["data"] == {**parent, "thread_id": thread["room_id"]}
    await anna.post(thread["room_id"], "Green")
    changed = (await heard(stream, "thread.changed"))["data"]
    assert (changed["thread_id"], changed["last_seq"], changed["account_id"]) == (thread["room_id"], 1, anna.account_id)
    for _ in range(2):
        assert await ben.client.call("follow", thread["room_id"]) is None
    posted = await anna.client.call("post", thread["room_id"], "Black", also_in_room=True)
    assert posted["in_room"] == 2
    assert (await heard(stream, "message.posted"))["data"]["text"] == "Black"
    (listed,) = (await ben.client.call("threads", unread=True))["threads"]
    assert (listed["room_id"], listed["unread"], listed["root"]["text"]) == (thread["room_id"], 1, "Tea?")
    shown = (await ben.client.call("message", room, 1))["thread"]
    assert (shown["room_id"], shown["last_seq"], shown["participants"]) == (thread["room_id"], 2, [anna.account_id])
    for _ in range(2):
        assert await ben.client.call("unfollow", thread["room_id"]) is None
    assert await ben.client.call("threads") == {"threads": [], "next_cursor": None}
    with pytest.raises(Refused) as refused:
        await ben.client.call("thread", thread["room_id"], 1)
    assert (refused.value.status, refused.value.code) == (422, "invalid")


async def messages_are_pinned_and_unpinned(world: World) -> None:
    anna, ben = await world.person("Anna"), await world.person("Ben")
    room = await anna.room(ben)
    stream = await ben.client.stream(rooms=[room])
    await begun(stream)
    for text in ("Tea?", "Coffee?"):
        await anna.post(room, text)
    for seq in (1, 2, 1):
        pinned = await anna.client.call("add_pin", room, seq)
        assert (pinned["room_id"], pinned["seq"], pinned["pinned_by"]) == (room, seq, anna.account_id)
    listed = (await ben.client.call("pins", room))["pins"]
    assert [(pin["message"]["text"], pin["pinned_by"]) for pin in listed] == [
        ("Coffee?", anna.account_id),
        ("Tea?", anna.account_id),
    ]
    for _ in range(2):
        assert await ben.client.call("remove_pin", room, 2) is None
    await anna.client.call("delete_message", room, 1)
    assert await ben.client.call("pins", room) == {"pins": []}
    for type, seq, who in (("added", 1, anna), ("added", 2, anna), ("removed", 2, ben), ("removed", 1, anna)):
        data = (await heard(stream, f"pin.{type}"))["data"]
        assert data == {"room_id": room, "seq": seq, "account_id": who.account_id}
    with pytest.raises(Refused) as deleted:
        await ben.client.call("add_pin", room, 1)
    assert (deleted.value.status, deleted.value.code) == (409, "message_deleted")
    await stream.leave()


async def messages_are_found_by_their_words(world: World) -> None:
    anna, ben = await world.person("Anna"), await world.person("Ben")
    room = await anna.room(ben)
    for text in ("次の会議は15時", "会議室", "Tea?"):
        await anna.post(room, text)
    first = await anna.client.call("search", "会議", limit=1)
    (hit,) = first["hits"]
    assert (hit["room_id"], hit["message"]["seq"], hit["message"]["text"]) == (room, 2, "会議室")
    assert [list(piece) for piece in hit["snippet"]] == [["会議", True], ["室", False]]
    (hit,) = (await anna.client.call("search", "会議", limit=1, cursor=first["next_cursor"]))["hits"]
    assert hit["message"]["text"] == "次の会議は15時"
    assert (await anna.client.call("search", "会議", mentions="me", sort="relevance"))["hits"] == []
    with pytest.raises(Refused) as asked_nothing:
        await anna.client.call("search", "-tea")
    assert (asked_nothing.value.status, asked_nothing.value.code) == (422, "invalid")


async def messages_are_bookmarked_and_read(world: World) -> None:
    anna, ben = await world.person("Anna"), await world.person("Ben")
    room = await anna.room(ben)
    stream = await ben.client.stream(rooms=[room])
    await begun(stream)
    receipts = await anna.client.stream(rooms=[room], signals=["receipts"])
    await begun(receipts)
    await anna.post(room, "Tea?")
    kept = await ben.client.call("set_bookmark", room, 1, note="Later")
    assert (kept["room_id"], kept["seq"], kept["note"]) == (room, 1, "Later")
    (listed,) = (await ben.client.call("bookmarks"))["bookmarks"]
    assert (listed["message"]["text"], listed["note"]) == ("Tea?", "Later")
    assert await ben.client.call("remove_bookmark", room, 1) is None
    for type, note in (("set", {"note": "Later"}), ("removed", {})):
        data = (await heard(stream, f"bookmark.{type}"))["data"]
        assert data.items() >= {"room_id": room, "seq": 1, **note}.items()
    assert (await anna.client.call("readers", room, 1))["readers"] == []
    await ben.client.call("mark_read", room, 1)
    (reader,) = (await anna.client.call("readers", room, 1))["readers"]
    assert (reader["account_id"], reader["read_seq"]) == (ben.account_id, 1)
    data = (await heard(receipts, "receipts"))["data"]
    assert data == {"room_id": room, "account_id": ben.account_id, "read_seq": 1}
    await stream.leave()
    await receipts.leave()


async def a_key_stands_for_one_command(world: World) -> None:
    anna = await world.person("Anna")
    room = await anna.room()
    first = await anna.post(room, "Hi", key="one")
    assert (await anna.post(room, "Hi", key="one"))["seq"] == first["seq"] == 1
    assert (await anna.post(room, "Hi"))["seq"] == 2
    with pytest.raises(Refused) as reused:
        await anna.post(room, "Something else", key="one")
    assert reused.value.code == "idempotency_key_reused"


async def a_read_sees_what_was_written(world: World) -> None:
    anna = await world.person("Anna")
    room = await anna.room()
    for n in range(1, 21):
        await anna.post(room, f"tea {n}")
        assert (await anna.client.call("messages", room, limit=1))["messages"][0]["seq"] == n
    assert await anna.client.position()


async def who_has_left_keeps_the_name(world: World) -> None:
    anna, ben = await world.person("Anna"), await world.person("Ben")
    room = await anna.room(ben)
    await ben.post(room, "Bye")
    await ben.client.call("remove_member", room, ben.account_id)
    assert await anna.client.name(room, ben.account_id) == "Ben"


async def a_stream_resumes_behind_the_event_that_it_is_given(world: World) -> None:
    anna = await world.person("Anna")
    room = await anna.room()
    stream = await anna.client.stream(rooms=[room])
    await begun(stream)
    await anna.post(room, "heard")
    last = (await heard(stream, "message.posted"))["id"]
    await stream.leave()
    for n in range(3):
        await anna.post(room, f"missed {n}")

    other = await world.driver.client(world.url, anna.token)
    resumed = await other.stream(rooms=[room], resume=last)
    missed = [await resumed.next() for _ in range(4)]
    assert [each["type"] for each in missed] == [*["message.posted"] * 3, "caught_up"]
    assert [each["data"]["text"] for each in missed[:3]] == ["missed 0", "missed 1", "missed 2"]
    await anna.post(room, "live")
    assert (await heard(resumed, "message.posted"))["data"]["text"] == "live"
    await resumed.leave()


async def too_long_an_absence_is_read_by_page(world: World) -> None:
    anna = await world.person("Anna")
    room = await anna.room()
    stream = await anna.client.stream()
    await begun(stream)
    await anna.post(room, "tea 0")
    last = (await heard(stream, "message.posted"))["id"]
    await stream.leave()
    for n in range(1, MISSED):
        await anna.post(room, f"tea {n}")

    resumed = await anna.client.stream(resume=last)
    missed = await resumed.next()
    assert missed["type"] == "catch_up"
    (reach,) = [each for each in missed["data"]["rooms"] if each["room_id"] == room]
    assert reach["last_seq"] == MISSED
    history = await anna.client.history(room, after=1, up_to=reach["last_seq"])
    assert texts(history) == [f"tea {n}" for n in range(1, MISSED)]
    await anna.post(room, "live")
    assert (await heard(resumed, "message.posted"))["data"]["seq"] == MISSED + 1
    await resumed.leave()


async def every_event_comes_with_its_fields(world: World) -> None:
    anna, ben = await world.person("Anna"), await world.person("Ben")
    stream = await ben.client.stream(signals=["typing", "presence"], watch=[anna.account_id])
    hello = (await begun(stream))["data"]
    assert (hello["account_id"], hello["rooms"], hello["truncated"]) == (ben.account_id, [], False)

    room = await anna.room(ben)
    created = (await heard(stream, "room.created"))["data"]
    assert (created["room_id"], created["role"], created["name"]) == (room, "member", "Tea kitchen")
    hers = await anna.client.stream()
    await begun(hers)
    assert (await heard(stream, "presence"))["data"] == {"account_id": anna.account_id, "online": True}
    await hers.leave()

    await anna.client.call("change_room", room, name="Tea")
    assert (await heard(stream, "room.changed"))["data"]["name"] == "Tea"
    typing = asyncio.ensure_future(heard(stream, "typing"))
    while not typing.done():  # a process that was stopped for two seconds passes typing over
        with suppress(Refused):  # she has said so less than a second ago
            await anna.client.call("say_typing", room)
        await asyncio.wait([typing], timeout=1)
    assert typing.result()["data"] == {"room_id": room, "account_id": anna.account_id}
    await anna.post(room, "Hi", mentions=[ben.account_id])
    posted = (await heard(stream, "message.posted"))["data"]
    assert (posted["text"], posted["author_id"], posted["mentions"]) == ("Hi", anna.account_id, [ben.account_id])
    await anna.client.call("edit", room, 1, "Hello")
    assert (await heard(stream, "message.edited"))["data"]["text"] == "Hello"
    reaction = {"room_id": room, "seq": 1, "account_id": anna.account_id, "emoji": "🍵"}
    await anna.client.call("add_reaction", room, 1, "🍵")
    assert (await heard(stream, "reaction.added"))["data"] == {**reaction, "count": 1}
    await anna.client.call("remove_reaction", room, 1, "🍵")
    assert (await heard(stream, "reaction.removed"))["data"] == {**reaction, "count": 0}
    await anna.client.call("delete_message", room, 1)
    assert (await heard(stream, "message.deleted"))["data"]["deleted"] is True
    await ben.client.call("mark_read", room, 1)
    moved = (await heard(stream, "read.moved"))["data"]
    assert moved == {"room_id": room, "read_seq": 1, "unread": 0, "mentions": 0}

    cleo = await world.person("Cleo")
    await anna.client.call("put_member", room, cleo.account_id, "member")
    joined = (await heard(stream, "member.joined"))["data"]
    assert joined == {"room_id": room, "account_id": cleo.account_id, "role": "member"}
    await anna.client.call("put_member", room, cleo.account_id, "readonly")
    assert (await heard(stream, "member.changed"))["data"]["role"] == "readonly"
    await anna.client.call("remove_member", room, cleo.account_id)
    assert (await heard(stream, "member.left"))["data"]["account_id"] == cleo.account_id
    await anna.client.call("delete_room", room)
    assert (await heard(stream, "room.deleted"))["data"]["room_id"] == room
    await stream.leave()


def of_messages(told: list[Json]) -> list[str]:
    return [each["data"]["text"] for each in told if each["type"] == "message.posted"]


async def a_stream_watches_others_without_losing_an_event(world: World) -> None:
    anna, ben, cleo = [await world.person(name) for name in ("Anna", "Ben", "Cleo")]
    room = await anna.room(ben)
    await anna.client.call("put_member", room, cleo.account_id, "member")
    stream, hers, cleos = await ben.client.stream(), await anna.client.stream(), await cleo.client.stream()
    for each in (stream, hers, cleos):
        await begun(each)
    for n, watched in enumerate(([anna.account_id], [anna.account_id, cleo.account_id], [])):
        waiting = asyncio.ensure_future(stream.next())
        await stream.watch(*watched)
        await anna.post(room, f"tea {n}")
        told = [await waiting]
        while [each["type"] for each in told].count("presence") < len(watched) or not of_messages(told):
            told.append(await stream.next())
        assert of_messages(told) == [f"tea {n}"]
        online = {each["data"]["account_id"] for each in told if each["type"] == "presence"}
        assert online == set(watched)
    for each in (stream, hers, cleos):
        await each.leave()


async def a_revoked_token_ends_the_stream(world: World) -> None:
    anna = await world.person("Anna")
    stream = await anna.client.stream()
    await begun(stream)
    await anna.client.call("sign_out")
    assert (await heard(stream, "bye"))["data"]["reason"] == "unauthenticated"
    with pytest.raises(Refused) as out:
        await stream.next()
    assert (out.value.status, out.value.code) == (401, "unauthenticated")


async def a_stream_of_a_room_that_is_not_ones_own_is_refused(world: World) -> None:
    anna, ben = await world.person("Anna"), await world.person("Ben")
    stream = await ben.client.stream(rooms=[await anna.room()])
    with pytest.raises(Refused) as refused:
        await stream.next()
    assert (refused.value.status, refused.value.code) == (404, "room_not_found")


# --- a server that answers as the test says -------------------------------------------------------------------------

POSTED: Final = answer(201, MESSAGE, Falcon_Position="3:17")
PAGE: Final = answer(200, {"messages": [MESSAGE], "has_before": False, "has_after": False})
HELLO: Final = event("hello", {"account_id": 130, "rooms": [], "truncated": False, "unread_threads": 0}, "a")


async def a_retried_command_keeps_its_key(driver: Driver) -> None:
    passing = [answer(status, "<html>") for status in (408, 425, 500, 502, 504, 520)]
    script = [busy(), busy(429, "rate_limited"), hangs_up, damaged, *passing, POSTED, POSTED]
    async with ScriptedServer(*script) as server:
        client = await driver.client(server.url, TOKEN)
        assert (await client.call("post", 64, "Hi"))["text"] == "Hi"
        await client.call("post", 64, "Hi")
    *first, second = server.headers(KEY)
    assert len(first) == 11 and len(set(first)) == 1 and first[0]
    assert second != first[0]
    assert {request.body for request in server.requests} == {server.requests[0].body}
    assert json.loads(server.requests[0].body)["text"] == "Hi"
    assert set(server.headers("authorization")) == {f"Bearer {TOKEN}"}


async def a_key_of_the_callers_is_sent(driver: Driver) -> None:
    async with ScriptedServer(hangs_up, POSTED) as server:
        await (await driver.client(server.url, TOKEN)).call("post", 64, "Hi", key="mine")
    assert server.headers(KEY) == ["mine", "mine"]


async def retry_after_is_waited_for(driver: Driver) -> None:
    async with ScriptedServer(busy(after="1"), PAGE) as server:
        await (await driver.client(server.url, TOKEN)).call("messages", 64)
    first, second = server.requests
    assert second.at - first.at >= 1


async def a_server_that_names_no_time_is_not_asked_without_a_pause(driver: Driver) -> None:
    for after in ("0", "-1", "nan", "soon"):
        async with ScriptedServer(busy(after=after)) as server:
            client = await driver.client(server.url, TOKEN, timeout=1)
            with pytest.raises(NoAnswer):
                await client.call("post", 64, "Hi")
        assert len(server.requests) < 10
    bye = event("bye", {"reason": "draining", "retry_after_ms": 0}, "b")
    async with ScriptedServer(events(HELLO, bye), events(bye), events(event("caught_up", {}, "c"))) as server:
        stream = await (await driver.client(server.url, TOKEN)).stream()
        assert [(await stream.next())["type"] for _ in range(4)] == ["hello", "bye", "bye", "caught_up"]
        await stream.leave()
    first, second, third = server.requests
    assert second.at - first.at > 0.02 and third.at - second.at > 0.02


async def a_command_is_not_sent_again_once_its_key_may_be_forgotten(driver: Driver) -> None:
    async def sleeps(writer: Any) -> None:
        await driver.passes(600)

    async with ScriptedServer(sleeps, POSTED) as server:
        client = await driver.client(server.url, TOKEN, timeout=3600)
        with pytest.raises(NoAnswer) as failed:
            await client.call("post", 64, "Hi")
        assert [failed.value.key] == server.headers(KEY)
    async with ScriptedServer(sleeps, PAGE) as server:
        await (await driver.client(server.url, TOKEN, timeout=3600)).call("messages", 64)
    assert len(server.requests) == 2


async def a_refusal_is_not_retried(driver: Driver) -> None:
    for status, code in ((400, "malformed"), (403, "read_only"), (409, "message_deleted"), (422, "invalid")):
        async with ScriptedServer(refusal(status, code, ({"field": "text", "rule": "must not be empty"},))) as server:
            client = await driver.client(server.url, TOKEN)
            with pytest.raises(Refused) as refused:
                await client.call("post", 64, "Hi")
            assert (refused.value.status, refused.value.code) == (status, code)
            assert refused.value.errors == [{"field": "text", "rule": "must not be empty"}]
        assert len(server.requests) == 1


async def no_answer_before_the_deadline_names_the_key(driver: Driver) -> None:
    async with ScriptedServer(busy()) as server:
        client = await driver.client(server.url, TOKEN, timeout=3)
        with pytest.raises(NoAnswer) as failed:
            await client.call("post", 64, "Hi")
        assert failed.value.key == server.headers(KEY)[0]
    assert len(server.requests) > 1


async def an_answer_of_something_else_is_a_problem(driver: Driver) -> None:
    for reply in (answer(200, "<html>"), answer(200, MESSAGE, Falcon_Position="elsewhere")):
        async with ScriptedServer(reply) as server:
            client = await driver.client(server.url, TOKEN)
            with pytest.raises(Refused) as refused:
                await client.call("message", 64, 1)
            assert refused.value.code == "not_falcon"


async def a_read_carries_the_position_of_the_writes(driver: Driver) -> None:
    later = answer(201, MESSAGE, Falcon_Position="3:9,5:2")
    async with ScriptedServer(PAGE, POSTED, later, PAGE) as server:
        client = await driver.client(server.url, TOKEN)
        await client.call("messages", 64)
        await client.call("post", 64, "Hi")
        await client.call("post", 64, "Hi")
        await client.call("messages", 64)
    assert server.headers("falcon-position") == [None, None, None, "3:17,5:2"]


async def history_waits_for_what_the_page_does_not_show_yet(driver: Driver) -> None:
    def page(*seqs: int, has_after: bool = False) -> Any:
        messages = [{**MESSAGE, "seq": seq} for seq in seqs]
        return answer(200, {"messages": messages, "has_before": False, "has_after": has_after})

    async with ScriptedServer(page(1, 2, has_after=True), page(3), page(), page(4, 5)) as server:
        history = await (await driver.client(server.url, TOKEN)).history(64, up_to=4)
    assert [message["seq"] for message in history] == [1, 2, 3, 4]
    assert [request.query["after"] for request in server.requests] == ["0", "2", "3", "3"]


async def history_may_take_longer_than_a_call(driver: Driver) -> None:
    def page(*seqs: int, has_after: bool = False) -> Any:
        reply = answer(
            200, {"messages": [{**MESSAGE, "seq": seq} for seq in seqs], "has_before": False, "has_after": has_after}
        )

        async def late(writer: Any) -> None:
            await driver.passes(50)
            await reply(writer)

        return late

    async with ScriptedServer(page(1, has_after=True), page(2, has_after=True), page(), page(3)) as server:
        history = await (await driver.client(server.url, TOKEN)).history(64, up_to=3)
    assert [message["seq"] for message in history] == [1, 2, 3]


async def events_are_read_however_their_bytes_are_cut(driver: Driver) -> None:
    said = "tee \U0001fad6 é"
    posted = event("message.posted", {**MESSAGE, "text": said}, "b")
    text = b"\xef\xbb\xbf: beat\n\n" + HELLO.replace(b"\n", b"\r\n") + b":\n\n" + posted + b"id: c\nevent: hel"
    for size in (1, 3, len(text)):
        pieces = [text[start : start + size] for start in range(0, len(text), size)]
        async with ScriptedServer(events(*pieces)) as server, AsyncExitStack() as leaving:
            stream = await (await driver.client(server.url, TOKEN)).stream()
            leaving.push_async_callback(stream.leave)
            assert (await stream.next())["id"] == "a"
            second = await stream.next()
            assert (second["type"], second["id"], second["data"]["text"]) == ("message.posted", "b", said)


async def unknown_events_and_fields_are_passed_over(driver: Driver) -> None:
    newer = event("room.painted", {"colour": "green"}, "b") + event("typing", {"room_id": 64, "account_id": 1, "x": 1})
    async with ScriptedServer(events(HELLO, newer)) as server:
        stream = await (await driver.client(server.url, TOKEN)).stream()
        assert (await stream.next())["type"] == "hello"
        typing = await stream.next()
        assert (typing["type"], typing["data"]["account_id"]) == ("typing", 1)
        await stream.leave()


async def a_stream_names_those_whom_it_watches(driver: Driver) -> None:
    first, second = events(HELLO, event("message.posted", MESSAGE, "b")), events(event("caught_up", {}, "c"))
    async with ScriptedServer(first, second) as server:
        stream = await (await driver.client(server.url, TOKEN)).stream(watch=[65, 130])
        assert [(await stream.next())["type"] for _ in range(2)] == ["hello", "message.posted"]
        await stream.watch(65, 195)
        await stream.watch(65, 195)
        assert (await stream.next())["type"] == "caught_up"
        await stream.leave()
    assert [request.query["watch"] for request in server.requests] == ["65,130", "65,195"]
    assert server.requests[1].headers.get("last-event-id", server.requests[1].query.get("resume")) == "b"


async def a_broken_stream_goes_on_behind_the_last_event(driver: Driver) -> None:
    first = events(HELLO, event("message.posted", MESSAGE, "b"), event("room.painted", {}, "c"), breaks=True)
    second = events(event("caught_up", {}, "d"))
    async with ScriptedServer(first, hangs_up, busy(), answer(502, "<html>"), second) as server:
        stream = await (await driver.client(server.url, TOKEN)).stream(rooms=[64], signals=["typing"])
        assert [(await stream.next())["type"] for _ in range(3)] == ["hello", "message.posted", "caught_up"]
        await stream.leave()
    resumed = [request.headers.get("last-event-id", request.query.get("resume")) for request in server.requests]
    assert resumed == [None, "c", "c", "c", "c"]
    assert {(request.query["rooms"], request.query["signals"]) for request in server.requests} == {("64", "typing")}


async def a_stream_of_a_restored_server_starts_again_and_says_so(driver: Driver) -> None:
    """Positions of writes are of the lost history: a read that waited for them would get 503."""
    refused = refusal(400, "malformed", ({"field": "resume", "rule": "must be the id of an event"},))
    posted, hello = answer(201, MESSAGE, Falcon_Position="1:9"), events(HELLO)
    script = (posted, events(HELLO, breaks=True), refused, hello, answer(200, MESSAGE))
    async with ScriptedServer(*script) as server:
        client = await driver.client(server.url, TOKEN)
        await client.call("post", 64, "Hi")
        stream = await client.stream()
        assert [(await stream.next())["type"] for _ in range(3)] == ["hello", "restarted", "hello"]
        await client.call("message", 64, 1)
        await stream.leave()
    resumed = [request.headers.get("last-event-id", request.query.get("resume")) for request in server.requests]
    assert resumed == [None, None, "a", None, None]
    assert server.headers("falcon-position") == [None, "1:9", "1:9", None, None]


async def a_given_id_that_the_server_does_not_know_is_refused_by_name(driver: Driver) -> None:
    refused = refusal(400, "malformed", ({"field": "resume", "rule": "must be the id of an event"},))
    async with ScriptedServer(refused) as server:
        stream = await (await driver.client(server.url, TOKEN)).stream(resume="old")
        with pytest.raises(ResumeIsRefused):
            await stream.next()


async def after_bye_the_stream_comes_back_when_it_was_told(driver: Driver) -> None:
    bye = event("bye", {"reason": "draining", "retry_after_ms": 1000}, "b")
    async with ScriptedServer(events(HELLO, bye), events(event("caught_up", {}, "c"))) as server:
        stream = await (await driver.client(server.url, TOKEN)).stream()
        assert [(await stream.next())["type"] for _ in range(3)] == ["hello", "bye", "caught_up"]
        await stream.leave()
    first, second = server.requests
    assert second.at - first.at >= 1


async def a_server_that_falls_silent_is_given_up_on(driver: Driver) -> None:
    async def half(writer: Any) -> None:
        writer.write(b'HTTP/1.1 201 Created\r\nContent-Length: 100\r\n\r\n{"room_id":')
        await writer.drain()
        await driver.collects_garbage()
        await asyncio.Event().wait()

    async with ScriptedServer(half, POSTED) as server:
        client = await driver.client(server.url, TOKEN, timeout=6)
        assert (await asyncio.wait_for(client.call("post", 64, "Hi"), 60))["text"] == "Hi"
    async with ScriptedServer(events(HELLO), events(event("caught_up", {}, "c"))) as server:
        stream = await (await driver.client(server.url, TOKEN)).stream()
        await stream.next()
        waiting = asyncio.ensure_future(stream.next())
        await driver.collects_garbage()
        await stream.watch(65)
        assert (await waiting)["type"] == "caught_up"
        await stream.leave()


async def a_stream_that_is_closed_ends_for_the_one_who_listens(driver: Driver) -> None:
    away = events(event("bye", {"reason": "draining", "retry_after_ms": 3_600_000}))
    for reply in (events(HELLO), away):
        for whole in (False, True):
            async with ScriptedServer(reply) as server:
                client = await driver.client(server.url, TOKEN)
                stream = await client.stream()
                await stream.next()
                waiting = asyncio.ensure_future(stream.next())
                await asyncio.sleep(0)
                await client.position()  # by now it waits
                await (client.close() if whole else stream.leave())
                assert await asyncio.wait_for(waiting, 60) == {}


async def a_stream_that_is_none_is_a_problem(driver: Driver) -> None:
    for reply in (answer(200, "<html>"), events(b"event: hello\ndata: {\n\n")):
        async with ScriptedServer(reply) as server:
            stream = await (await driver.client(server.url, TOKEN)).stream()
            with pytest.raises(Refused) as refused:
                await stream.next()
            assert refused.value.code == "not_falcon"


async def addresses_take_turns_and_a_dead_one_is_left_alone(driver: Driver) -> None:
    async with ScriptedServer(hangs_up) as dead, ScriptedServer(PAGE) as alive:
        client = await driver.client([dead.url, alive.url], TOKEN)
        for _ in itertools.repeat(None, 6):
            await client.call("messages", 64)
        assert (len(dead.requests), len(alive.requests)) == (1, 6)
    async with ScriptedServer(PAGE) as one, ScriptedServer(PAGE) as other:
        client = await driver.client([one.url, other.url], TOKEN)
        for _ in itertools.repeat(None, 6):
            await client.call("messages", 64)
        assert (len(one.requests), len(other.requests)) == (3, 3)


KILLED: Final = (
    nothing_is_lost_or_doubled_when_everything_is_killed,
    nothing_is_lost_or_doubled_when_what_serves_is_killed,
    a_server_that_restarts_says_so_and_the_stream_goes_on,
    one_of_two_addresses_may_be_dead,
    reactions_are_made_and_taken_back_once_when_everything_is_killed,
)
SERVED: Final = (
    every_request_has_a_method,
    a_person_is_invited_signs_in_and_ends_sessions,
    a_refusal_names_its_code_and_the_field,
    to_react_twice_is_to_react_once,
    reactions_are_listed_by_page,
    messages_are_pinned_and_unpinned,
    messages_are_found_by_their_words,
    messages_are_bookmarked_and_read,
    a_message_is_answered_in_its_thread,
    a_key_stands_for_one_command,
    a_read_sees_what_was_written,
    who_has_left_keeps_the_name,
    a_stream_resumes_behind_the_event_that_it_is_given,
    too_long_an_absence_is_read_by_page,
    every_event_comes_with_its_fields,
    a_stream_watches_others_without_losing_an_event,
    a_revoked_token_ends_the_stream,
    a_stream_of_a_room_that_is_not_ones_own_is_refused,
)
SCRIPTED: Final = (
    a_retried_command_keeps_its_key,
    a_key_of_the_callers_is_sent,
    retry_after_is_waited_for,
    a_server_that_names_no_time_is_not_asked_without_a_pause,
    a_command_is_not_sent_again_once_its_key_may_be_forgotten,
    a_refusal_is_not_retried,
    no_answer_before_the_deadline_names_the_key,
    an_answer_of_something_else_is_a_problem,
    a_read_carries_the_position_of_the_writes,
    history_waits_for_what_the_page_does_not_show_yet,
    history_may_take_longer_than_a_call,
    events_are_read_however_their_bytes_are_cut,
    unknown_events_and_fields_are_passed_over,
    a_stream_names_those_whom_it_watches,
    a_broken_stream_goes_on_behind_the_last_event,
    a_stream_of_a_restored_server_starts_again_and_says_so,
    a_given_id_that_the_server_does_not_know_is_refused_by_name,
    after_bye_the_stream_comes_back_when_it_was_told,
    a_server_that_falls_silent_is_given_up_on,
    a_stream_that_is_closed_ends_for_the_one_who_listens,
    a_stream_that_is_none_is_a_problem,
    addresses_take_turns_and_a_dead_one_is_left_alone,
)
