"""The mailbox in front of a shard: batches, bounds, deadlines and fair shares.

In simulated time: a batch that is away for 50 ms is a slow one, and a busy machine stops a test for longer.
"""

import asyncio
import time
from collections.abc import Callable

import msgspec

from falcon.features.messages.rules import PostMessage
from falcon.telemetry import metrics
from falcon.write.batching import SLOW_SECONDS
from falcon.write.mailbox import Mailbox
from falcon.write.protocol import (
    BatchReply,
    CommandBatch,
    CommandEnvelope,
    Unavailable,
)
from tools.harness.waiting import eventually
from tools.simulation.threads import Simulation

DONE = Unavailable("not_mine")


def envelope(text: str = "hello", seconds: float = 5.0, size: int = 100, by: int = 1) -> CommandEnvelope:
    return CommandEnvelope(0, by, PostMessage(by, 64, text), time.monotonic() + seconds, size=size)


def senders(batch: CommandBatch) -> list[int]:
    return [command.account_id for command in batch.commands]


def texts(batch: CommandBatch) -> list[str]:
    return [command.command.text for command in batch.commands]  # type: ignore[union-attr]


def answer(batch: CommandBatch) -> BatchReply:
    return BatchReply(batch.number, [(i, DONE) for i in range(len(batch.commands))])


class Shard:
    """Takes batches, and answers when the test says so."""

    def __init__(self, bound: int = 100, batches_away: int = 1, *, near: bool = False) -> None:
        self.batches: list[CommandBatch] = []
        self.mailbox = Mailbox("test", self.batches.append, bound, batches_away, near=near)

    def answer(self) -> None:
        self.mailbox.replied(answer(self.batches[-1]))

    async def sent(self, batches: int) -> None:
        """Wait until so many have come."""
        await eventually(lambda: len(self.batches) >= batches)


def bound() -> float:
    """The bound that the metric shows."""
    return metrics.mailbox_bound.labels("test").value


async def turn() -> None:
    """Let what is ready run."""
    for _ in range(3):
        await asyncio.sleep(0)


def in_loop(test: Callable[[], "asyncio.Future[None] | object"]) -> Callable[[], None]:
    def run() -> None:
        Simulation().run(lambda: asyncio.run(test()))  # type: ignore[arg-type]

    run.__name__ = test.__name__
    return run


@in_loop
async def test_a_lone_command_goes_at_once() -> None:
    shard = Shard()
    reply = shard.mailbox.ask(envelope())
    await turn()
    assert len(shard.batches) == 1
    shard.answer()
    assert await reply == DONE


@in_loop
async def test_what_queues_up_while_a_batch_is_away_is_the_next_batch() -> None:
    shard = Shard()
    shard.mailbox.ask(envelope("first"))
    await turn()
    for i in range(7):
        shard.mailbox.ask(envelope(f"{i}"))
    await turn()
    assert [len(batch.commands) for batch in shard.batches] == [1]
    shard.answer()
    await turn()
    assert [len(batch.commands) for batch in shard.batches] == [1, 7]


@in_loop
async def test_the_next_batch_goes_once_most_of_the_last_is_back() -> None:
    shard = Shard()
    replies = [shard.mailbox.ask(envelope(str(n))) for n in range(8)]
    await turn()
    replies.append(shard.mailbox.ask(envelope("next")))
    shard.mailbox.replied(BatchReply(1, [(index, DONE) for index in range(5)]))
    await turn()
    assert len(shard.batches) == 1
    shard.mailbox.replied(BatchReply(1, [(5, DONE)]))
    await turn()
    assert [command.command.text for command in shard.batches[1].commands] == ["next"]  # type: ignore[union-attr]
    shard.answer()
    shard.mailbox.replied(BatchReply(1, [(6, DONE), (7, DONE)]))
    assert await asyncio.gather(*replies) == [DONE] * 9
    assert not shard.mailbox.busy


