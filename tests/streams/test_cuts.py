"""A process knows the cuts that others write, finds the ones that tokens name, and writes one when its tokens grow."""

import asyncio
from collections.abc import Callable, Coroutine, Iterator
from typing import Any, Final

import pytest

from falcon.journal.ports import JournalUnavailable
from falcon.streams import cuts
from falcon.streams.cuts import Cut, Cuts, Record
from tests.contracts.cuts import CutStoreContract
from tools.harness.memory.cuts import KeptCuts, MemoryCuts
from tools.harness.waiting import eventually

SEGMENTS: Final = 64


class TestMemoryCuts(CutStoreContract):
    @pytest.fixture
    def make(self) -> Callable[[], MemoryCuts]:
        kept = KeptCuts()
        return lambda: MemoryCuts(kept)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cuts, "_APART_SECONDS", 0.0)
    monkeypatch.setattr(cuts, "_OTHERS_SECONDS", (0.01, 0.02))
    monkeypatch.setattr(cuts, "_RETRY_SECONDS", 0.01)


class Process:
    """``offsets``: where it has read to."""

    def __init__(self, kept: KeptCuts) -> None:
        self.store = MemoryCuts(kept)
        self.cuts = Cuts(self.store, SEGMENTS)
        self.offsets = dict.fromkeys(range(SEGMENTS), 0)
        self.cuts.start()

    async def writes(self) -> Cut:
        """A cut of where it has read to."""
        before = self.cuts.newest
        await eventually(lambda: not self.cuts.writes)
        self.cuts.propose(lambda: self.offsets)
        await eventually(lambda: self.cuts.newest > before)
        cut = self.cuts.newest_cut()
        assert cut is not None
        return cut

    def moves(self, by: int) -> None:
        for segment in self.offsets:
            self.offsets[segment] += by * (1 + segment % 3)


def play(scenario: Callable[[KeptCuts], Coroutine[Any, Any, None]]) -> None:
    async def played() -> None:
        async with asyncio.timeout(60):
            await scenario(KeptCuts())
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()

    asyncio.run(played())


def said(cut: Cut | None) -> dict[int, int]:
    assert cut is not None
    return dict(enumerate(cut.offsets))


def test_each_process_finds_each_cut() -> None:
    async def scenario(kept: KeptCuts) -> None:
        one, other = Process(kept), Process(kept)
        written: list[Cut] = []
        for by in range(1, 80):
            one.moves(by * by)
            written.append(await one.writes())
            assert said(written[-1]) == one.offsets
        assert len({len(data) > 150 for data in kept.cuts}) == 2, "some are whole and some are not"
        new = Process(kept)
        for cut in written:
            assert await other.cuts.look_up(cut.number) == await new.cuts.look_up(cut.number) == cut
        assert await new.cuts.look_up(len(written)) is None

    play(scenario)


def test_a_cut_that_is_not_in_memory_any_more_is_read_once_for_all_who_come_with_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(cuts, "KEPT_MAX", 5)

    async def scenario(kept: KeptCuts) -> None:
        process = Process(kept)
        written: list[Cut] = []
        for _ in range(30):
            process.moves(10)
            written.append(await process.writes())
        assert process.store.reads == 0
        found = await asyncio.gather(*(process.cuts.look_up(written[3].number) for _ in range(100)))
        assert found == [written[3]] * 100
        assert process.store.reads <= 2, "the cut, and the whole one that it builds on"

    play(scenario)


def test_clients_that_name_old_cuts_push_no_new_ones_out_of_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cuts, "KEPT_MAX", 5)
    monkeypatch.setattr(cuts, "_LOOKED_UP_MAX", 3)
    monkeypatch.setattr(cuts, "_BASES", 2)

    async def scenario(kept: KeptCuts) -> None:
        process = Process(kept)
        written: list[Cut] = []
        for _ in range(30):
            process.moves(1_000_000 * len(written))  # far apart, so that each is whole
            written.append(await process.writes())
        for old in written[:20]:
            assert await process.cuts.look_up(old.number) == old
        reads = process.store.reads
        assert [await process.cuts.look_up(cut.number) for cut in written[-5:]] == written[-5:]
        assert process.store.reads == reads, "the newest are in memory"

    play(scenario)


def test_the_same_differences_to_another_cut_are_another_cut() -> None:
    async def read_in(kept: KeptCuts, begin: int) -> tuple[Cut, bytes]:
        process = Process(kept)
        process.moves(begin)
        await process.writes()
        process.moves(1)
        return await process.writes(), kept.cuts[1]

    async def scenario(kept: KeptCuts) -> None:
        (one, differences), (other, same) = await read_in(kept, 10**6), await read_in(KeptCuts(), 2 * 10**6)
        assert differences == same
        assert said(one) != said(other)
        assert one.check != other.check

    play(scenario)


