"""Generated chats are what they are said to be, and what `falcon import` reads."""

import asyncio
from collections import Counter
from io import BytesIO

import msgspec
import pytest

from falcon.cli.importing import import_lines
from falcon.cli.lines import Line, MessageLine, RoomLine
from falcon.client import Imported
from tools.harness.generate import Past, WrongSizes, account_ref, room_ref, write

PAST = Past(accounts=20, rooms=50, messages=3_000)


def parsed(past: Past) -> list[Line]:
    decoder: msgspec.json.Decoder[Line] = msgspec.json.Decoder(Line)
    return [decoder.decode(line) for line in past.lines()]


def test_there_are_as_many_as_were_asked_for() -> None:
    kinds = Counter(type(line).__name__ for line in parsed(PAST))
    assert kinds == {"HeaderLine": 1, "AccountLine": 20, "RoomLine": 50, "MessageLine": 3_000}


def test_the_popular_rooms_have_most_of_the_messages_and_members() -> None:
    lines = parsed(PAST)
    messages = Counter(line.room for line in lines if isinstance(line, MessageLine))
    members = {line.ref: len(line.members) for line in lines if isinstance(line, RoomLine)}
    assert messages[room_ref(0)] == pytest.approx(10**0.9 * messages[room_ref(9)], rel=0.05)
    assert members[room_ref(0)] == 10 and members[room_ref(49)] == 2


def test_everybody_is_in_some_room_and_writes_only_where_they_are() -> None:
    lines = parsed(PAST)
    members = {line.ref: {member.account for member in line.members} for line in lines if isinstance(line, RoomLine)}
    assert set().union(*members.values()) == {account_ref(number) for number in range(20)}
    assert all(line.author in members[line.room] for line in lines if isinstance(line, MessageLine))


def test_the_same_seed_is_the_same_chat_so_an_import_can_go_on() -> None:
    first, again, other = BytesIO(), BytesIO(), BytesIO()
    write(PAST, first)
    write(Past(20, 50, 3_000), again)
    write(Past(20, 50, 3_000, seed=2), other)
    assert first.getvalue() == again.getvalue() != other.getvalue()


def test_the_command_line_takes_every_line() -> None:
    accounts, rooms, taken = iter(range(64, 10_000, 64)), iter(range(65, 100_000, 64)), []

    async def send(lines: bytes) -> Imported:
        known = [msgspec.json.decode(line) for line in lines.splitlines()]
        taken.extend(known)
        return Imported(
            {line["ref"]: next(accounts) for line in known if line["type"] == "account"},
            {line["ref"]: next(rooms) for line in known if line["type"] == "room"},
            sum(line["type"] == "message" for line in known),
            0,
        )

    outcome = asyncio.run(import_lines(enumerate(PAST.lines(), 1), "generated", send))
    assert (outcome.lines, outcome.imported) == (3_070, 3_000)
    assert any(line["mentions"] for line in taken if line["type"] == "message")


@pytest.mark.parametrize(("accounts", "rooms", "messages"), [(1, 1, 1), (5, 0, 1), (5, 1, -1)])
def test_sizes_that_cannot_be_are_refused(accounts: int, rooms: int, messages: int) -> None:
    with pytest.raises(WrongSizes):
        Past(accounts, rooms, messages)