@in_loop
async def test_with_many_batches_away_only_time_lets_the_next_one_go() -> None:
    shard = Shard()
    while len(shard.batches) < 17:
        for n in range(4):
            shard.mailbox.ask(envelope(f"{n}"))
        await turn()
        shard.mailbox.replied(BatchReply(len(shard.batches), [(index, DONE) for index in range(3)]))
    shard.mailbox.ask(envelope("next"))
    await turn()
    assert len(shard.batches) == 17
    await shard.sent(18)


@in_loop
async def test_a_large_batch_does_not_wait_for_another() -> None:
    shard = Shard(batches_away=2)
    shard.mailbox.ask(envelope("first"))
    await turn()
    for n in range(31):
        shard.mailbox.ask(envelope(f"{n}"))
    await turn()
    assert len(shard.batches) == 1
    shard.mailbox.ask(envelope("32nd"))
    await turn()
    assert [len(batch.commands) for batch in shard.batches] == [1, 32]
    for n in range(64):
        shard.mailbox.ask(envelope(f"{n}"))
    await turn()
    assert len(shard.batches) == 2


@in_loop
async def test_a_batch_that_is_away_for_long_does_not_hold_up_the_next() -> None:
    shard = Shard()
    shard.mailbox.ask(envelope("slow"))
    await turn()
    shard.mailbox.ask(envelope("next"))
    await shard.sent(2)


@in_loop
async def test_a_batch_that_came_back_in_time_is_not_passed_over_once_more_when_its_time_is_over() -> None:
    shard = Shard()
    shard.mailbox.ask(envelope("quick"))
    await turn()
    shard.answer()
    await asyncio.sleep(2 * SLOW_SECONDS)
    shard.mailbox.ask(envelope("next"))
    await turn()
    assert len(shard.batches) == 2
    shard.mailbox.ask(envelope("waits for it"))
    await turn()
    assert len(shard.batches) == 2


@in_loop
async def test_past_the_bound_a_command_is_refused_at_once() -> None:
    shard = Shard(bound=3)
    for _ in range(3):
        shard.mailbox.ask(envelope())
    refused = shard.mailbox.ask(envelope())
    assert refused.result() == Unavailable("overloaded")
    await turn()
    shard.answer()
    assert not shard.mailbox.ask(envelope()).done()


@in_loop
async def test_what_has_come_in_one_turn_is_expected_before_it_asks() -> None:
    shard = Shard(bound=3)
    shard.mailbox.ask(envelope())
    assert [shard.mailbox.expects() for _ in range(3)] == [True, True, False]
    await turn()  # none of them asked: they were no commands after all
    assert shard.mailbox.expects()


@in_loop
async def test_what_was_expected_in_an_earlier_turn_does_not_count_any_more() -> None:
    shard = Shard(bound=3)
    for _ in range(5):
        assert [shard.mailbox.expects() for _ in range(2)] == [True, True]
        await turn()


@in_loop
async def test_a_burst_finds_all_the_room_there_is() -> None:
    shard = Shard(bound=2_000, near=True)
    assert not any(shard.mailbox.ask(envelope()).done() for _ in range(2_000))


@in_loop
async def test_a_near_mailbox_that_was_full_takes_no_more_than_a_batch_until_it_is_nearly_empty() -> None:
    shard = Shard(bound=600, near=True)
    assert bound() == 600
    for _ in range(601):
        shard.mailbox.ask(envelope())
    await turn()
    shard.answer()
    await turn()  # a batch is done, a batch is away, and some wait
    assert [len(batch.commands) for batch in shard.batches] == [256, 256]
    shard.answer()
    taken = 0
    while not shard.mailbox.ask(envelope()).done():
        taken += 1
    assert taken < 256 + 1
    assert bound() == 512, "what may be queued, and what may be away"
    while shard.mailbox.busy:
        await turn()
        shard.answer()
    shard.mailbox.ask(envelope())
    await turn()
    assert not any(shard.mailbox.ask(envelope()).done() for _ in range(500))


