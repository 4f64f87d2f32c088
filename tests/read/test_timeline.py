import msgspec
import pytest

from tests.projections.embedded import Embedded, asked
from tests.support.builders import (
    ANN,
    AWKWARD_TEXTS,
    ROOM,
    a_group,
    a_message,
    deleted,
    edited,
    posted,
)

JSON = (
    b'{"room_id":321,"seq":1,"author_id":65,"text":"Who wants tea?","posted_at":"2026-11-25T09:30:00.123Z",'
    b'"edited_at":null,"deleted":false,"reply_to":null,"mentions":[]}'
)


@pytest.mark.parametrize("text", AWKWARD_TEXTS, ids=ascii)
def test_a_text_is_read_as_it_was_posted_byte_for_byte(falcon: Embedded, text: str) -> None:
    falcon.append(a_group(), posted(1, text=text))
    read = asked(falcon.store.message(ROOM, 1))
    assert read is not None
    assert msgspec.json.decode(read)["text"].encode() == text.encode()


def test_a_page_has_the_messages_from_one_seq_to_another(falcon: Embedded) -> None:
    falcon.append(a_group(), *(posted(seq) for seq in range(1, 11)))
    page = asked(falcon.store.page(ROOM, 3, 6)).messages
    assert [msgspec.json.decode(message)["seq"] for message in page] == [3, 4, 5, 6]
    assert asked(falcon.store.page(ROOM, 11, 20)).messages == []


def test_a_message_comes_with_a_revision_that_it_is_not_older_than(falcon: Embedded) -> None:
    falcon.append(a_group(), posted(1), posted(2))
    assert asked(falcon.store.message_at(ROOM, 1)) == (JSON, 0)
    falcon.append(edited(a_message(2), 1), deleted(a_message(2), 2))
    assert asked(falcon.store.message_at(ROOM, 1)) == (JSON, 2)
    access = asked(falcon.store.access(ROOM, ANN))
    assert access is not None
    assert access.version == 2


def test_rooms_do_not_mix(falcon: Embedded) -> None:
    falcon.append(*(a_group(room) for room in (64, 65)))
    falcon.append(*(posted(1, room_id=room, text=f"in {room}") for room in (64, 65)))
    assert [msgspec.json.decode(m)["text"] for m in asked(falcon.store.page(64, 1, 200)).messages] == ["in 64"]
    assert [msgspec.json.decode(m)["text"] for m in asked(falcon.store.page(65, 1, 200)).messages] == ["in 65"]


@pytest.mark.parametrize("seq", [(1 << 32) + 1, (3 << 32) + 1])
def test_no_seq_however_large_shows_a_message_of_another_room(falcon: Embedded, seq: int) -> None:
    falcon.append(a_group(64), a_group(65), a_group(67))
    falcon.append(posted(1, room_id=65, text="a secret"), posted(1, room_id=67, text="a secret"))
    assert asked(falcon.store.message(64, seq)) is None
    assert asked(falcon.store.message_at(64, seq)) == (None, 0)
    assert asked(falcon.store.page(64, seq, seq)).messages == []
