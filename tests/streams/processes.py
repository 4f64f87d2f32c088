"""The processes of a Falcon, as far as signals go: on one clock, over a network that may lose what it carries."""

from collections import Counter, deque
from collections.abc import Callable, Collection
from typing import Any

import msgspec

from falcon.adapters.kafka import signal_transport
from falcon.streams import signals
from falcon.streams.feed import Feed
from falcon.streams.signals import Signals
from falcon.streams.subscription import Subscription
from tests.streams.test_replay import Ear, FakeLookups, FakeTail


class Network:
    """``loses``: True for a signal, by sender and receiver, that does not arrive."""

    def __init__(self, *names: str) -> None:
        self.now = 1_000.0
        self.loses: Callable[[str, str], bool] = lambda sender, receiver: False
        self.processes: dict[str, Process] = {}
        for name in names:
            self.starts(name)
        self.passes(10)

    def __getitem__(self, name: str) -> "Process":
        return self.processes[name]

    def starts(self, name: str) -> "Process":
        self.processes[name] = Process(self, name)
        return self.processes[name]

    def kills(self, name: str) -> None:
        del self.processes[name]

    def passes(self, seconds: float) -> None:
        until = self.now + seconds
        while self.now < until:
            self.now += signals._TURN_SECONDS
            for process in list(self.processes.values()):
                process.turn()

    def until(self, holds: Callable[[], bool]) -> float:
        """Returns the seconds that it takes."""
        began = self.now
        while not holds():
            assert self.now < began + 120, "it takes too long"
            self.passes(signals._TURN_SECONDS)
        return self.now - began

    def keeper_of(self, id: int) -> "Process":
        (name,) = {each.signals._presence.keeper_of(id) for each in self.processes.values()}
        return self[name]


class Process:
    """Its own transport, too. ``taken``: how many signals it has taken, by kind. ``entries``: how many facts they told.
    ``paused``: it is stopped, and continues later."""

    def __init__(self, network: Network, name: str) -> None:
        self.name = name
        self.paused = False
        self.taken: Counter[str] = Counter()
        self.entries = 0
        self._network = network
        self._inbox: deque[tuple[float, bytes]] = deque()
        self.feed = Feed(FakeTail([]), FakeLookups(), "a log", 4)
        self.signals = Signals(self, self.feed, lambda: network.now)

    # --- what happens in it -------------------------------------------------------------------------------------------

    def begins(
        self,
        account_id: int,
        rooms: Collection[int],
        watched: Collection[int] = (),
        kinds: Collection[str] = (),
    ) -> "Stream":
        ear = Ear()
        subscription = Subscription(account_id, "hash", None, ear, signals=frozenset(kinds), watched=frozenset(watched))
        subscription.rooms = dict.fromkeys(rooms, "member")
        self.feed.add(subscription)
        self.signals.came(subscription)
        return Stream(self, subscription, ear)

    def turn(self) -> None:
        if self.paused:
            return
        self.signals._turn()
        while self._inbox:
            at, data = self._inbox.popleft()
            if self._network.now - at > signal_transport._STALE_SECONDS:
                continue
            signal = msgspec.json.decode(data)
            self.taken[signal["type"]] += 1
            self.entries += sum(len(part[3]) + len(part[4]) for part in signal.get("parts", ()))
            self.signals._receive(data)

    @property
    def held(self) -> int:
        """The facts that it remembers."""
        copies = self.signals._presence._maps
        maps = [each for of in (copies._sent, copies._by_map) for some in of.values() for each in some.values()]
        return sum(len(each.entries) for each in maps)

    # --- a transport --------------------------------------------------------------------------------------------------

    def open(self, take: Callable[[bytes], None]) -> None: ...

    def send(self, data: bytes) -> None:
        for name in self._network.processes:
            self.send_to(name, data)

    def send_to(self, process: str, data: bytes) -> None:
        receiver = self._network.processes.get(process)
        if receiver is not None and not self._network.loses(self.name, process):
            receiver._inbox.append((self._network.now, data))

    async def close(self) -> None: ...


class Stream:
    def __init__(self, process: Process, subscription: Subscription, ear: Ear) -> None:
        self.process = process
        self.subscription = subscription
        self._ear = ear

    @property
    def account_id(self) -> int:
        return self.subscription.account_id

    @property
    def told(self) -> list[dict[str, Any]]:
        return [msgspec.json.decode(frame.data) for frame in self._ear.frames]

    @property
    def online(self) -> set[int]:
        """The accounts that its client shows as online."""
        shown = {each["account_id"]: each["online"] for each in self.told if "online" in each}
        return {account_id for account_id, online in shown.items() if online}

    def ends(self) -> None:
        self.process.signals.went(self.subscription)
        self.process.feed.remove(self.subscription)
        self.subscription.lose()

    def joins(self, room_id: int) -> None:
        self.subscription.rooms[room_id] = "member"
        self.process.feed.enter(self.subscription, room_id)

    def leaves(self, room_id: int) -> None:
        del self.subscription.rooms[room_id]
        self.process.feed.leave(self.subscription, room_id)