@in_loop
async def test_big_commands_go_in_small_batches() -> None:
    shard = Shard()
    for _ in range(20):
        shard.mailbox.ask(envelope(size=100_000))
    await turn()
    assert len(shard.batches[0].commands) < 20


@in_loop
async def test_a_batch_that_is_given_up_is_of_unknown_outcome() -> None:
    shard = Shard()
    reply = shard.mailbox.ask(envelope())
    await turn()
    shard.mailbox.give_up(shard.batches[0].number)
    assert (await reply) == Unavailable("outcome_unknown", 0.2)
    shard.answer()  # comes too late and does no harm


@in_loop
async def test_nobody_waits_past_the_deadline() -> None:
    shard = Shard()
    away, queued = shard.mailbox.ask(envelope(seconds=0.05)), None
    await turn()
    queued = shard.mailbox.ask(envelope(seconds=0.02))
    replies = await asyncio.wait_for(asyncio.gather(away, queued), 60)
    assert [reply.reason for reply in replies if isinstance(reply, Unavailable)] == ["outcome_unknown", "expired"]


@in_loop
async def test_nobody_waits_past_the_deadline_in_a_queue_that_does_not_move() -> None:
    shard = Shard()
    shard.mailbox.ask(envelope(seconds=60))
    await turn()
    shard.mailbox._batching.may_go = lambda queued: False  # type: ignore[method-assign]  # whatever comes back
    queued = [shard.mailbox.ask(envelope(seconds=seconds)) for seconds in (0.01, 0.02, 60)]
    replies = await asyncio.wait_for(asyncio.gather(*queued[:2]), 60)
    assert replies == [Unavailable("expired")] * 2
    assert not queued[2].done()
    assert len(shard.batches) == 1


@in_loop
async def test_a_caller_that_gave_up_leaves_room_for_others() -> None:
    shard = Shard(bound=1)
    shard.mailbox.ask(envelope()).cancel()
    await turn()
    assert shard.batches == []
    assert not shard.mailbox.ask(envelope()).done()


@in_loop
async def test_what_waits_for_a_shard_that_lost_the_partition_is_let_go_and_what_came_later_is_not() -> None:
    shard = Shard()
    away = shard.mailbox.ask(envelope("away"))
    await turn()
    queued = shard.mailbox.ask(envelope("queued"))
    elsewhere = shard.mailbox.ask(msgspec.structs.replace(envelope("of another partition"), partition=1))
    since = time.monotonic()
    later = shard.mailbox.ask(envelope("later"))
    shard.mailbox.disown(0, since)
    assert await away == Unavailable("outcome_unknown", 0.2)
    assert await queued == Unavailable("not_mine")
    await turn()
    texts = [command.command.text for command in shard.batches[1].commands]  # type: ignore[union-attr]
    assert texts == ["of another partition", "later"]
    shard.mailbox.replied(answer(shard.batches[0]))  # it answers after all: no caller waits
    shard.answer()
    assert [await elsewhere, await later] == [DONE, DONE]
    assert not shard.mailbox.busy


# --- fair shares ------------------------------------------------------------------------------------------------------

ANN, BEN, CLEO = 1, 2, 3


@in_loop
async def test_who_sends_two_thousand_waits_for_himself_alone() -> None:
    shard = Shard(bound=4_000)
    flood = [shard.mailbox.ask(envelope(f"{i}", by=ANN)) for i in range(2_000)]
    await turn()
    other = shard.mailbox.ask(envelope("hello", by=BEN))
    shard.answer()
    await turn()
    assert BEN in senders(shard.batches[1])
    shard.answer()
    assert (await other) == DONE
    assert sum(reply.done() for reply in flood) <= 512


@in_loop
async def test_accounts_are_served_in_turn_and_each_in_its_own_order() -> None:
    shard = Shard()
    shard.mailbox.ask(envelope("away", by=CLEO))
    await turn()
    for by, texts_of in ((ANN, "abcd"), (BEN, "xy"), (CLEO, "1")):
        for text in texts_of:
            shard.mailbox.ask(envelope(text, by=by))
    shard.answer()
    await turn()
    assert texts(shard.batches[1]) == ["a", "x", "1", "b", "y", "c", "d"]


