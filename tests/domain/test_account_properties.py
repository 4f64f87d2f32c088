"""Properties of accounts, their tokens and their direct rooms, after any requests in any order."""

from collections.abc import Iterator

import pytest
from hypothesis import given, note
from hypothesis import strategies as st

from falcon.domain import limits
from falcon.domain.decision import Decided
from falcon.domain.rejections import Rejection
from falcon.features.accounts.rules import CreateAccount, IssueToken, RevokeToken, TokenIssued
from falcon.features.catalogue import Command
from falcon.features.messages.rules import PostMessage
from falcon.features.rooms.rules import CreateRoom, ImportRoom, Invitation, OpenDirect, Role, RoomCreated
from tests.support.builders import NOW_TEXT, nth_id, tried
from tests.support.given import World, plain

TOKENS = 2

# Whatever is made gets the next id, so the first few ids are the ones that commands are about.
ids = st.integers(1, 8).map(nth_id)
names = st.sampled_from(["Ann", "Bob", "a\0b"])
roles: st.SearchStrategy[Role] = st.sampled_from(["admin", "member", "readonly"])
invitations = st.lists(st.builds(Invitation, ids, roles), max_size=3).map(tuple)
commands: st.SearchStrategy[Command] = st.one_of(
    st.builds(CreateAccount, names, st.sampled_from(["owner", "member", "guest"]), st.none() | st.just("c0ffee")),
    st.builds(CreateRoom, ids, names, names, invitations),
    st.builds(OpenDirect, ids, ids),
    st.builds(IssueToken, ids, st.sampled_from(["c0ffee", "7ea"])),
    st.builds(RevokeToken, ids, st.integers(0, 4)),
    st.builds(ImportRoom, names, st.sampled_from(["group", "direct"]), names, names, st.just(NOW_TEXT), invitations),
    st.builds(PostMessage, ids, ids, names),
)
accounts: st.SearchStrategy[list[Command]] = st.lists(st.builds(CreateAccount, names), min_size=2, max_size=4)
histories = st.tuples(accounts, st.lists(commands, max_size=40)).map(lambda both: both[0] + both[1])


@pytest.fixture(autouse=True, scope="module")
def _few_tokens() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(limits, "TOKENS_MAX", TOKENS)
        yield


def copied(world: World) -> list[dict[str, object]]:
    return [plain(state) for state in (*world.rooms.values(), *world.accounts.values())]


@tried(200)
@given(histories)
def test_whatever_is_asked_the_world_stays_sound(asked: list[Command]) -> None:
    world, made = World(), 0
    pairs: dict[tuple[int, ...], int] = {}
    tokens: set[tuple[int, int]] = set()
    for command in asked:
        note(str(command))
        before = copied(world)
        decision = world.decide(command, new_id=nth_id(made + 1))
        assert isinstance(decision, Decided | Rejection)
        if not isinstance(decision, Decided):
            continue
        after = world.after(*decision.events)
        assert copied(world) == before, "the states of before are as they were"
        world, made = after, len(after.rooms) + len(after.accounts)
        for event in decision.events:
            if isinstance(event, RoomCreated) and event.kind == "direct":
                pair = tuple(sorted(member.account_id for member in event.members))
                assert pair not in pairs, "two accounts have one room, for ever"
                pairs[pair] = event.room_id
            if isinstance(event, TokenIssued):
                assert (event.account_id, event.token_id) not in tokens, "a token's number is its own"
                tokens.add((event.account_id, event.token_id))
        for account in world.accounts.values():
            assert len(account.tokens) <= TOKENS
            assert account.tokens_issued == sum(owner == account.account_id for owner, _ in tokens)
            for peer, room_id in account.directs.items():
                assert peer > account.account_id, "kept by the smaller of the two"
                assert pairs[account.account_id, peer] == room_id
                assert world.rooms[room_id].peer_of(peer) == account.account_id
        assert sum(len(account.directs) for account in world.accounts.values()) == len(pairs)
        assert all(room.admins for room in world.rooms.values() if room.kind == "group")


@tried(50)
@given(st.lists(st.builds(OpenDirect, ids, ids), max_size=20))
def test_opening_a_direct_room_gives_the_same_room_to_both_each_time(asked: list[OpenDirect]) -> None:
    world = World()
    for counter in range(1, 9):
        decided = world.decide(CreateAccount("Ann"), new_id=nth_id(counter))
        assert isinstance(decided, Decided)
        world = world.after(*decided.events)
    rooms: dict[frozenset[int], int] = {}
    for number, command in enumerate(asked, 9):
        decision = world.decide(command, new_id=nth_id(number))
        if isinstance(decision, Decided):
            world = world.after(*decision.events)
            room_id: int = decision.answer.room_id  # type: ignore[union-attr]
            assert rooms.setdefault(frozenset((command.by, command.peer)), room_id) == room_id
        else:
            assert command.by == command.peer
