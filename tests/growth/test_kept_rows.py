"""An edge of a cluster keeps who may read a room until the log has something of the room. All events here are of other
processes."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager
from typing import Any, Final

import pytest

from falcon.adapters.hbase import kept_rows, read_store
from falcon.features.catalogue import Event
from falcon.features.messages.rules import Message, MessageEdited, MessagePosted
from falcon.features.reactions.rules import ReactionAdded
from falcon.features.read_marks.rules import ReadMoved
from falcon.features.rooms.rules import MemberLeft, Membership, RoomCreated
from falcon.features.threads.rules import ThreadChanged, ThreadStarted
from falcon.read.store import ReadStoreUnavailable
from falcon.streams import revocations
from tests.growth.edge import CallFailed, CountedEdge, Site, counted_edge
from tests.growth.log import NOW

PARTITIONS: Final = 64
ANN, BOB = PARTITIONS, PARTITIONS * 2
ROOM, THREAD = PARTITIONS * 1_000, PARTITIONS * 1_001
PAGE, OF_THREAD = f"/v1/rooms/{ROOM}/messages", f"/v1/rooms/{THREAD}/messages"
BOB_LEFT: Final = MemberLeft(ROOM, BOB, "member")


@pytest.fixture(autouse=True)
def calm(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """As in test_growth: what is looked at once a second would be counted."""
    monkeypatch.setattr(read_store, "_GENERATIONS_SECONDS", 3_600.0)
    monkeypatch.setattr(revocations, "_FRESH_SECONDS", 3_600.0)
    logging.disable(logging.WARNING)
    yield
    logging.disable(logging.NOTSET)


class Scene:
    """Ann and Bob have read a room with a message and its thread."""

    def __init__(self, edge: CountedEdge) -> None:
        self.site = edge.site
        self._edge = edge

    async def cost(self, account_id: int, path: str = PAGE) -> int:
        """The calls of HBase for a page."""
        before = self.site.calls
        await self._edge.get(path, account_id)
        return self.site.calls - before

    async def page(self, account_id: int, path: str = PAGE) -> bytes:
        return await self._edge.get(path, account_id)

    async def refusal(self, account_id: int, path: str = PAGE) -> str:
        with pytest.raises(CallFailed) as refused:
            await self.page(account_id, path)
        return str(refused.value)

    async def happens(self, event: Event, *, shown: bool = True) -> None:
        """The edge has read it."""
        happened = self.site.happen([event])
        if shown:
            self.site.show(happened)
        await self.site.log.all_read()


@asynccontextmanager
async def room() -> AsyncIterator[Scene]:
    site = Site(PARTITIONS)
    members = (Membership(ANN, "admin"), Membership(BOB, "member"))
    made: list[Event] = [
        RoomCreated(ROOM, "group", "Tea", "", NOW, members),
        MessagePosted(Message(ROOM, 1, ANN, "Is there tea?", NOW)),
        RoomCreated(THREAD, "thread", "", "", NOW, (), parent=(ROOM, 1)),
        ThreadStarted(ROOM, 1, THREAD, 1),
    ]
    site.show(site.happen([*site.account(ANN), *site.account(BOB), *made]))
    async with counted_edge(site) as edge:
        scene = Scene(edge)
        for account_id in (ANN, BOB):
            for path in (PAGE, OF_THREAD):
                await scene.page(account_id, path)
        yield scene


def plays(scenario: Callable[[Scene], Coroutine[Any, Any, None]]) -> Callable[[], None]:
    async def scene() -> None:
        async with room() as there:
            await scenario(there)

    return lambda: asyncio.run(scene())


@plays
async def test_a_page_that_was_read_takes_no_call_until_its_threads_change(scene: Scene) -> None:
    await scene.happens(MessagePosted(Message(ROOM, 2, BOB, "There is!", NOW)))
    for account_id in (ANN, BOB):
        await scene.page(account_id)
        assert await scene.cost(account_id) == 0
    assert await scene.cost(BOB, OF_THREAD) == 0
    assert b'"last_seq":7' not in await scene.page(ANN)
    await scene.happens(ThreadChanged(ROOM, 1, THREAD, 7, NOW, BOB, (BOB,)))
    assert b'"last_seq":7' in await scene.page(ANN)
    await scene.page(BOB)
    assert await scene.cost(ANN) == await scene.cost(BOB) == 0


@plays
async def test_a_page_of_an_unknown_room_takes_four_calls_with_its_reactions_and_then_none(scene: Scene) -> None:
    other = PARTITIONS * 1_002
    said = [MessagePosted(Message(other, seq, ANN, f"Tea {seq}", NOW)) for seq in range(1, 61)]
    thumbs = ReactionAdded(other, 60, "👍", ANN, NOW, 1, 1, 1, (ANN,))
    made = RoomCreated(other, "group", "Tea", "", NOW, (Membership(ANN, "admin"),))
    scene.site.show(
        scene.site.happen([made, *said, MessageEdited(Message(other, 60, ANN, "Tea!", NOW, NOW), 1), thumbs])
    )
    await scene.site.log.all_read()
    newest = f"/v1/rooms/{other}/messages"
    assert await scene.cost(ANN, newest) == 4
    assert await scene.cost(ANN, newest) == 0
    page = await scene.page(ANN, newest)
    assert page == await scene.page(ANN, f"{newest}?after=10")
    assert page.count(b'"seq"') == 50 and b"Tea!" in page and "👍".encode() in page


@plays
async def test_the_next_message_is_shown_and_costs_who_reads_it_one_look(scene: Scene) -> None:
    await scene.happens(MessagePosted(Message(ROOM, 2, BOB, "There is!", NOW)))
    assert b"There is!" in await scene.page(ANN)
    assert await scene.cost(BOB) == 1, "Bob's membership"
    assert await scene.cost(BOB) == 0


@plays
async def test_a_message_costs_its_first_reader_two_looks_and_other_changes_show_beside_it(scene: Scene) -> None:
    await scene.happens(MessagePosted(Message(ROOM, 2, BOB, "There is!", NOW)))
    threads = 1
    assert await scene.cost(ANN) == 2 + threads, "the room and the page"
    await scene.happens(MessageEdited(Message(ROOM, 1, ANN, "Is there cake?", NOW, NOW), 1))
    await scene.happens(MessagePosted(Message(ROOM, 3, BOB, "And cake", NOW)))
    assert b"Is there cake?" in await scene.page(ANN)


@plays
async def test_one_who_has_read_is_looked_at_again_and_not_the_room(scene: Scene) -> None:
    await scene.happens(ReadMoved(ROOM, ANN, 1, 0, 0))
    assert await scene.cost(ANN) == 1 + 1, "Ann's membership, and the threads"
    assert await scene.cost(BOB) == 1


@plays
async def test_that_others_have_read_changes_nothing(scene: Scene) -> None:
    await scene.happens(ReadMoved(ROOM, BOB, 1, 0, 0))
    assert await scene.cost(ANN) == 1
    assert await scene.cost(BOB) > 1
    for _ in range(60):
        await scene.happens(ReadMoved(ROOM, BOB, 1, 0, 0))
    assert await scene.cost(ANN) > 1, "the log is not searched for longer than a look takes"


@plays
async def test_one_who_was_removed_reads_no_more_as_soon_as_the_tables_are_known_to_show_it(scene: Scene) -> None:
    scene.site.show(scene.site.happen([BOB_LEFT]))  # a read with its position waits for this
    for path in (PAGE, OF_THREAD):
        assert "'status': 404" in await scene.refusal(BOB, path)
    assert b"Is there tea?" in await scene.page(ANN)


@pytest.mark.parametrize("messages", [1, 100])
def test_one_who_was_removed_reads_no_more_however_much_others_have_sent_since(messages: int) -> None:
    async def removed() -> None:
        async with room() as scene:
            await scene.happens(BOB_LEFT)
            for seq in range(2, 2 + messages):
                await scene.happens(MessagePosted(Message(ROOM, seq, ANN, "Between us", NOW)))
            for path in (PAGE, OF_THREAD):
                assert "'status': 404" in await scene.refusal(BOB, path)

    asyncio.run(removed())


@plays
async def test_one_who_was_removed_reads_no_more_while_the_tables_are_away(scene: Scene) -> None:
    def away(name: str, table: str) -> None:
        raise ReadStoreUnavailable("a test has taken the tables away")

    await scene.happens(BOB_LEFT, shown=False)
    scene.site.hbase.before = away
    for path in (PAGE, OF_THREAD):
        assert "'status': 503" in await scene.refusal(BOB, path)


@plays
async def test_what_the_tables_do_not_show_yet_is_not_kept(scene: Scene) -> None:
    left = scene.site.happen([BOB_LEFT])
    await scene.site.log.all_read()
    await scene.page(BOB)
    scene.site.show(left)
    assert "'status': 404" in await scene.refusal(BOB)


@plays
async def test_nothing_is_kept_while_the_log_is_not_followed(scene: Scene) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(revocations, "_FRESH_SECONDS", 0.0)
        assert await scene.cost(ANN) > 1


@pytest.mark.parametrize(
    ("module", "bound"), [(kept_rows, "_SECONDS"), (read_store, "ROWS_MAX"), (read_store, "_ITEM_LISTS_MAX")]
)
def test_rows_are_kept_for_a_minute_and_so_many(monkeypatch: pytest.MonkeyPatch, module: Any, bound: str) -> None:
    """`falcon verify --repair` changes rows without an event."""
    monkeypatch.setattr(module, bound, 0)

    async def reads_twice() -> list[int]:
        async with room() as scene:
            await scene.happens(MessagePosted(Message(ROOM, 2, BOB, "There is!", NOW)))
            return [await scene.cost(ANN) for _ in range(2)]

    assert min(asyncio.run(reads_twice())) > 0