@in_loop
async def test_a_turn_that_a_batch_was_too_small_for_is_the_first_of_the_next_one() -> None:
    shard = Shard()
    for by in (ANN, ANN, ANN, BEN, CLEO, BEN):
        shard.mailbox.ask(envelope(by=by, size=300_000))
    await turn()
    for _ in range(2):
        shard.answer()
        await turn()
    assert [senders(batch) for batch in shard.batches] == [[ANN, BEN], [CLEO, ANN], [BEN, ANN]]


@in_loop
async def test_in_a_full_mailbox_who_filled_it_is_refused_and_not_the_others() -> None:
    shard = Shard(bound=100)
    flood = [shard.mailbox.ask(envelope(f"{i}", by=ANN)) for i in range(100)]
    others = [shard.mailbox.ask(envelope(by=account_id)) for account_id in range(10, 40)]
    assert not any(reply.done() for reply in others)
    assert [reply.result() for reply in flood[70:]] == [Unavailable("overloaded")] * 30, "the newest ones"
    assert not any(reply.done() for reply in flood[:70])
    assert shard.mailbox.ask(envelope(by=ANN)).result() == Unavailable("overloaded")
    await turn()
    shard.answer()
    assert await asyncio.gather(*others, *flood[:70]) == [DONE] * 100
    assert not shard.mailbox.busy


@in_loop
async def test_one_that_comes_into_a_full_mailbox_takes_one_place() -> None:
    shard = Shard(bound=2_000, near=True)
    flood = [shard.mailbox.ask(envelope(f"{i}", by=ANN)) for i in range(2_000)]
    other = shard.mailbox.ask(envelope(by=BEN))
    assert not other.done()
    assert sum(reply.done() for reply in flood) == 1


@in_loop
async def test_of_many_who_fill_a_mailbox_together_none_is_refused_for_another_of_them() -> None:
    shard = Shard(bound=30)
    replies = [shard.mailbox.ask(envelope(by=account_id)) for account_id in (ANN, BEN, CLEO) for _ in range(10)]
    for by in (ANN, BEN, CLEO):
        assert shard.mailbox.ask(envelope(by=by)).result() == Unavailable("overloaded")
    assert not any(reply.done() for reply in replies)


@in_loop
async def test_what_is_on_its_way_already_makes_no_room() -> None:
    shard = Shard(bound=3)
    away = [shard.mailbox.ask(envelope(by=ANN)) for _ in range(3)]
    await turn()
    assert shard.mailbox.ask(envelope(by=BEN)).result() == Unavailable("overloaded")
    shard.answer()
    assert await asyncio.gather(*away) == [DONE] * 3


@in_loop
async def test_large_commands_make_room_for_no_more_bytes_than_a_mailbox_may_hold() -> None:
    shard = Shard(bound=2_000)
    shard.mailbox._batching.may_go = lambda queued: False  # type: ignore[method-assign]
    small = [shard.mailbox.ask(envelope(by=ANN, size=100)) for _ in range(100)]
    while not (refused := shard.mailbox.ask(envelope(by=BEN, size=500_000))).done():
        pass
    assert refused.result() == Unavailable("overloaded")
    assert shard.mailbox.capacity.bytes < (64 << 20) + 500_000
    assert not any(reply.done() for reply in small[:-1]), "they make no room for so large a one"


@in_loop
async def test_the_oldest_is_measured_whosever_it_is() -> None:
    shard = Shard()
    shard.mailbox._batching.may_go = lambda queued: False  # type: ignore[method-assign]
    began = time.monotonic()
    shard.mailbox.ask(envelope(by=ANN))
    shard.mailbox.ask(envelope(by=BEN))
    oldest = metrics.mailbox_oldest.labels("test").value
    assert 0 < oldest <= time.monotonic() - began
