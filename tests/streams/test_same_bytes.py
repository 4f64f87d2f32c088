"""An event's id fixes its bytes: for any history of a chat, from any process, at any time."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec
from hypothesis import example, given
from hypothesis import strategies as st

from falcon.domain.decision import Decided, Decision
from falcon.features.catalogue import Event
from falcon.features.decider import decide_room, evolve_room
from falcon.features.messages.rules import (
    DeleteMessage,
    EditMessage,
    Message,
    MessageDeleted,
    MessageEdited,
    MessagePosted,
    PostMessage,
)
from falcon.features.read_marks.rules import MoveRead
from falcon.features.rooms.rules import (
    ChangeRoom,
    CreateRoom,
    DeleteRoom,
    Invitation,
    MemberChanged,
    MemberJoined,
    MemberLeft,
    PutMember,
    RemoveMember,
    Role,
    Room,
    RoomCreated,
    RoomDeleted,
    create_room,
    members_of,
)
from falcon.streams import resume_tokens
from falcon.streams.frames import Frame
from tests.streams.test_replay import ANN, BOB, ROOM, Scene, play
from tests.support.builders import tried

ROOMS: Final = (ROOM, ROOM + 64)

who = st.sampled_from([ANN, BOB])
where = st.sampled_from(ROOMS)
any_role = st.sampled_from(["admin", "member", "readonly"])
seqs = st.integers(1, 4)
steps = st.one_of(
    st.tuples(st.just("create"), where, st.booleans()),
    st.tuples(st.just("put"), where, who, any_role),
    st.tuples(st.just("put"), where, who, any_role),
    st.tuples(st.just("remove"), where, who),
    st.tuples(st.just("post"), where, who),
    st.tuples(st.just("post"), where, who),
    st.tuples(st.just("edit"), where, who, seqs),
    st.tuples(st.just("delete"), where, who, seqs),
    st.tuples(st.just("read"), where, who, st.integers(0, 4)),
    st.tuples(st.just("rename"), where, st.sampled_from(["Tea", "Coffee", "Water"])),
    st.tuples(st.just("remove_room"), where),
)


@dataclass
class Chat:
    """Two rooms and two people, one of whom, BOB, listens. What is refused does not happen."""

    events: list[Event] = field(default_factory=list)
    rooms: dict[int, Room] = field(default_factory=dict)
    messages: dict[tuple[int, int], Message] = field(default_factory=dict)

    def play(self, kind: str, room_id: int, *arguments: Any) -> None:
        decision: Decision
        if kind == "create":
            (with_bob,) = arguments
            members = (Invitation(BOB, "member"),) if with_bob else ()
            if room_id in self.rooms:
                return
            decision = create_room(CreateRoom(ANN, "Tea", "", members), room_id, len(self.events))
        else:
            command = getattr(self, kind)(room_id, *arguments)
            decision = decide_room(self.rooms.get(room_id), command, len(self.events))
        if isinstance(decision, Decided):
            for event in decision.events:
                self._happens(room_id, event)

    def _happens(self, room_id: int, event: Any) -> None:
        self.events.append(event)
        self.rooms[room_id] = evolve_room(self.rooms.get(room_id), event)
        if isinstance(event, MessagePosted | MessageEdited | MessageDeleted):
            self.messages[room_id, event.message.seq] = event.message

    def put(self, room_id: int, account_id: int, role: Role) -> Any:
        return PutMember(self._admin(room_id), room_id, account_id, role, True)

    def remove(self, room_id: int, account_id: int) -> Any:
        return RemoveMember(account_id, room_id, account_id)

    def post(self, room_id: int, by: int) -> Any:
        return PostMessage(by, room_id, f"Number {len(self.events)}")

    def edit(self, room_id: int, by: int, seq: int) -> Any:
        text = f"Number {len(self.events)}"
        return EditMessage(by, room_id, seq, text, None, *self._known(room_id, seq))

    def delete(self, room_id: int, by: int, seq: int) -> Any:
        return DeleteMessage(by, room_id, seq, *self._known(room_id, seq))

    def read(self, room_id: int, by: int, seq: int) -> Any:
        return MoveRead(by, room_id, seq, True, seq % 2)

    def rename(self, room_id: int, name: str) -> Any:
        return ChangeRoom(self._admin(room_id), room_id, name=name)

    def remove_room(self, room_id: int) -> Any:
        return DeleteRoom(self._admin(room_id), room_id)

    def _known(self, room_id: int, seq: int) -> tuple[Message | None, int]:
        room = self.rooms.get(room_id)
        return self.messages.get((room_id, seq)), 0 if room is None else room.revision

    def _admin(self, room_id: int) -> int:
        members = self.rooms[room_id].members if room_id in self.rooms else members_of()
        return next((who for who, member in members.items() if member.role == "admin"), ANN)


def bobs_roles(events: list[Event]) -> dict[int, Role]:
    """Bob's roles in tables that have applied these."""
    found: dict[int, Role] = {}
    for event in events:
        match event:
            case RoomCreated(room_id=room_id, members=members):
                roles = {member.account_id: member.role for member in members}
                if BOB in roles:
                    found[room_id] = roles[BOB]
            case MemberJoined() | MemberChanged() if event.account_id == BOB:
                found[event.room_id] = event.role
            case MemberLeft(room_id=room_id, account_id=account_id) if account_id == BOB:
                found.pop(room_id, None)
            case RoomDeleted(room_id=room_id):
                found.pop(room_id, None)
    return found


