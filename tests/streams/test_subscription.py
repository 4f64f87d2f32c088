"""A subscription's frames, over a connection that is sometimes busy: in order, within bounds."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from falcon.streams.frames import Frame, Reason
from falcon.streams.subscription import Subscription

BOUND = 16_384


class FakeSink:
    """A connection. ``full``: what is given to it is gone only when the test says so."""

    def __init__(self) -> None:
        self.full = False
        self.sent: list[str] = []
        self.beats = 0
        self.closed: list[tuple[Reason, str]] = []
        self._waiting: Callable[[], None] | None = None

    def send(self, frame: Frame, sent: Callable[[], None]) -> bool:
        assert self._waiting is None, "one frame at a time"
        self.sent.append(frame.id)
        return self._taken(sent)

    def beat(self, sent: Callable[[], None]) -> bool:
        assert self._waiting is None, "one frame at a time"
        self.beats += 1
        return self._taken(sent)

    def close(self, reason: Reason, id: str) -> None:
        self.closed.append((reason, id))

    def takes_one(self) -> None:
        waiting, self._waiting = self._waiting, None
        assert waiting is not None
        waiting()

    @property
    def busy(self) -> bool:
        return self._waiting is not None

    def _taken(self, sent: Callable[[], None]) -> bool:
        if self.full:
            self._waiting = sent
        return not self.full


@pytest.fixture
def sink() -> FakeSink:
    return FakeSink()


@pytest.fixture
def subscription(sink: FakeSink) -> Subscription:
    return listening(sink)


def listening(sink: FakeSink) -> Subscription:
    return Subscription(1, "hash", None, sink, BOUND)


def frame(id: str, size: int = 10) -> Frame:
    return Frame(id, "message.posted", b"x" * size)


def run(work: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(work, 60))


async def looked_up(*gates: asyncio.Event) -> None:
    """Wait until everything that could happen has happened, the gates' own waiters included."""
    for gate in gates:
        gate.set()
    for _ in range(10):
        await asyncio.sleep(0)


# --- straight on ------------------------------------------------------------------------------------------------------


def test_an_event_goes_straight_to_a_connection_that_is_idle(subscription: Subscription, sink: FakeSink) -> None:
    subscription.push(frame("1"))
    assert (sink.sent, subscription.id, subscription.queued) == (["1"], "1", 0)


def test_what_comes_while_it_is_busy_waits_its_turn(subscription: Subscription, sink: FakeSink) -> None:
    sink.full = True
    for id in "1234":
        subscription.push(frame(id))
    assert sink.sent == ["1"] and subscription.queued > 0
    sink.takes_one()
    assert sink.sent == ["1", "2"]
    sink.full = False
    sink.takes_one()
    assert sink.sent == ["1", "2", "3", "4"] and subscription.queued == 0


@given(st.lists(st.sampled_from(["push", "later", "take", "full", "free"]), max_size=60))
def test_the_order_is_kept_whatever_the_connection_does(steps: list[str]) -> None:
    async def scenario() -> None:
        sink = FakeSink()
        subscription = listening(sink)
        pushed: list[str] = []
        gates: list[asyncio.Event] = []
        for step in steps:
            match step:
                case "push":
                    pushed.append(str(len(pushed)))
                    subscription.push(frame(pushed[-1]))
                case "later":
                    pushed.append(str(len(pushed)))
                    gates.append(asyncio.Event())
                    subscription.push_later(pushed[-1], "room.created", answering(gates[-1]))
                case "take" if sink.busy:
                    sink.takes_one()
                case "full" | "free":
                    sink.full = step == "full"
        sink.full = False
        if sink.busy:
            sink.takes_one()
        await looked_up(*gates)
        for _ in gates:
            await looked_up()
        assert sink.sent == pushed and subscription.queued == 0
        await subscription.drained()

    run(scenario())


def answering(gate: asyncio.Event, data: bytes | None = b"{}") -> "Callable[[], Coroutine[Any, Any, bytes | None]]":
    async def make() -> bytes | None:
        await gate.wait()
        return data

    return make


# --- within bounds ----------------------------------------------------------------------------------------------------


def test_who_reads_too_slowly_is_ended_with_the_id_of_the_last_event_that_was_sent(
    subscription: Subscription, sink: FakeSink
) -> None:
    sink.full = True
    subscription.push(frame("sent"))
    while subscription.open:
        subscription.push(frame("waits", 1_000))
    assert sink.closed == [("slow", "sent")]
    assert sink.sent == ["sent"]


def test_an_event_of_any_size_goes_to_a_connection_that_is_idle(subscription: Subscription, sink: FakeSink) -> None:
    subscription.push(frame("large", BOUND * 4))
    assert subscription.open and sink.sent == ["large"]


def test_it_is_ended_once(subscription: Subscription, sink: FakeSink) -> None:
    subscription.push(frame("1"))
    subscription.end("draining")
    subscription.end("slow")
    assert sink.closed == [("draining", "1")]


