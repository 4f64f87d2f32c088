"""Reacting to messages with emoji."""

from urllib.parse import quote

import emoji as unicode
import httpx
import pytest

from falcon.features.reactions.rules import REACTION_ACCOUNTS_SHOWN
from falcon.features.reactions.table import ShownReactions
from tests.support.http import Falcon, Json, Person, Room, problem

LIKE, HEART = "👍", "❤️"
SOME = [each for each, known in unicode.EMOJI_DATA.items() if known["status"] == 2 and len(each.encode()) <= 32]


@pytest.fixture
def said(anna: Person, room: Room) -> str:
    """The path of Anna's message."""
    return f"{room}/messages/{anna.says(room, 'Tea?')}"


def reacts(person: Person, message: str, emoji: str = LIKE, **request: str) -> httpx.Response:
    return person.put(f"{message}/reactions/{quote(emoji)}", **request)


def removes(person: Person, message: str, emoji: str = LIKE) -> httpx.Response:
    return person.delete(f"{message}/reactions/{quote(emoji)}")


def shown(person: Person, message: str) -> list[Json]:
    """On the message itself, and the same on the page that has it."""
    read = person.get(message).json()
    room, _, seq = message.rpartition("/messages/")
    page = person.get(f"{room}/messages", params={"around": seq}).json()
    assert read in page["messages"]
    reactions: list[Json] = read["reactions"]
    return reactions


def listed(person: Person, message: str, **query: object) -> Json:
    answer = person.get(f"{message}/reactions", params=query)
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


# --- reacting ---------------------------------------------------------------------------------------------------------


def test_a_message_begins_without_more(anna: Person, room: Room) -> None:
    posted = anna.post(f"{room}/messages", {"text": "Tea?"}).json()
    assert posted["reactions"] == []
    assert anna.message(room, 1) == posted
    assert anna.reads(room)["messages"] == [posted]


def test_a_reaction_is_answered_with_how_many_there_are(anna: Person, ben: Person, room: Room, said: str) -> None:
    first = reacts(ben, said)
    assert (first.status_code, first.json()) == (200, {"room_id": room.room_id, "seq": 1, "emoji": LIKE, "count": 1})
    assert first.headers["falcon-position"]
    assert reacts(anna, said).json()["count"] == 2
    assert shown(anna, said) == [{"emoji": LIKE, "count": 2, "accounts": [ben.account_id, anna.account_id]}]


def test_a_retry_gets_the_same_answer(anna: Person, ben: Person, said: str) -> None:
    first = reacts(ben, said, key="like")
    reacts(anna, said), removes(ben, said)
    again = reacts(ben, said, key="like")
    assert again.json() == first.json()
    assert again.headers["idempotency-replayed"] == "true"
    assert [each["accounts"] for each in shown(anna, said)] == [[anna.account_id]]


def test_many_react_at_once_and_none_is_refused(falcon: Falcon, anna: Person) -> None:
    people = [falcon.account(f"Guest {n}") for n in range(40)]
    hall = anna.makes_room("Hall", *people)
    message = f"{hall}/messages/{anna.says(hall, 'Welcome')}"
    answers = falcon.together(*(each.request("PUT", f"{message}/reactions/{quote(LIKE)}") for each in people))
    assert {answer.status_code for answer in answers} == {200}
    (like,) = shown(anna, message)
    assert (like["count"], len(like["accounts"])) == (40, REACTION_ACCOUNTS_SHOWN)
    everybody = [each["account_id"] for each in listed(anna, message, limit=200)["reactions"]]
    assert like["accounts"] == everybody[:REACTION_ACCOUNTS_SHOWN]
    first = next(each for each in people if each.account_id == everybody[0])
    removes(first, message)
    (like,) = shown(anna, message)
    assert (like["count"], like["accounts"]) == (39, everybody[1 : REACTION_ACCOUNTS_SHOWN + 1])


@pytest.mark.parametrize("emoji", [LIKE, HEART, "👩🏽‍🚀", "#️⃣", "🏴󠁧󠁢󠁥󠁮󠁧󠁿", "🇯🇵"])
def test_every_kind_of_emoji_can_be_used(ben: Person, said: str, emoji: str) -> None:
    assert reacts(ben, said, emoji).json()["emoji"] == emoji
    assert [each["emoji"] for each in shown(ben, said)] == [emoji]


# --- refusals ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "emoji", ["a", "👍👍", "❤", ":+1:", "🏽", "\ud800".encode("utf-8", "surrogatepass").decode("latin-1"), "👍 "]
)
def test_what_is_no_emoji_is_refused(ben: Person, said: str, emoji: str) -> None:
    problem(reacts(ben, said, emoji), 422, "invalid", "emoji")
    problem(removes(ben, said, emoji), 422, "invalid", "emoji")
    problem(ben.get(f"{said}/reactions", params={"emoji": emoji}), 422, "invalid", "emoji")


def test_an_emoji_of_more_than_32_bytes_is_refused(ben: Person, said: str) -> None:
    refused = problem(reacts(ben, said, "🧑🏿‍❤️‍💋‍🧑🏾"), 422, "invalid", "emoji")
    assert "32 bytes" in refused["detail"]


def test_only_members_who_may_write_react(falcon: Falcon, anna: Person, cleo: Person, room: Room, said: str) -> None:
    for refuse in (reacts, removes):
        problem(refuse(cleo, said), 404, "room_not_found")
    problem(cleo.get(f"{said}/reactions"), 404, "room_not_found")
    anna.put(f"{room}/members/{cleo.account_id}", {"role": "readonly"})
    for refuse in (reacts, removes):
        problem(refuse(cleo, said), 403, "read_only")
    assert listed(cleo, said) == {"reactions": [], "next_cursor": None}


