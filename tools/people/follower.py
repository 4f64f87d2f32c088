"""What a stream tells one client, over all its connections, held to the promise while it comes."""

from collections.abc import Mapping


class Follower:
    """Each message comes once, in order. The methods return what is wrong."""

    def __init__(self) -> None:
        self._next: dict[int, int] = {}

    def hello(self, rooms: Mapping[int, int]) -> None:
        """``rooms``: their last seqs."""
        self._next = {room: last + 1 for room, last in rooms.items()}

    def caught_up_to(self, room_id: int, last_seq: int) -> None:
        """The client had to read by page up to here, and did."""
        self._next[room_id] = max(last_seq + 1, self._next.get(room_id, 0))

    def posted(self, room_id: int, seq: int) -> list[str]:
        expected = self._next.get(room_id, seq)
        self._next[room_id] = max(expected, seq + 1)
        if seq == expected:
            return []
        what = "comes twice" if seq < expected else f"comes without seq {expected}"
        return [f"room {room_id}: seq {seq} {what} on a stream"]

    def left(self, room_id: int) -> None:
        self._next.pop(room_id, None)

    def reach(self, room_id: int) -> int:
        return self._next.get(room_id, 1) - 1
