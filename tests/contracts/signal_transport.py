"""The promises of every signal transport."""

import asyncio
import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import pytest

from falcon.adapters.sockets.signal_transport import SocketSignalTransport
from falcon.streams.signals import SignalTransport
from tests.support.http import Falcon
from tools.harness.waiting import eventually

SECONDS = 60.0


class Ear:
    """One end of a transport, within the loop that it is opened in."""

    def __init__(self, transport: SignalTransport) -> None:
        self.transport = transport
        self.heard: list[bytes] = []
        transport.open(self.heard.append)

    async def until(self, holds: Callable[[list[bytes]], bool]) -> None:
        await eventually(lambda: holds(self.heard), seconds=SECONDS)


class SignalTransportContract:
    @pytest.fixture
    def make(self) -> Callable[[], SignalTransport]:
        """Another end of the same transport, each time."""
        raise NotImplementedError

    def test_what_one_says_everybody_hears_and_so_does_he(self, make: Callable[[], SignalTransport]) -> None:
        async def talk() -> None:
            ears = [Ear(make()), Ear(make())]
            for ear in ears:
                await connected(ear, ears)
            for number in range(20):
                ears[0].transport.send(b"%d" % number)
            for ear in ears:
                await ear.until(lambda heard: b"19" in heard)
                assert [each for each in ear.heard if each.isdigit()] == [b"%d" % number for number in range(20)]
            for ear in ears:
                await ear.transport.close()

        asyncio.run(talk())

    def test_what_is_said_to_one_only_he_hears(self, make: Callable[[], SignalTransport]) -> None:
        async def talk() -> None:
            ears = [Ear(make()) for _ in range(3)]
            for ear in ears:
                await connected(ear, ears)
            for ear in ears:
                for number in range(20):
                    ears[0].transport.send_to(ear.transport.name, b"%d for %b" % (number, ear.transport.name.encode()))
            for ear in ears:
                expected = [b"%d for %b" % (number, ear.transport.name.encode()) for number in range(20)]
                await ear.until(partial(_has, expected[-1]))
                assert [each for each in ear.heard if b" for " in each] == expected
            ears[0].transport.send_to("nobody", b"lost")
            for ear in ears:
                await ear.transport.close()

        asyncio.run(talk())

    def test_many_large_signals_arrive(self, make: Callable[[], SignalTransport]) -> None:
        """As when a process hears at once of all that it keeps from now on."""

        async def talk() -> None:
            says, hears = Ear(make()), Ear(make())
            for ear in (says, hears):
                await connected(ear, [says, hears])
            told = [b"%d" % number + os.urandom(40 << 10) for number in range(100)]
            for each in told:
                says.transport.send_to(hears.transport.name, each)
            await hears.until(partial(_has, told[-1]))
            assert [each for each in hears.heard if len(each) > 100] == told
            for ear in (says, hears):
                await ear.transport.close()

        asyncio.run(talk())

    def test_the_last_words_of_one_who_leaves_are_heard(self, make: Callable[[], SignalTransport]) -> None:
        async def talk() -> None:
            stays, leaves = Ear(make()), Ear(make())
            for ear in (stays, leaves):
                await connected(ear, [stays, leaves])
            leaves.transport.send(b"goodbye")
            await leaves.transport.close()
            await stays.until(lambda heard: b"goodbye" in heard)
            await stays.transport.close()

        asyncio.run(talk())

    def test_who_has_left_disturbs_nobody(self, make: Callable[[], SignalTransport]) -> None:
        async def talk() -> None:
            stays, leaves = Ear(make()), Ear(make())
            for ear in (stays, leaves):
                await connected(ear, [stays, leaves])
            await leaves.transport.close()
            stays.transport.send(b"still here")
            await stays.until(lambda heard: b"still here" in heard)
            await stays.transport.close()

        asyncio.run(talk())


def _has(signal: bytes, heard: list[bytes]) -> bool:
    return signal in heard


async def connected(ear: Ear, ears: list[Ear]) -> None:
    """A transport may take a moment until it works: earlier signals may be lost."""
    async with asyncio.timeout(SECONDS):
        for each in ears:
            each.heard.clear()
        while not all({b"hello", b"you"} <= {*each.heard} for each in ears):
            ear.transport.send(b"hello")
            for each in ears:
                ear.transport.send_to(each.transport.name, b"you")
            await asyncio.sleep(0.05)


class Other:
    """Another process of a Falcon, as far as signals go: says and hears them as they go over the sockets."""

    def __init__(self, falcon: Falcon, folder: Path) -> None:
        self._falcon = falcon
        self._transport = SocketSignalTransport(folder, falcon.edge.instance, "another")
        self._heard: list[Any] = []
        falcon.run(self._open())

    async def _open(self) -> None:
        self._transport.open(lambda data: self._heard.append(msgspec.json.decode(data)))

    def says(self, signal: dict[str, Any]) -> None:
        self._transport.send(msgspec.json.encode(signal))

    def hears(self, kind: str) -> dict[str, Any]:
        """The first signal of this kind from another process."""

        async def wait() -> dict[str, Any]:
            async with asyncio.timeout(SECONDS):
                while True:
                    for signal in self._heard:
                        if signal["type"] == kind and signal.get("process") != "another":
                            found: dict[str, Any] = signal
                            return found
                    await asyncio.sleep(0.005)

        return self._falcon.run(wait())

    def close(self) -> None:
        self._falcon.run(self._transport.close())