class Told(msgspec.Struct, frozen=True):
    id: str
    name: str
    data: bytes


def told(frames: list[Frame], deleted: Mapping[tuple[int, int], bool]) -> list[Told]:
    """Without the beginning and the end, and the texts of messages that were deleted, sooner or later."""
    return [
        Told(frame.id, frame.name, withheld(frame.data, deleted))
        for frame in frames
        if frame.name not in ("hello", "caught_up")
    ]


def withheld(data: bytes, deleted: Mapping[tuple[int, int], bool]) -> bytes:
    shown = msgspec.json.decode(data)
    if (shown["room_id"], shown.get("seq")) in deleted:
        shown |= {"text": "", "deleted": True, "mentions": []}
        return msgspec.json.encode(shown)
    return data


histories = st.lists(steps, min_size=3, max_size=24)
BOB_COMES_AND_GOES: Final[list[tuple[Any, ...]]] = [
    ("create", ROOM, True),
    ("post", ROOM, ANN),
    ("rename", ROOM, "Coffee"),
    ("remove", ROOM, BOB),
    ("post", ROOM, ANN),
    ("rename", ROOM, "Water"),
    ("put", ROOM, BOB, "readonly"),
    ("rename", ROOM, "Tea"),
    ("put", ROOM, BOB, "admin"),
    ("read", ROOM, BOB, 1),
    ("post", ROOM, BOB),
    ("delete", ROOM, BOB, 3),
    ("remove_room", ROOM),
]


@tried(150)
@given(histories, st.data())
@example(BOB_COMES_AND_GOES, None)
def test_live_and_later_and_elsewhere_the_same_is_told(history: list[tuple[Any, ...]], data: Any) -> None:
    """Wherever the tables stand: those of the memberships, when they are read, and those of what they claim."""
    chat = Chat()
    for step in history:
        chat.play(*step)
    events = chat.events
    deleted = {
        (event.message.room_id, event.message.seq): True for event in events if isinstance(event, MessageDeleted)
    }

    def places() -> list[tuple[int, int, int, int]]:
        """A token; where the tables stand for certain, and where in truth; how much the process remembers."""
        n = len(events)
        if data is None:
            return [(s, a, t, 1 + s % 5) for s in range(n + 1) for a in range(n + 1) for t in {a, n}]
        place = st.integers(0, n)
        since, applied, ahead = (data.draw(place) for _ in range(3))
        return [(since, applied, max(applied, ahead), data.draw(st.integers(1, 30)))]

    async def scenario() -> None:
        live = Scene([])
        ear = await live.hello(0)
        await live.goes_on(*events)
        whole = told(ear.frames, deleted)
        for since, applied, truth, remembered in places():
            elsewhere = Scene(events, remembered)
            known = bobs_roles(events[:truth])
            replay = told((await elsewhere.replay(since, known, applied=applied)).frames, deleted)
            state = told((await elsewhere.hello(applied, known)).frames, deleted)
            await elsewhere.feed.stop()
            for again, begin in ((replay, since), (state, applied)):
                expected = [each for each in whole if place_of(each) > begin]
                assert again == expected, (begin, applied, truth)

    play(scenario)


def place_of(event: Told) -> int:
    return resume_tokens.decode("a log", event.id).offsets.get(0, 0)