def test_there_must_be_a_message(anna: Person, room: Room) -> None:
    message = f"{room}/messages/7"
    for refused in (reacts(anna, message), removes(anna, message), anna.get(f"{message}/reactions")):
        problem(refused, 404, "message_not_found")


def test_a_deleted_message_shows_no_reactions_and_takes_none(anna: Person, ben: Person, said: str) -> None:
    reacts(ben, said)
    anna.delete(said)
    assert shown(anna, said) == []
    assert listed(anna, said) == {"reactions": [], "next_cursor": None}
    for refuse in (reacts, removes):
        problem(refuse(ben, said), 409, "message_deleted")


def test_a_body_is_refused(ben: Person, said: str) -> None:
    problem(ben.put(f"{said}/reactions/{quote(LIKE)}", {"emoji": LIKE}), 422, "invalid")


# --- beside messages --------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("ticking")
def test_reactions_leave_unread_counts_and_the_order_of_rooms_alone(anna: Person, ben: Person, room: Room) -> None:
    anna.says(room, "Tea?")
    later = anna.makes_room("Later", ben)
    before = ben.rooms()
    reacts(ben, f"{room}/messages/1"), reacts(anna, f"{room}/messages/1")
    assert ben.rooms() == before
    assert [each["room_id"] for each in before][:2] == [later.room_id, room.room_id]


def test_a_page_changes_with_the_reactions_on_it_and_with_no_others(anna: Person, ben: Person, room: Room) -> None:
    for n in range(120):
        anna.says(room, f"Cup {n}")
    query, old = f"{room}/messages", f"{room}/messages?before=51"

    def tags() -> list[str]:
        return [anna.get(path).headers["etag"] for path in (query, old, f"{room}/messages/120")]

    def unchanged(paths: list[str], before: list[str]) -> list[bool]:
        return [
            anna.get(path, headers={"If-None-Match": tag}).status_code == 304
            for path, tag in zip(paths, before, strict=True)
        ]

    paths, before = [query, old, f"{room}/messages/120"], tags()
    reacts(ben, f"{room}/messages/120")
    assert unchanged(paths, before) == [False, True, False]
    before = tags()
    assert unchanged(paths, before) == [True, True, True]
    removes(ben, f"{room}/messages/120")
    assert unchanged(paths, before) == [False, True, False]
    assert anna.reads(room)["messages"][-1]["reactions"] == []


def test_reactions_of_a_page_are_read_again_only_after_a_reaction(
    anna: Person, ben: Person, room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    anna.says(room, "Tea?")
    reacts(ben, f"{room}/messages/1")
    store = anna.falcon.edge.store
    asked: list[tuple[int, ...]] = []
    read = store.shown_reactions

    async def counted(*page: int) -> ShownReactions:
        asked.append(page)
        return await read(*page)

    monkeypatch.setattr(store, "shown_reactions", counted)
    path = f"{room}/messages"
    etag = anna.get(path).headers["etag"]
    for _ in range(5):
        assert anna.get(path, headers={"If-None-Match": etag}).status_code == 304
        assert ben.reads(room)["messages"][0]["reactions"][0]["count"] == 1
    assert len(asked) == 1
    reacts(anna, f"{room}/messages/1")
    assert anna.get(path, headers={"If-None-Match": etag}).status_code == 200
    assert ben.reads(room)["messages"][0]["reactions"][0]["count"] == 2
    assert len(asked) == 2


def test_a_page_is_the_same_bytes_for_everybody(anna: Person, ben: Person, room: Room, said: str) -> None:
    reacts(ben, said)
    assert anna.get(f"{room}/messages").content == ben.get(f"{room}/messages").content


def test_a_page_with_many_reactions_stays_within_a_mebibyte(anna: Person, ben: Person, room: Room) -> None:
    for _ in range(16):
        anna.says(room, "x" * 65_000)
    for seq in range(1, 17):
        for emoji in SOME[:10]:
            reacts(ben, f"{room}/messages/{seq}", emoji)
    walked: list[int] = []
    while True:
        page = anna.get(f"{room}/messages", params={"after": walked[-1] if walked else 0})
        assert len(page.content) <= 1 << 20
        walked += [each["seq"] for each in page.json()["messages"]]
        if not page.json()["has_after"]:
            break
    assert walked == list(range(1, 17))
    newest = anna.get(f"{room}/messages")
    assert len(newest.content) <= 1 << 20
    assert (newest.json()["messages"][-1]["seq"], newest.json()["has_after"]) == (16, False)
    around = anna.get(f"{room}/messages", params={"around": 8})
    assert len(around.content) <= 1 << 20
    assert 8 in [each["seq"] for each in around.json()["messages"]]


# --- the list ---------------------------------------------------------------------------------------------------------


def test_reactions_are_listed_oldest_first_by_page(anna: Person, ben: Person, said: str) -> None:
    wanted = [(ben, LIKE), (anna, HEART), (anna, LIKE)]
    for person, emoji in wanted:
        reacts(person, said, emoji)
    first = listed(anna, said, limit=2)
    rest = listed(anna, said, limit=2, cursor=first["next_cursor"])
    assert rest["next_cursor"] is None
    found = [*first["reactions"], *rest["reactions"]]
    assert [(each["account_id"], each["emoji"]) for each in found] == [(p.account_id, e) for p, e in wanted]
    assert all(each["reacted_at"].endswith("Z") for each in found)
    hearts = listed(anna, said, emoji=HEART)["reactions"]
    assert [each["account_id"] for each in hearts] == [anna.account_id]


def test_a_cursor_that_was_not_given_is_refused(anna: Person, said: str) -> None:
    problem(anna.get(f"{said}/reactions", params={"cursor": "x"}), 422, "invalid", "cursor")
