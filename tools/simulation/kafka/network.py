"""The network between clients and brokers: delays, lost answers, requests that arrive after their senders gave up."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Final, Generic, NamedTuple, TypeAlias, TypeVar

from aiokafka.errors import KafkaConnectionError

from tools.simulation.threads import Loop

T = TypeVar("T")

Request: TypeAlias = Callable[[], Awaitable[Any]]


_APART_SECONDS: Final = 1e-6  # between what arrives in order


class Fate(NamedTuple):
    """The fate of one request. ``there``, ``back``: seconds on the way. ``unanswered``: it is carried out, and the
    connection breaks before its answer has come."""

    there: float = 0.0
    back: float = 0.0
    unanswered: bool = False


@dataclass(eq=False)
class Connection:
    """A connection from one client to one node. Requests arrive in order, also after the client has given up."""

    arrived: float = 0.0


class Reply(Generic[T]):
    """The destination of an answer: a future of a loop that may have been closed by then."""

    def __init__(self, loop: asyncio.AbstractEventLoop, future: "asyncio.Future[T]") -> None:
        self._loop = loop
        self._future = future

    def give(self, answer: T) -> None:
        self._send(lambda: self._future.set_result(answer))

    def fail(self, error: Exception) -> None:
        self._send(lambda: self._future.set_exception(error))

    def _send(self, settle: Callable[[], None]) -> None:
        try:
            self._loop.call_soon_threadsafe(lambda: None if self._future.done() else settle())
        except RuntimeError:  # the client's loop has been closed, and with it all that waited there
            return


@dataclass
class Network:
    """A network on the brokers' loop. Without faults everything arrives at once.

    ``delay_max``: seconds, each way. ``unanswered``: the share of requests whose connection breaks before the answer.
    ``late``: the share of requests that linger on the way for up to ``late_seconds``, like lost packets.
    """

    loop: Loop
    random: random.Random
    delay_max: float = 0.0
    unanswered: float = 0.0
    late: float = 0.0
    late_seconds: float = 15.0
    _cut: set[tuple[str, int]] = field(default_factory=set)
    _held: list[tuple[str, int, Callable[[], None]]] = field(default_factory=list)

    def heal(self) -> None:
        """From now on everything arrives, also what was held back."""
        self.delay_max = self.unanswered = self.late = 0.0
        for client, node in list(self._cut):
            self.join(client, node)

    def cut(self, client: str, node: int) -> None:
        """Nothing passes between them; what is sent is held back, and passes once they are joined again."""
        self._cut.add((client, node))

    def join(self, client: str, node: int) -> None:
        self._cut.discard((client, node))
        passing = [each for each in self._held if each[:2] == (client, node)]
        self._held = [each for each in self._held if each[:2] != (client, node)]
        for _, _, arrive in passing:
            arrive()

    def pass_on(self, client: str, node: int, connection: Connection, arrive: Callable[[Fate], None]) -> None:
        """Called on the client's loop. Requests arrive on the brokers' loop."""
        fate = self._fate()
        if (client, node) in self._cut:
            self._held.append((client, node, lambda: arrive(fate)))
            return
        simulation = self.loop.simulation
        connection.arrived = max(connection.arrived + _APART_SECONDS, simulation.now + fate.there)
        simulation.at(connection.arrived, lambda: self._arrive(client, node, arrive, fate))

    def _arrive(self, client: str, node: int, arrive: Callable[[Fate], None], fate: Fate) -> None:
        if (client, node) in self._cut:
            self._held.append((client, node, lambda: arrive(fate)))
        else:
            self.loop.call_soon_threadsafe(arrive, fate)

    def give_back(self, client: str, node: int, fate: Fate, give: Callable[[], None], reply: Reply[Any]) -> None:
        if fate.unanswered:
            reply.fail(KafkaConnectionError(f"node {node} closed the connection"))
        elif (client, node) in self._cut:
            self._held.append((client, node, give))
        elif fate.back:
            self.loop.simulation.at(self.loop.simulation.now + fate.back, give)
        else:
            give()

    def _fate(self) -> Fate:
        if not (self.delay_max or self.unanswered or self.late):
            return Fate()
        there = self.random.uniform(0, self.delay_max)
        if self.late and self.random.random() < self.late:
            there += self.random.uniform(0, self.late_seconds)
        return Fate(there, self.random.uniform(0, self.delay_max), self.random.random() < self.unanswered)
