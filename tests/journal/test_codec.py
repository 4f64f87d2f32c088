import re
from typing import Final

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from falcon.domain.events import PassedOver
from falcon.domain.rejections import NotYetReadable, Rejection
from falcon.features.catalogue import Answer, Event
from falcon.features.messages.rules import MessageEdited, MessagePosted
from falcon.journal import codec
from falcon.journal.codec import Undecodable
from falcon.journal.envelope import CommandRef, Envelope, Recorded, UnknownAnswer
from falcon.journal.record import Record
from tests.support.builders import AWKWARD_TEXTS, ROOM, a_message, anything, in_the_log, posted, tried

PARTITION: Final = 7
OFFSET: Final = 4_711
WHERE: Final = f"partition {PARTITION}, offset {OFFSET}: "
RECORD: Final = codec.encode(in_the_log(posted(1, text="Who wants tea?")))
DATA: Final = RECORD.data

commands = st.builds(
    CommandRef, anything(int), st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E)), st.integers(0, 2**64 - 1)
)
# The log remembers no refusal that rests on a view.
answers = (
    st.none() | anything(Answer) | anything(Rejection).filter(lambda refusal: not isinstance(refusal, NotYetReadable))
)
envelopes = st.builds(
    Envelope,
    st.integers(0, 4_095),
    st.integers(0, 2**31),
    st.integers(0, 2**53),
    st.integers(0, 2**53),
    anything(Event).filter(lambda event: not isinstance(event, PassedOver)),
    st.none() | commands,
    answers,
)


def decode(record: Record) -> Recorded:
    return codec.decode(record, PARTITION, OFFSET, 1, 0)


def decode_data(data: bytes) -> Recorded:
    return decode(msgspec.structs.replace(RECORD, data=data))


@tried(400)
@given(envelopes, st.integers(0, 2**62))
def test_what_is_written_is_what_is_read(envelope: Envelope, offset: int) -> None:
    record = codec.encode(envelope)
    recorded = codec.decode(record, envelope.partition, offset, envelope.epoch, envelope.n)
    assert recorded == Recorded(offset, envelope)
    assert codec.encode(recorded.envelope) == record


def test_the_log_itself_knows_where_a_record_stands() -> None:
    recorded = codec.decode(RECORD, 3, 99, 5, 8)
    assert recorded.offset == 99
    assert (recorded.envelope.partition, recorded.envelope.epoch, recorded.envelope.n) == (3, 5, 8)


@pytest.mark.parametrize("text", AWKWARD_TEXTS, ids=ascii)
def test_a_text_in_the_log_is_kept_byte_for_byte(text: str) -> None:
    for written in (MessagePosted(a_message(1, text=text)), MessageEdited(a_message(1, text=text), 1)):
        read = decode(codec.encode(in_the_log(written))).envelope.event
        assert isinstance(read, MessagePosted | MessageEdited)
        assert read.message.text.encode() == text.encode()


def test_a_record_is_one_line_so_that_tools_can_show_it() -> None:
    assert b"\n" not in codec.encode(in_the_log(posted(1, text="two\nlines\r\n"))).data


# --- what does not decode ---------------------------------------------------------------------------------------------


def test_an_event_of_a_newer_falcon_is_named_with_its_place_and_what_to_do() -> None:
    with pytest.raises(Undecodable, match=re.escape(WHERE)) as error:
        decode(Record("room-painted", 1, True, ROOM, b'{"at":1,"event":{"colour":"blue"}}'))
    assert "room-painted, version 1," in str(error.value)
    assert "written by a newer Falcon, so run that" in str(error.value)
    assert error.value.aggregate_id == ROOM


def test_a_newer_version_of_a_known_event_is_not_guessed_at() -> None:
    for version in (0, 2, 99):
        with pytest.raises(Undecodable, match=re.escape(WHERE)) as error:
            decode(msgspec.structs.replace(RECORD, version=version))
        assert f"message-posted, version {version}," in str(error.value)


def test_an_event_of_a_newer_falcon_that_is_not_critical_is_passed_over() -> None:
    """Its command is remembered all the same, so that its key is not used for another one."""
    data = (
        b'{"at":7,"by":65,"event":{"colour":"blue"},"command":{"account_id":65,"key":"k","fingerprint":9},'
        b'"answer":{"type":"paint-answer.v1","litres":3},"trace":"t"}'
    )
    envelope = decode(Record("room-painted", 2, False, ROOM, data)).envelope
    assert envelope.event == PassedOver("room-painted", 2)
    assert (envelope.at, envelope.by, envelope.trace) == (7, 65, "t")
    assert envelope.command == CommandRef(65, "k", 9)
    assert envelope.answer == UnknownAnswer("paint-answer.v1")


def test_what_is_not_critical_must_still_be_a_record() -> None:
    with pytest.raises(Undecodable, match="does not decode"):
        decode(Record("room-painted", 1, False, ROOM, b'{"event":{}}'))


def test_an_answer_of_a_newer_falcon_leaves_its_event_readable() -> None:
    recorded = decode_data(DATA.replace(b'"event":{', b'"answer":{"type":"message-answer.v2","x":1},"event":{'))
    assert isinstance(recorded.envelope.event, MessagePosted)
    assert recorded.envelope.answer == UnknownAnswer("message-answer.v2")


def test_a_record_that_does_not_say_what_it_is_was_not_written_by_falcon() -> None:
    with pytest.raises(Undecodable, match="does not say what it is"):
        decode(Record("", 0, True, 0, DATA))


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"null",
        b"[]",
        b"{}",
        b"\0" * 64,
        b"\xff\xfe",
        b"not JSON at all",
        DATA + b"}",
        DATA.replace(b'"at":', b'"when":'),
        DATA.replace(b'"seq":1', b'"seq":"first"'),
        DATA.replace(b'"seq":1,', b""),
        DATA.replace(b"Who", b"\\ud800"),
        DATA.replace(b'"event":{', b'"answer":{"litres":3},"event":{'),
    ],
    ids=lambda data: repr(data[:12]) if len(data) < 20 else None,
)
def test_garbage_is_named_with_its_place(data: bytes) -> None:
    with pytest.raises(Undecodable, match=re.escape(WHERE)):
        decode_data(data)


@pytest.mark.parametrize("length", range(len(DATA)))
def test_half_a_record_is_no_record(length: int) -> None:
    with pytest.raises(Undecodable, match=re.escape(WHERE)):
        decode_data(DATA[:length])


def test_a_flipped_bit_in_a_text_is_named_with_its_place() -> None:
    with pytest.raises(Undecodable, match=re.escape(WHERE)):
        decode_data(DATA.replace(b"tea", b"\xffea"))


def test_brackets_without_end_are_named_with_their_place() -> None:
    with pytest.raises(Undecodable, match=re.escape(WHERE)):
        decode_data(b'{"at":1,"event":' + b"[" * 5_000)


@tried(300)
@given(st.integers(0, len(DATA) - 1), st.integers(0x20, 0x7E))
def test_a_record_with_a_wrong_character_decodes_or_says_where_it_is(at: int, character: int) -> None:
    spoilt = DATA[:at] + bytes([character]) + DATA[at + 1 :]
    try:
        decode_data(spoilt)
    except Undecodable as error:
        assert str(error).startswith(WHERE)
