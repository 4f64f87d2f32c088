"""Cuts: an offset in each segment of the log, under a number that every process can look up.

A resume token names a cut and has only the differences to it. Any process may write a cut, and each one is as good as
another, so no process has to lead. A process uses a cut once it has read it from where all cuts are kept. So every
other process finds the cut of a client's token, too.

A process whose tokens grow writes a cut. The one that has written the cut which they name does so at once, and the
others a moment later, if that one has not done it by then.
"""

import asyncio
import logging
import math
import random
import zlib
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from operator import sub
from typing import Final, Protocol, TypeAlias

import msgspec

from falcon.base.shared import Shared
from falcon.journal.ports import JournalUnavailable
from falcon.streams.differences import Differences, read
from falcon.streams.varints import Malformed, read_varint, varint, varints
from falcon.telemetry import metrics

log = logging.getLogger("falcon.streams")

KEPT_MAX: Final = 10_000  # cuts that a process keeps in memory
_KEPT_BYTES_MAX: Final = 16 << 20  # 10,000 cuts have less, unless there are thousands of partitions
_NEAR: Final = 8  # the newest ones, of which the nearest is taken
_BASES: Final = 16  # in memory with their offsets, so that new cuts can count from them
_LOOKED_UP_MAX: Final = 1_000  # older cuts, which clients that come back have named
_WHOLE: Final = b"\x00"
_TO_A_BASE: Final = b"\x01"
_SHARE_MAX: Final = 4  # differences that take a larger part of a whole cut's bytes are not worth a second look-up
_APART_SECONDS: Final = 0.002  # frames that come together share a cut
_OTHERS_SECONDS: Final = (0.05, 0.1)  # longer than it takes to write and read a cut
_READ_SECONDS: Final = 5.0  # a cut that is not read back by then is written again
_RETRY_SECONDS: Final = 1.0  # meanwhile tokens grow

Record: TypeAlias = tuple[int, bytes]  # a cut's number and bytes


class Cut(msgspec.Struct, frozen=True):
    """``offsets``: by segment. ``check``: of its bytes, and of those of the cut that it counts from."""

    number: int
    offsets: Sequence[int]
    check: int


class CutStore(Protocol):
    """Keeps cuts for as long as the log. One instance per event loop."""

    def follow(self, add: Callable[[int, bytes], None], lost: Callable[[], None]) -> None:
        """Call ``add`` with the last KEPT_MAX cuts and then with each that is written, in the order of their numbers.
        ``lost`` is called when cuts that were taken are not kept any more."""

    async def write(self, data: bytes) -> int:
        """The new cut's number. Raises JournalUnavailable."""

    async def read(self, number: int) -> list[Record]:
        """The cut and some of the ones that follow it; none if it is not kept. Raises JournalUnavailable, also if the
        store may have more cuts than it shows."""

    async def close(self) -> None: ...