def test_what_waits_is_not_sent_once_it_is_ended(subscription: Subscription, sink: FakeSink) -> None:
    sink.full = True
    subscription.push(frame("1"))
    subscription.push(frame("2"))
    subscription.end("draining")
    sink.takes_one()
    assert sink.sent == ["1"]


def test_nothing_is_sent_behind_its_end(subscription: Subscription, sink: FakeSink) -> None:
    """Else a reader that was sent away gets events after the id that it continues from."""
    subscription.push(frame("1"))
    subscription.end("unauthenticated")
    subscription.push(frame("2"))
    assert sink.sent == ["1"]
    assert sink.closed == [("unauthenticated", "1")]


def test_what_has_to_be_looked_up_is_bounded_too(subscription: Subscription, sink: FakeSink) -> None:
    sink.full = True
    subscription.push(frame("1"))

    async def unread() -> bytes | None:
        return b"{}"

    for _ in range(10_000):
        subscription.push_later("2", "read.moved", unread)
    assert not subscription.open


def test_what_is_dropped_does_not_count_as_waiting(subscription: Subscription, sink: FakeSink) -> None:
    sink.full = True
    subscription.push(frame("1"))
    subscription.push(frame("2"))
    subscription.lose()
    assert subscription.queued == 0


# --- what has to be looked up -----------------------------------------------------------------------------------------


def test_what_comes_after_a_look_up_waits_for_it() -> None:
    async def scenario() -> None:
        sink = FakeSink()
        subscription = listening(sink)
        gate = asyncio.Event()
        subscription.push_later("1", "room.created", answering(gate))
        subscription.push(frame("2"))
        await looked_up()
        assert sink.sent == []
        await looked_up(gate)
        assert sink.sent == ["1", "2"]

    run(scenario())


def test_a_look_up_that_finds_nothing_leaves_no_gap_and_no_event() -> None:
    async def scenario() -> None:
        sink = FakeSink()
        subscription = listening(sink)
        gate = asyncio.Event()
        subscription.push_later("1", "room.created", answering(gate, None))
        subscription.push(frame("2"))
        await looked_up(gate)
        assert sink.sent == ["2"]

    run(scenario())


def test_losing_the_connection_cancels_the_look_up() -> None:
    async def scenario() -> None:
        sink = FakeSink()
        subscription = listening(sink)
        cancelled = asyncio.Event()

        async def make() -> bytes | None:
            try:
                await asyncio.Event().wait()
            finally:
                cancelled.set()
            return None

        subscription.push_later("1", "room.created", make)
        await looked_up()
        subscription.lose()
        await cancelled.wait()
        await looked_up()
        assert (sink.sent, sink.closed) == ([], [])
        assert len(asyncio.all_tasks()) <= 2, "nothing is left behind"  # this task, and the one that waits for it

    run(scenario())


def test_whoever_waits_for_the_rest_to_be_sent_is_woken_when_the_connection_is_lost() -> None:
    async def scenario() -> None:
        sink = FakeSink()
        sink.full = True
        subscription = listening(sink)
        subscription.push(frame("1"))
        waiting = asyncio.create_task(subscription.drained())
        await looked_up()
        assert not waiting.done()
        subscription.lose()
        await waiting

    run(scenario())


def test_a_look_up_that_fails_ends_it_so_that_the_event_comes_when_the_client_is_back() -> None:
    async def scenario() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda loop, context: None)
        sink = FakeSink()
        subscription = listening(sink)

        async def make() -> bytes | None:
            raise RuntimeError("the tables are away")

        subscription.push(frame("before"))
        subscription.push_later("1", "room.created", make)
        await looked_up()
        assert sink.closed == [("draining", "before")]

    run(scenario())


# --- beats ------------------------------------------------------------------------------------------------------------


def test_silence_is_broken_and_talk_is_not(subscription: Subscription, sink: FakeSink) -> None:
    subscription.beat()
    assert sink.beats == 1
    subscription.push(frame("1"))
    subscription.beat()
    assert sink.beats == 1, "something was sent since the last time"
    subscription.beat()
    assert sink.beats == 2


def test_a_beat_is_not_sent_into_a_busy_connection_or_a_closed_one(subscription: Subscription, sink: FakeSink) -> None:
    sink.full = True
    subscription.push(frame("1"))
    subscription.beat()
    subscription.beat()
    assert sink.beats == 0
    sink.takes_one()
    subscription.lose()
    subscription.beat()
    assert sink.beats == 0


def test_an_event_that_comes_during_a_beat_waits_for_it(subscription: Subscription, sink: FakeSink) -> None:
    sink.full = True
    subscription.beat()
    subscription.push(frame("1"))
    assert sink.sent == []
    sink.takes_one()
    assert sink.sent == ["1"]
