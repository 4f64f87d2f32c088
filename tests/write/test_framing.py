"""Frames come as they were sent, or the connection ends."""

import pytest

from falcon.write.framing import (
    FRAME_BYTES_MAX,
    HELLO_BYTES,
    Channel,
    WrongFrame,
    accept,
    answer,
    new_challenge,
)

KEY, OTHER = b"an internal key of a test", b"another internal key"


def connected() -> tuple[Channel, Channel]:
    """The edge's end and the owner's."""
    challenge = new_challenge()
    edge, hello = answer(challenge, KEY)
    assert len(hello) == HELLO_BYTES
    return edge, accept(challenge, hello, [OTHER, KEY])


def test_frames_are_put_together_from_whatever_pieces_come() -> None:
    contents = [b"", b"hello", b"", b"x" * 500]
    for size in range(1, 600, 7):
        edge, owner = connected()
        data = b"".join(map(edge.writer.frame, contents))
        pieces = [data[at : at + size] for at in range(0, len(data), size)]
        assert [content for piece in pieces for content in owner.reader.read(piece)] == contents


def test_each_end_knows_the_other_by_its_key() -> None:
    edge, owner = connected()
    assert owner.internal_key == edge.internal_key == KEY
    assert [*edge.reader.read(owner.writer.frame(b"done"))] == [b"done"]
    challenge = new_challenge()
    _, hello = answer(challenge, OTHER)
    with pytest.raises(WrongFrame):
        accept(challenge, hello, [KEY])


def test_a_hello_is_good_for_one_challenge() -> None:
    challenge = new_challenge()
    _, hello = answer(challenge, KEY)
    accept(challenge, hello, [KEY])
    with pytest.raises(WrongFrame):
        accept(new_challenge(), hello, [KEY])


@pytest.mark.parametrize("broken", ["changed", "repeated", "left out", "turned back", "of another connection"])
def test_a_frame_is_taken_once_in_its_place_as_it_was_sent(broken: str) -> None:
    edge, owner = connected()
    first, second = edge.writer.frame(b"first"), edge.writer.frame(b"second")
    sent = {
        "changed": [first[:-1] + b"T"],
        "repeated": [first, first],
        "left out": [second],
        "turned back": [owner.writer.frame(b"first")],
        "of another connection": [connected()[0].writer.frame(b"first")],
    }[broken]
    with pytest.raises(WrongFrame):
        for data in sent:
            list(owner.reader.read(data))


def test_a_frame_has_a_bound_that_is_known_before_it_is_read() -> None:
    _, owner = connected()
    with pytest.raises(WrongFrame, match=str(FRAME_BYTES_MAX)):
        list(owner.reader.read((FRAME_BYTES_MAX + 1).to_bytes(4) + bytes(16)))