def test_the_nearest_of_the_newest_cuts_is_taken() -> None:
    async def scenario(kept: KeptCuts) -> None:
        process, late = Process(kept), Process(kept)
        for _ in range(4):
            process.moves(100)
            await process.writes()
            if len(kept.cuts) == 2:
                late.offsets = {segment: offset + 3 for segment, offset in process.offsets.items()}
        await eventually(lambda: late.cuts.newest == 3)
        assert late.cuts.nearest(late.offsets) == await late.cuts.look_up(1)
        assert late.cuts.newest_before(late.offsets, dict.fromkeys(range(SEGMENTS), 0)) == await late.cuts.look_up(1)
        assert late.cuts.newest_before(late.offsets, late.offsets) is None
        assert late.cuts.newest_cut() == await late.cuts.look_up(3)

    play(scenario)


def test_a_cut_of_another_process_makes_ones_own_unnecessary(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cuts, "_OTHERS_SECONDS", (0.2, 0.3))

    async def scenario(kept: KeptCuts) -> None:
        processes = [Process(kept) for _ in range(20)]
        first = processes[0]
        await first.writes()
        await eventually(lambda: all(process.cuts.newest == 0 for process in processes))
        for number in range(1, 6):
            for process in processes:
                process.moves(10)
                process.cuts.propose(lambda process=process, number=number: _needed(process, number), number - 1)  # type: ignore[misc]
            await eventually(lambda: not any(process.cuts.writes for process in processes))
        assert len(kept.cuts) == 6, "the one that has written the newest one writes the next one"

    play(scenario)


def _needed(process: Process, number: int) -> dict[int, int] | None:
    return process.offsets if process.cuts.newest < number else None


def test_when_the_process_that_wrote_the_cuts_has_ended_another_writes_them() -> None:
    async def scenario(kept: KeptCuts) -> None:
        first, second = Process(kept), Process(kept)
        await first.writes()
        await first.cuts.stop()
        second.moves(10)
        assert said(await second.writes()) == second.offsets

    play(scenario)


def test_a_cut_that_cannot_be_written_is_written_later(caplog: pytest.LogCaptureFixture) -> None:
    async def scenario(kept: KeptCuts) -> None:
        process = Process(kept)
        kept.away = True
        process.cuts.propose(lambda: process.offsets)
        await eventually(lambda: "tokens grow, since no cut can be written" in caplog.text)
        with pytest.raises(JournalUnavailable):
            await process.cuts.look_up(0)
        kept.away = False
        await process.writes()

    play(scenario)


@pytest.fixture(
    params=[b"", b"hello", b"\x00\x01", b"\x01\xff", b"\x01\x00", b"\x01\x00\xff\x00", b"\x00" * 65 + b"\xff"]
)
def strange(request: pytest.FixtureRequest) -> Iterator[bytes]:
    yield request.param


def test_what_is_not_as_falcon_writes_it_is_no_cut(strange: bytes) -> None:
    async def scenario(kept: KeptCuts) -> None:
        process = Process(kept)
        whole = await process.writes()
        await process.store.write(strange)
        await eventually(lambda: process.cuts.newest == 1)
        assert process.cuts.newest_cut() == process.cuts.nearest(process.offsets) == whole
        assert await process.cuts.look_up(1) is None
        assert await Process(kept).cuts.look_up(1) is None

    play(scenario)


def test_cuts_that_are_lost_are_used_no_more() -> None:
    async def scenario(kept: KeptCuts) -> None:
        process, losses = Process(kept), list[bool]()
        process.cuts.lost = lambda: losses.append(True)
        process.moves(5)
        lost = await process.writes()
        await kept.lose()
        await eventually(lambda: losses == [True])
        assert process.cuts.newest_cut() is None
        process.moves(5)
        again = await process.writes()
        assert again.number == lost.number and again.check != lost.check

    play(scenario)


class HiddenCuts(MemoryCuts):
    """Shows no cut before it has written one, as brokers just after a change of leader."""

    hidden = True

    async def read(self, number: int) -> list[Record]:
        if self.hidden:
            raise JournalUnavailable("there may be more than this")
        return await super().read(number)

    async def write(self, data: bytes) -> int:
        number = await super().write(data)
        self.hidden = False
        return number


def test_a_cut_that_brokers_do_not_show_yet_is_found_and_one_that_is_lost_is_not() -> None:
    async def scenario(kept: KeptCuts) -> None:
        process = Process(kept)
        process.moves(5)
        written = await process.writes()
        assert await Cuts(HiddenCuts(kept), SEGMENTS).look_up(written.number) == written
        assert await Cuts(HiddenCuts(kept), SEGMENTS).look_up(written.number + 99) is None

    play(scenario)


def test_while_the_cuts_are_away_none_is_taken_for_lost() -> None:
    async def scenario(kept: KeptCuts) -> None:
        kept.away = True
        with pytest.raises(JournalUnavailable):
            await Cuts(HiddenCuts(kept), SEGMENTS).look_up(3)

    play(scenario)
