"""One account takes a share of the write side, and leaves enough for others."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest

from tests.support.http import Falcon, Person, Room

Start = Callable[..., Falcon]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """A Falcon with settings of its own. All rooms are in one partition, so that all messages are in one order."""
    with ExitStack() as started:
        yield lambda **settings: started.enter_context(Falcon(tmp_path, partitions=1, **settings))


def messages(person: Person, room: Room, count: int) -> list[httpx.Request]:
    return [person.request("POST", f"{room}/messages", {"text": f"{number}"}) for number in range(count)]


def offset(answer: httpx.Response) -> int:
    assert answer.status_code == 201, answer.text
    return int(answer.headers["falcon-position"].split(":")[1])


def test_one_with_two_thousand_commands_under_way_does_not_delay_another(start: Start) -> None:
    falcon = start(mailbox_bound=4_000)
    anna, ben = falcon.account("Anna"), falcon.account("Ben")
    rooms = [anna.makes_room(), ben.makes_room()]
    answers = falcon.together(*messages(anna, rooms[0], 2_000), *messages(ben, rooms[1], 20))
    of_anna, of_ben = [offset(each) for each in answers[:2_000]], [offset(each) for each in answers[2_000:]]
    ahead = sum(each < max(of_ben) for each in of_anna)
    assert ahead <= 512, "those of a batch that was away, and one of hers for each of his"
    seqs = [each.json()["seq"] for each in answers[:2_000]]
    assert seqs == sorted(seqs), "hers stay in their order"


def test_one_who_fills_the_mailbox_is_refused_and_another_is_not(start: Start) -> None:
    falcon = start(mailbox_bound=400)
    anna, ben = falcon.account("Anna"), falcon.account("Ben")
    room = anna.makes_room("Tea", ben)
    answers = falcon.together(*messages(anna, room, 1_000), *messages(ben, room, 20))
    refused = [each for each in answers[:1_000] if each.status_code == 503]
    assert refused and {each.json()["code"] for each in refused} == {"overloaded"}
    assert all("retry-after" in each.headers for each in refused)
    assert {each.status_code for each in answers[1_000:]} == {201}
    texts = [message["text"] for message in _all_messages(ben, room)]
    accepted = [each.json()["text"] for each in answers if each.status_code == 201]
    assert sorted(texts) == sorted(accepted), "what was refused was not done"


def _all_messages(person: Person, room: Room) -> list[dict[str, str]]:
    found: list[dict[str, str]] = []
    while True:
        page = person.reads(room, after=len(found), limit=200)
        found += page["messages"]
        if not page["has_after"]:
            return found
