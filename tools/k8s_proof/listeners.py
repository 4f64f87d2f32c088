"""Clients that listen while pods come and go: each must get every message once, in each room's order."""

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence

from falcon.client import CatchUp, CaughtUp, FalconClient, Hello, MessagePosted
from tools.people.history import name_of, token_of
from tools.people.sessions import Account


class Listener:
    """Follows some rooms with the client library, from before anything is said there. ``told``: by room, in order."""

    def __init__(self, url: str, account: Account, rooms: Sequence[int]) -> None:
        self.told: dict[int, list[tuple[int, str]]] = defaultdict(list)
        self.events: Counter[str] = Counter()
        self.listening = False
        self._account = account
        self._rooms = rooms
        self._client = FalconClient(url, account.token)

    async def listen(self) -> None:
        """Listen until cancelled. Raises Problem."""
        async with self._client:
            async for event in self._client.stream(rooms=self._rooms):
                self.events[type(event).__name__] += 1
                match event:
                    case Hello():
                        self.listening = True
                    case MessagePosted(message=message):
                        shown = "" if message.deleted else name_of(token_of(message.text))
                        self.told[message.room_id].append((message.seq, shown))
                    case CatchUp(rooms=reaches):
                        for reach in reaches:
                            await self._read(reach.room_id, reach.last_seq)

    @property
    def reconnections(self) -> int:
        return self.events[CaughtUp.__name__] + self.events[CatchUp.__name__]

    def has(self, ends: Mapping[int, int]) -> bool:
        """True if it got each room's last message."""
        return all(any(seq == end for seq, _ in self.told[room]) for room, end in ends.items() if end)

    def judge(self, said: Mapping[int, Mapping[int, str]]) -> Iterator[str]:
        """The violations, given the message at each seq of each room ("" if it is not known any more)."""
        who = f"listener {self._account.account_id}"
        for room, messages in said.items():
            seqs = [seq for seq, _ in self.told[room]]
            counted = Counter(seqs)
            yield from (f"{who}: lost: was not told of {seq} in room {room}" for seq in messages if seq not in counted)
            yield from (f"{who}: was told of {seq} in room {room} {n} times" for seq, n in counted.items() if n > 1)
            if seqs != sorted(seqs):
                yield f"{who}: was told of room {room} out of order"
            for seq, shown in self.told[room]:
                if shown and messages.get(seq, "") not in ("", shown):
                    yield f"{who}: was told {shown} at {seq} of room {room}, and it is {messages[seq]}"

    async def _read(self, room: int, last: int) -> None:
        """Read by page, as a client that was away for too long must."""
        while (after := max((seq for seq, _ in self.told[room]), default=0)) < last:
            page = await self._client.messages(room, after=after, limit=200)
            self.told[room] += [
                (each.seq, "" if each.deleted else name_of(token_of(each.text))) for each in page.messages
            ]
