"""Live delivery and replay tell the same, for any history of a chat and any place where a stream was cut off."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Any, Final

from hypothesis import HealthCheck, example, given, note, settings
from hypothesis import strategies as st

from tests.streams.reader import Event, Listen
from tests.support.http import Falcon, Json, Person, Room

PEOPLE: Final = 3
ROOMS: Final = 3

places = st.integers(0, PEOPLE - 1)
rooms = st.integers(0, ROOMS - 1)
steps = st.one_of(
    st.tuples(st.just("make"), places, st.sets(places)),
    st.tuples(st.just("remove"), rooms),
    st.tuples(st.just("join"), rooms, places, st.sampled_from(["member", "readonly", "admin"])),
    st.tuples(st.just("leave"), rooms, places),
    st.tuples(st.just("post"), rooms, places),
    st.tuples(st.just("post"), rooms, places),
    st.tuples(st.just("edit"), rooms, places, st.integers(1, 4)),
    st.tuples(st.just("delete"), rooms, places, st.integers(1, 4)),
    st.tuples(st.just("read"), rooms, places, st.integers(0, 4)),
    st.tuples(st.just("rename"), rooms, places),
)


@dataclass
class Chat:
    """Three people and their last three rooms. What is not allowed is refused, and does not happen."""

    people: list[Person]
    rooms: list[Room] = field(default_factory=list)
    said: int = 0

    def play(self, step: tuple[Any, ...]) -> None:
        kind, *arguments = step
        if kind == "make":
            by, others = arguments
            made = self.people[by].makes_room("Tea", *(self.people[each] for each in others - {by}))
            self.rooms = [*self.rooms, made][-ROOMS:]
        elif arguments[0] < len(self.rooms):
            getattr(self, kind)(self.rooms[arguments[0]], *arguments[1:])

    def remove(self, room: Room) -> None:
        for person in self.people:
            person.delete(str(room))

    def join(self, room: Room, who: int, role: str) -> None:
        for person in self.people:
            if person.put(f"{room}/members/{self.people[who].account_id}", {"role": role}).is_success:
                break

    def leave(self, room: Room, who: int) -> None:
        self.people[who].delete(f"{room}/members/{self.people[who].account_id}")

    def post(self, room: Room, by: int) -> None:
        self.said += 1
        mentions = [person.account_id for person in self.people[: self.said % 2]]
        self.people[by].post(f"{room}/messages", {"text": f"Number {self.said}", "mentions": mentions})

    def edit(self, room: Room, by: int, seq: int) -> None:
        self.said += 1
        self.people[by].patch(f"{room}/messages/{seq}", {"text": f"Number {self.said}"})

    def delete(self, room: Room, by: int, seq: int) -> None:
        self.people[by].delete(f"{room}/messages/{seq}")

    def read(self, room: Room, by: int, seq: int) -> None:
        self.people[by].put(f"{room}/read", {"seq": seq, "force": True})

    def rename(self, room: Room, by: int) -> None:
        self.said += 1
        self.people[by].patch(str(room), {"name": f"Room {self.said}"})


def told(events: list[Event], deleted: set[tuple[int, int]]) -> list[tuple[str, str, Json]]:
    """The history as a replay shows it: without the texts of messages that are deleted in it."""
    return [(event.id, event.name, withheld(event, deleted)) for event in events]


def withheld(event: Event, deleted: set[tuple[int, int]]) -> Json:
    data: Json = event.data
    if event.name.startswith("message.") and (data["room_id"], data["seq"]) in deleted:
        return {**data, "text": "", "deleted": True, "mentions": []}
    return data


def deletions(events: list[Event]) -> set[tuple[int, int]]:
    """Messages as room and seq."""
    return {(event.data["room_id"], event.data["seq"]) for event in events if event.name == "message.deleted"}


def in_order(events: list[Event]) -> None:
    """Each event once; and in each room the messages by seq, without a gap from the first that was seen in a stay."""
    assert max(Counter(event.id for event in events).values(), default=0) <= 1
    last: dict[int, int] = {}
    for event in events:
        if event.name == "message.posted":
            room, seq = event.data["room_id"], event.data["seq"]
            assert seq == last.get(room, seq - 1) + 1, (room, seq)
            last[room] = seq
        elif event.name in ("member.left", "room.deleted"):
            last.pop(event.data["room_id"], None)


class Played:
    """A history, all of it heard live by each; some began to listen in the middle."""

    def __init__(self, falcon: Falcon, history: list[tuple[Any, ...]], cut: int) -> None:
        self.listen = Listen()
        self.people = [falcon.account(f"Person {i}") for i in range(PEOPLE)]
        whole = [self.listen(person) for person in self.people]
        chat = Chat(self.people)
        for step in history[:cut]:
            chat.play(step)
        part = [self.listen(person) for person in self.people]
        for step in history[cut:]:
            chat.play(step)
        last = [person.makes_room("The end") for person in self.people]
        self.whole, self.part = ([heard(each, room) for each, room in zip(s, last, strict=True)] for s in (whole, part))


def heard(listener: Any, last: Room) -> list[Event]:
    events: list[Event] = []
    while not events or events[-1].data.get("room_id") != last.room_id:
        events.append(listener.next())
    return events


def compared(falcon: Falcon, history: list[tuple[Any, ...]], cut: int, at: int) -> None:
    played = Played(falcon, history, cut)
    deleted = set().union(*map(deletions, played.whole))
    try:
        for person, whole, part in zip(played.people, played.whole, played.part, strict=True):
            assert [events[0].name for events in (whole, part)] == ["hello", "hello"]
            in_order(whole[1:])
            note(f"{person.name} heard {[event.name for event in whole]}")
            assert part[1:] == whole[len(whole) - len(part) + 1 :], "a hello goes on as the others do"
            for since in {at % len(whole), len(whole) - len(part)}:
                replay = played.listen.resume(person, whole[since]).until("caught_up")
                assert told(replay, deleted) == told(whole[since + 1 :], deleted)
    finally:
        played.listen.close()


histories = st.lists(steps, min_size=1, max_size=14)
TALKED: Final[list[tuple[Any, ...]]] = [("make", 0, {0, 1}), ("post", 0, 0), ("join", 0, 2, "member"), ("post", 0, 2)]
RELAXED: Final = settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])


@RELAXED
@given(histories, st.integers(0, 14), st.integers(0, 50))
@example([*TALKED, ("delete", 0, 0, 1), ("leave", 0, 2), ("post", 0, 0), ("join", 0, 2, "readonly")], 3, 1)
@example([*TALKED, ("remove", 0), ("make", 1, {2}), ("post", 1, 1)], 2, 2)
@example([*TALKED, ("leave", 0, 2), ("rename", 0, 0), ("rename", 0, 0)], 2, 0)
@example([*TALKED, ("rename", 0, 0), ("leave", 0, 2), ("join", 0, 2, "admin"), ("rename", 0, 0), ("post", 0, 0)], 2, 1)
@example([("make", 0, set()), ("rename", 0, 0), ("remove", 0)], 0, 1)
def test_what_is_told_again_is_what_was_told_live(
    falcon: Falcon, history: list[tuple[Any, ...]], cut: int, at: int
) -> None:
    compared(falcon, history, cut, at)