class Cuts:
    """The cuts that this process knows. One instance per event loop. ``newest``: the number of the newest one; -1 if
    there is none. ``lost`` is called when cuts that were known are not kept any more."""

    def __init__(self, store: CutStore, segments: int) -> None:
        self.newest = -1
        self.lost: Callable[[], None] = _nothing
        self._store = store
        self._segments = segments
        self._kept: OrderedDict[int, bytes] = OrderedDict()
        self._kept_bytes = 0
        # Apart from those: a client may name any number, and must not push the newest cuts out of memory by it.
        self._looked_up: OrderedDict[int, bytes] = OrderedDict()
        self._near: deque[Record] = deque(maxlen=_NEAR)
        self._bases: dict[int, Cut] = {}
        self._resolved: dict[int, Cut | None] = {}  # of the ones that are near
        self._mine: deque[int] = deque(maxlen=_NEAR)
        self._arrived = asyncio.Event()
        self._reading: dict[int, asyncio.Task[list[Record]]] = {}
        self._next = Shared(self._write_again, _RETRY_SECONDS)
        self._writing: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._store.follow(self._add, self._lose)

    async def stop(self) -> None:
        tasks = [*self._reading.values(), *([self._writing] if self._writing else [])]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        await self._store.close()

    # --- cuts that are known ------------------------------------------------------------------------------------------

    def nearest(self, offsets: Mapping[int, int]) -> Cut | None:
        """One of the newest cuts to which these offsets have small differences."""
        nearest, least = None, math.inf
        for cut in self._newest_first():
            distance = _distance(cut, offsets)
            if distance < least:
                nearest, least = cut, distance
            if least <= len(offsets):  # the common case: as near as one event for each segment
                break
        return nearest

    def newest_before(self, offsets: Mapping[int, int], begins: Mapping[int, int]) -> Cut | None:
        """One of the newest cuts that lies between the two everywhere."""
        return next(
            (
                cut
                for cut in self._newest_first()
                if all(begins[segment] <= cut.offsets[segment] <= at for segment, at in offsets.items())
            ),
            None,
        )

    def newest_cut(self) -> Cut | None:
        return next(iter(self._newest_first()), None)

    def _newest_first(self) -> Iterable[Cut]:
        for number, data in reversed(self._near):
            if number not in self._resolved:
                self._resolved[number] = self._resolve(number, data)
            cut = self._resolved[number]
            if cut is not None:
                yield cut

    async def look_up(self, number: int) -> Cut | None:
        """The cut of that number, which a token names; None if it is not kept. Raises JournalUnavailable."""
        data = await self._record(number)
        if data is None:
            return None
        with suppress(Malformed):
            base = _base_of(data)
            if base is not None and base not in self._bases and (whole := await self._record(base)) is not None:
                self._resolve(base, whole)
        return self._resolve(number, data)

    async def _record(self, number: int) -> bytes | None:
        data = self._known(number)
        if data is None:
            reading = self._reading.get(number)
            if reading is None:
                reading = self._reading[number] = asyncio.get_running_loop().create_task(self._read(number))
                reading.add_done_callback(lambda task: self._done(number, task))
            found = dict(await asyncio.shield(reading))  # other callers may wait for it when this one has given up
            metrics.stream_cuts_read.labels("found" if number in found else "missing").inc()
            return found.get(number)
        return data

    async def _read(self, number: int) -> list[Record]:
        """Raises JournalUnavailable."""
        try:
            return await self._store.read(number)
        except JournalUnavailable:
            # The store may show fewer cuts than it has. One that is written now gets a larger number than all of them.
            if await self._next.get() <= number:
                return []
            return await self._store.read(number)

    async def _write_again(self) -> int:
        """Write the newest cut once more. Returns its number. Raises JournalUnavailable."""
        metrics.stream_cuts.labels("written").inc()
        return await self._store.write(self._kept.get(self.newest) or self._encoded([0] * self._segments))

    def _known(self, number: int) -> bytes | None:
        data = self._kept.get(number)
        return self._looked_up.get(number) if data is None else data

    def _done(self, number: int, reading: "asyncio.Task[list[Record]]") -> None:
        del self._reading[number]
        if not reading.cancelled() and reading.exception() is None:
            for each, data in reading.result():
                if each not in self._kept:
                    self._looked_up[each] = data
            while len(self._looked_up) > _LOOKED_UP_MAX:
                self._looked_up.popitem(last=False)

    def _resolve(self, number: int, data: bytes) -> Cut | None:
        """None for bytes that are no cut of this log."""
        try:
            base, checked = _base_of(data), 0
            if base is None:
                offsets = list(varints(data, len(_WHOLE)))
            else:
                known = self._base(base)
                if known is None:
                    return None
                _, at = read_varint(data, len(_TO_A_BASE))
                offsets, checked = read(data[at:], known.offsets), known.check
        except Malformed as error:
            log.warning("cut %s is not as Falcon writes it: %s", number, error)
            return None
        if len(offsets) != self._segments:
            return None
        # The same differences to another base are another cut.
        cut = Cut(number, offsets, zlib.crc32(data, checked))
        if base is None:
            self._bases[number] = cut
            while len(self._bases) > _BASES:
                del self._bases[min(self._bases)]
        return cut

    def _base(self, number: int) -> Cut | None:
        if number in self._bases:
            return self._bases[number]
        data = self._known(number)
        return None if data is None or _base_of(data) is not None else self._resolve(number, data)

    def _add(self, number: int, data: bytes) -> None:
        self._keep(number, data)
        self._near.append((number, data))
        oldest = self._near[0][0]
        self._resolved = {each: cut for each, cut in self._resolved.items() if each >= oldest}
        self.newest = number
        self._arrived.set()

    def _keep(self, number: int, data: bytes) -> None:
        if number in self._kept:
            return
        self._kept[number] = data
        self._kept_bytes += len(data)
        while len(self._kept) > KEPT_MAX or self._kept_bytes > _KEPT_BYTES_MAX:
            _, dropped = self._kept.popitem(last=False)
            self._kept_bytes -= len(dropped)

    def _lose(self) -> None:
        if self._writing is not None:
            self._writing.cancel()  # it waits for a number of the cuts that are lost
        self._kept.clear()
        self._kept_bytes = 0
        self._looked_up.clear()
        self._near.clear()
        self._bases.clear()
        self._resolved.clear()
        self._mine.clear()
        self.newest = -1
        self.lost()

    # --- cuts that are written ----------------------------------------------------------------------------------------

    def propose(self, wanted: Callable[[], Mapping[int, int] | None], used: int | None = None) -> None:
        """Write a cut soon, unless one is under way. ``wanted`` is asked for its offsets just before; it returns None
        if no cut is needed any more. ``used``: the cut that tokens name now."""
        if not self.writes:
            seconds = _APART_SECONDS if used in self._mine else random.uniform(*_OTHERS_SECONDS)  # noqa: S311
            self._writing = asyncio.get_running_loop().create_task(self._write(wanted, seconds))

    @property
    def writes(self) -> bool:
        """True if a cut is under way."""
        return self._writing is not None and not self._writing.done()

    async def _write(self, wanted: Callable[[], Mapping[int, int] | None], seconds: float) -> None:
        try:
            await asyncio.sleep(seconds)
            offsets = wanted()
            if offsets is None:
                return
            number = await self._store.write(self._encoded([offsets[each] for each in range(self._segments)]))
            self._mine.append(number)
            metrics.stream_cuts.labels("written").inc()
            async with asyncio.timeout(_READ_SECONDS):
                while self.newest < number:
                    self._arrived.clear()
                    await self._arrived.wait()
        except (JournalUnavailable, TimeoutError) as error:
            metrics.stream_cuts.labels("failed").inc()
            log.warning("resume tokens grow, since no cut can be written: %r", error)
            await asyncio.sleep(_RETRY_SECONDS)
        except Exception:  # tokens grow until it is repaired
            log.exception("writing a cut met a fault of ours; it is tried again")
            await asyncio.sleep(_RETRY_SECONDS)

    def _encoded(self, offsets: Sequence[int]) -> bytes:
        whole = _WHOLE + b"".join(map(varint, offsets))
        if self._bases:
            base = self._bases[max(self._bases)]
            data = _TO_A_BASE + varint(base.number) + Differences(base.offsets, offsets).encoded()
            if len(data) * _SHARE_MAX <= len(whole):
                return data
        return whole


def _base_of(data: bytes) -> int | None:
    """The number of the whole cut to which this one has the differences; None if it is whole itself. Raises
    Malformed."""
    if data[:1] == _WHOLE:
        return None
    if data[:1] != _TO_A_BASE:
        raise Malformed("it is of no version that this Falcon reads")
    return read_varint(data, len(_TO_A_BASE))[0]


def _distance(cut: Cut, offsets: Mapping[int, int]) -> int:
    if len(offsets) == len(cut.offsets):
        return sum(map(abs, map(sub, map(offsets.__getitem__, range(len(cut.offsets))), cut.offsets)))
    return sum(abs(offset - cut.offsets[segment]) for segment, offset in offsets.items())


def _nothing() -> None:
    """No token names a cut."""
