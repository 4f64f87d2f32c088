"""Presence and typing among the processes of a Falcon: told to the ones that asked, whatever happens to processes and
signals."""

import asyncio
import base64
import sys
from collections.abc import Callable
from functools import cache
from random import Random
from types import FrameType
from typing import Any

import msgspec
import pytest

from falcon.streams import keepers
from falcon.streams.keepers import SLOTS, Keepers, slot_of
from falcon.streams.replicated_maps import ReplicatedMaps
from tests.streams.processes import Network, Stream

ANNA, BEN, CLEO = 65, 130, 195
TEA, COFFEE = 321, 386
TOLD_SECONDS = 5.0
DEAD_SECONDS = 20.0  # after so long a process that was killed is forgotten
REPAIRED_SECONDS = 15.0

NAMES = ("one", "two", "three", "four", "five")


@pytest.fixture
def network() -> Network:
    return Network(*NAMES)


def watching(network: Network, account_id: int = ANNA) -> list[Stream]:
    """Ben watches the account in each process."""
    return [each.begins(BEN, [TEA], [account_id]) for each in network.processes.values()]


def seen(streams: list[Stream], account_id: int = ANNA) -> bool:
    return all(account_id in each.online for each in streams)


def unseen(streams: list[Stream], account_id: int = ANNA) -> bool:
    return not any(account_id in each.online for each in streams)


# --- the people who asked --------------------------------------------------------------------------------------------


def test_a_coming_and_a_going_are_told_within_five_seconds_in_every_process(network: Network) -> None:
    bens = watching(network)
    hers = network["one"].begins(ANNA, [TEA])
    assert network.until(lambda: seen(bens)) <= TOLD_SECONDS
    hers.ends()
    assert network.until(lambda: unseen(bens)) <= TOLD_SECONDS
    assert all(each.told == [{"account_id": ANNA, "online": online} for online in (True, False)] for each in bens)


def test_who_begins_to_watch_is_told_who_is_online_already(network: Network) -> None:
    network["one"].begins(ANNA, [TEA])
    network.passes(60)
    bens = watching(network)
    assert network.until(lambda: seen(bens)) <= TOLD_SECONDS
    again = network["one"].begins(BEN, [TEA], [ANNA])
    assert again.online == {ANNA}, "the process knows it"


def test_only_those_who_named_an_account_are_told(network: Network) -> None:
    names_nobody, names_ben = network["two"].begins(CLEO, [TEA]), network["two"].begins(CLEO, [TEA], [BEN])
    network["one"].begins(ANNA, [TEA])
    network.passes(10)
    assert names_nobody.told == names_ben.told == []


def test_only_members_of_a_common_room_are_told(network: Network) -> None:
    cleo, ben = network["two"].begins(CLEO, [COFFEE], [ANNA]), network["two"].begins(BEN, [TEA], [ANNA])
    anna = network["one"].begins(ANNA, [TEA])
    network.passes(10)
    assert (cleo.online, ben.online) == (set(), {ANNA})
    anna.joins(COFFEE)
    ben.leaves(TEA)
    assert network.until(lambda: (cleo.online, ben.online) == ({ANNA}, set())) <= TOLD_SECONDS


def test_a_room_that_is_made_with_many_members_shows_them_to_all_in_time(network: Network) -> None:
    accounts = range(1_000, 1_100)
    streams = [network["one"].begins(account_id, [], accounts) for account_id in accounts]
    network.passes(5)
    for stream in streams:
        stream.joins(TEA)
    everybody = set(accounts)
    assert network.until(lambda: all(each.online == everybody - {each.account_id} for each in streams)) <= TOLD_SECONDS


def test_an_account_with_two_streams_is_gone_with_the_last(network: Network) -> None:
    bens = watching(network)
    first, second = network["one"].begins(ANNA, [TEA]), network["two"].begins(ANNA, [TEA])
    network.until(lambda: seen(bens))
    first.ends()
    network.passes(30)
    assert all(len(each.told) == 1 for each in bens)
    second.ends()
    assert network.until(lambda: unseen(bens)) <= TOLD_SECONDS


def test_who_comes_back_soon_was_never_away(network: Network) -> None:
    bens = watching(network)
    hers = network["one"].begins(ANNA, [TEA])
    network.until(lambda: seen(bens))
    hers.ends()
    network.passes(1)
    network["two"].begins(ANNA, [TEA])
    network.passes(30)
    assert all(len(each.told) == 1 for each in bens)


# --- processes that start and end -------------------------------------------------------------------------------------


def test_those_who_were_with_a_killed_process_are_gone(network: Network) -> None:
    hers = network["one"]
    bens = [each for each in watching(network) if each.process is not hers]
    hers.begins(ANNA, [TEA])
    network.until(lambda: seen(bens))
    network.kills("one")
    assert network.until(lambda: unseen(bens)) <= DEAD_SECONDS


def test_those_who_were_with_a_process_that_never_gave_a_sign_of_life_are_gone(network: Network) -> None:
    ben = network["one"].begins(BEN, [TEA], [ANNA])
    network.passes(1)
    rooms = base64.b64encode(TEA.to_bytes(8, "little")).decode()
    part = ["h", slot_of(ANNA), False, [[ANNA, rooms]], []]
    last_words = msgspec.json.encode({"type": "parts", "process": "killed", "parts": [part]})
    network.keeper_of(ANNA).signals._receive(last_words)
    network.until(lambda: seen([ben]))
    assert network.until(lambda: unseen([ben])) <= DEAD_SECONDS


def test_nobody_is_missed_when_the_keeper_is_killed(network: Network) -> None:
    keeper = network.keeper_of(ANNA)
    bens = [each for each in watching(network) if each.process is not keeper]
    here, there = (each.process for each in bens[:2])
    hers = here.begins(ANNA, [TEA])
    network.until(lambda: seen(bens))
    network.kills(keeper.name)
    network.passes(60)
    assert all(len(each.told) == 1 for each in bens)
    hers.ends()
    assert network.until(lambda: unseen(bens)) <= TOLD_SECONDS
    there.begins(ANNA, [TEA])
    assert network.until(lambda: seen(bens)) <= TOLD_SECONDS


def test_nobody_is_missed_while_processes_start_and_end(network: Network) -> None:
    """Each of them becomes the keeper of some, and others keep these after it."""
    accounts = range(1_000, 1_100)
    ben = network["one"].begins(BEN, [TEA], accounts)
    for account_id in accounts:
        network["two"].begins(account_id, [TEA])
    network.until(lambda: len(ben.online) == len(accounts))
    for name in ("six", "seven", "eight"):
        network.starts(name)
        network.passes(8)
        network.kills(name)
        network.passes(30)
    assert len(ben.told) == len(accounts)


def test_a_process_that_ends_hands_over_at_once(network: Network) -> None:
    keeper = network.keeper_of(ANNA)
    rest = [each for each in watching(network) if each.process is not keeper]
    network.passes(1)
    asyncio.run(keeper.signals.stop())
    network.kills(keeper.name)
    rest[0].process.begins(ANNA, [TEA])
    assert network.until(lambda: seen(rest)) <= TOLD_SECONDS


def test_nobody_is_missed_while_a_process_sends_its_streams_to_others(network: Network) -> None:
    drained = network["one"]
    bens = [each for each in watching(network) if each.process is not drained]
    annas, cleos = drained.begins(ANNA, [TEA]), drained.begins(CLEO, [TEA])
    others = watching(network, CLEO)[1:]
    network.until(lambda: seen(bens) and seen(others, CLEO))
    drained.signals.drain()
    annas.ends()
    cleos.ends()
    network.passes(5)
    asyncio.run(drained.signals.stop())
    network.kills("one")
    network["two"].begins(ANNA, [TEA])
    network.passes(60)
    assert all(len(each.told) == 1 for each in bens), "Anna has come back"
    assert unseen(others, CLEO)


@pytest.mark.parametrize("name", NAMES)
def test_a_process_that_was_stopped_for_a_minute_finds_everything_as_it_is(network: Network, name: str) -> None:
    stopped = network[name]
    bens = watching(network)
    (inside,) = [each for each in bens if each.process is stopped]
    outside = [each for each in bens if each is not inside]
    hers, cleos = outside[0].process.begins(ANNA, [TEA]), stopped.begins(CLEO, [TEA])
    others = watching(network, CLEO)
    network.until(lambda: seen(bens) and seen(others, CLEO))
    stopped.paused = True
    network.passes(60)
    assert seen(outside)
    assert unseen([each for each in others if each.process is not stopped], CLEO)
    stopped.paused = False
    assert network.until(lambda: seen(others, CLEO)) <= REPAIRED_SECONDS
    assert len(inside.told) == 1, "it never took the others for dead"
    cleos.ends()
    hers.ends()
    assert network.until(lambda: unseen(bens) and unseen(others, CLEO)) <= TOLD_SECONDS


def test_nobody_is_missed_while_no_signal_arrives(network: Network) -> None:
    bens = watching(network)
    hers = network["one"].begins(ANNA, [TEA])
    network.until(lambda: seen(bens))
    network.loses = lambda sender, receiver: True
    network.passes(120)
    assert all(len(each.told) == 1 for each in bens)
    hers.ends()
    network.passes(10)
    network.loses = lambda sender, receiver: False
    assert network.until(lambda: unseen(bens)) <= REPAIRED_SECONDS


@pytest.mark.parametrize("seed", range(5))
def test_lost_signals_are_made_up_for(network: Network, seed: int) -> None:
    chance = Random(seed)
    accounts = range(1_000, 1_040)
    bens = [each.begins(BEN, [TEA], accounts) for each in network.processes.values()]
    theirs: dict[int, Stream] = {}
    network.loses = lambda sender, receiver: chance.random() < 0.2
    for _ in range(200):
        account_id = chance.choice(accounts)
        if account_id in theirs:
            theirs.pop(account_id).ends()
        else:
            theirs[account_id] = network[chance.choice(NAMES)].begins(account_id, [TEA])
        network.passes(0.5)
    network.loses = lambda sender, receiver: False
    assert network.until(lambda: all(each.online == theirs.keys() for each in bens)) <= REPAIRED_SECONDS


def test_a_lost_signal_costs_one_map_and_not_a_repetition_of_everything(network: Network) -> None:
    accounts = range(1_000, 3_000)
    ben = network["one"].begins(BEN, [TEA], accounts[:500])
    for account_id in accounts:
        network["two"].begins(account_id, [TEA])
    network.until(lambda: len(ben.online) == 500)
    network.passes(10)
    before = sum(each.entries for each in network.processes.values())
    network.passes(60)
    assert sum(each.entries for each in network.processes.values()) == before, "nobody repeats anything"
    network.loses = lambda sender, receiver: sender == "two"
    network["two"].begins(ANNA, [TEA])
    network.passes(0.5)
    network.loses = lambda sender, receiver: False
    network.passes(REPAIRED_SECONDS)
    again = sum(each.entries for each in network.processes.values()) - before
    assert 1 <= again <= 3 * len(accounts) / SLOTS + 8


# --- typing -----------------------------------------------------------------------------------------------------------


def test_typing_is_work_for_the_keeper_and_for_those_that_listen_in_the_room(network: Network) -> None:
    listening = network["one"].begins(BEN, [TEA], kinds=["typing"])
    network["two"].begins(CLEO, [TEA])
    network["three"].begins(CLEO, [COFFEE], kinds=["typing"])
    network.passes(2)
    network["four"].signals.typing(TEA, ANNA)
    network.passes(1)
    assert listening.told == [{"room_id": TEA, "account_id": ANNA}]
    took = {name: (each.taken["types"], each.taken["typing"]) for name, each in network.processes.items()}
    expected = {name: (int(network[name] is network.keeper_of(TEA)), int(name == "one")) for name in NAMES}
    assert took == expected


@pytest.mark.parametrize("who", ["the sender", "the keeper", "the listener"])
def test_typing_that_has_waited_in_a_stopped_process_is_told_to_nobody(network: Network, who: str) -> None:
    keeper = network.keeper_of(TEA)
    sender, listener = [each for each in network.processes.values() if each is not keeper][:2]
    stream = listener.begins(BEN, [TEA], kinds=["typing"])
    network.passes(10)
    stopped = {"the sender": sender, "the keeper": keeper, "the listener": listener}[who]
    stopped.paused = True
    if stopped is sender:
        network.passes(8)
        sender.signals.typing(TEA, ANNA)  # the request comes first when it continues
    else:
        sender.signals.typing(TEA, ANNA)
        network.passes(8)
    stopped.paused = False
    network.passes(5)
    assert stream.told == []
    sender.signals.typing(TEA, ANNA)
    network.passes(1)
    assert stream.told == [{"room_id": TEA, "account_id": ANNA}]


def test_an_account_with_streams_in_every_process_costs_those_that_watch_no_more_than_with_one(
    network: Network,
) -> None:
    rooms = range(TEA, TEA + 100)
    ben = network["one"].begins(BEN, [TEA], [ANNA])
    network["one"].begins(ANNA, rooms)
    network.passes(10)
    told = network["one"].entries
    for name in NAMES[1:]:
        network[name].begins(ANNA, rooms)
    network.passes(10)
    assert ben.online == {ANNA}
    here = sum(network.keeper_of(ANNA) is network["one"] for _ in NAMES[1:])
    assert network["one"].entries - told == here, "a keeper is told by each; what it tells on has not changed"
    assert len(network["one"].signals._presence.rooms_of(ANNA) or ()) == 100


def test_typing_is_told_in_rooms_that_were_joined_and_no_longer_in_those_that_were_left(network: Network) -> None:
    stream = network["one"].begins(BEN, [TEA], kinds=["typing"])
    stream.joins(COFFEE)
    stream.leaves(TEA)
    network.passes(2)
    for room_id, account_id in ((TEA, ANNA), (COFFEE, CLEO)):
        network["two"].signals.typing(room_id, account_id)
    network.passes(1)
    assert stream.told == [{"room_id": COFFEE, "account_id": CLEO}]
    assert network["one"].taken["typing"] == 1


def test_one_of_two_listeners_may_leave(network: Network) -> None:
    stays, goes = (network["one"].begins(BEN, [TEA], kinds=["typing"]) for _ in range(2))
    goes.ends()
    network.passes(2)
    network["two"].signals.typing(TEA, ANNA)
    network.passes(1)
    assert stays.told == [{"room_id": TEA, "account_id": ANNA}]


# --- how it grows -----------------------------------------------------------------------------------------------------

STREAMS, ROOMS, WATCHED = 20, 10, 5


def test_what_a_process_holds_and_takes_does_not_grow_with_the_accounts_online(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each process has as many streams of its own; they watch as many accounts of the whole Falcon."""
    monkeypatch.setattr(keepers, "_scores", cache(keepers._scores))
    few, many = cost_of(5), cost_of(50)
    assert all(after <= 1.1 * before for before, after in zip(few, many, strict=True)), (few, many)


def cost_of(processes: int) -> tuple[float, float, float]:
    """The cost of a process, on average, while every account comes, types and goes: the facts that it holds, the
    facts that it takes, and the signals about typing that it takes."""
    network = Network(*(f"process-{number}" for number in range(processes)))
    chance = Random(7)
    accounts = range(10_000, 10_000 + processes * STREAMS)
    theirs: list[Stream] = []
    for number, process in enumerate(network.processes.values()):
        watched = chance.sample(accounts, STREAMS * WATCHED)
        for each in range(STREAMS):
            rooms = {chance.randrange(1 << 40) for _ in range(ROOMS)}
            account_id = accounts[number * STREAMS + each]
            theirs.append(process.begins(account_id, rooms, watched[each::STREAMS], ["typing"]))
    network.passes(20)
    held = sum(each.held for each in network.processes.values())
    for stream in theirs:
        stream.process.signals.typing(next(iter(stream.subscription.rooms)), stream.subscription.account_id)
    network.passes(2)
    for stream in theirs:
        stream.ends()
    network.passes(10)
    entries = sum(each.entries for each in network.processes.values())
    typed = sum(each.taken["types"] + each.taken["typing"] for each in network.processes.values())
    return held / processes, entries / processes, typed / processes


def test_a_process_forgets_everything_with_its_last_stream(network: Network) -> None:
    streams = [each.begins(BEN, [TEA], [ANNA, CLEO], ["typing"]) for each in network.processes.values()]
    network["one"].begins(ANNA, [TEA]).ends()
    network.passes(10)
    for stream in streams:
        stream.ends()
    network.passes(30)
    assert [each.held for each in network.processes.values()] == [0] * len(NAMES)


def test_a_signal_at_which_this_process_fails_does_not_keep_it_from_hearing_the_next(network: Network) -> None:
    bens = watching(network)
    network["one"].begins(BEN, [TEA], [CLEO])
    part = ["o", slot_of(CLEO), False, [[CLEO, base64.b64encode(b"half a room").decode()]], []]
    network["one"].signals._receive(msgspec.json.encode({"type": "parts", "process": "two", "parts": [part]}))
    network["one"].begins(ANNA, [TEA])
    assert network.until(lambda: seen(bens)) <= TOLD_SECONDS


def test_an_account_in_very_many_rooms_is_shown_to_those_in_its_newest_ones(network: Network) -> None:
    bens = watching(network)
    hers = network["one"].begins(ANNA, range(1_000, 1_500))
    hers.joins(TEA)
    assert network.until(lambda: seen(bens)) <= TOLD_SECONDS


def test_who_stops_watching_costs_the_same_however_many_watch_the_same_accounts(network: Network) -> None:
    """In a company all watch the same accounts, and all streams end when a process drains."""

    def instructions(watchers: int) -> int:
        streams = [network["one"].begins(10_000 + n, [TEA], range(1_000, 1_020)) for n in range(watchers)]
        counted = _instructions(streams.pop().ends)
        for stream in streams:
            stream.ends()
        return counted

    assert instructions(500) < 2 * instructions(20)


def _instructions(act: Callable[[], None]) -> int:
    """How many of Python's own instructions the act takes."""
    counted = 0

    def count(frame: FrameType, event: str, value: object) -> Callable[..., Any]:
        nonlocal counted
        frame.f_trace_opcodes, frame.f_trace_lines = True, False
        counted += event == "opcode"
        return count

    before = sys.gettrace()
    sys.settrace(count)
    try:
        act()
    finally:
        sys.settrace(before)
    return counted


# --- keepers ----------------------------------------------------------------------------------------------------------


def test_all_processes_agree_about_keepers_and_a_new_one_moves_its_own_slots_only() -> None:
    views = [Keepers(name) for name in NAMES]
    for view in views:
        for name in sorted(NAMES, key=lambda name: hash((view.keeper_of(0), name))):
            view.heard(name, 0.0)
    kept = [[view.keeper_of(slot) for slot in range(SLOTS)] for view in views]
    assert all(each == kept[0] for each in kept)
    moved = views[0].heard("six", 0.0)
    after = [views[0].keeper_of(slot) for slot in range(SLOTS)]
    assert {slot for slot in range(SLOTS) if after[slot] != kept[0][slot]} == moved.keys()
    assert SLOTS / 12 < len(moved) < SLOTS / 3
    assert set(views[0].gone("six")) == moved.keys()
    assert [views[0].keeper_of(slot) for slot in range(SLOTS)] == kept[0]


def test_ids_of_one_partition_are_spread_over_the_slots() -> None:
    used = {slot_of(64 * counter + 1) for counter in range(10_000)}
    assert len(used) == SLOTS


def test_a_process_never_takes_itself_for_dead() -> None:
    alone = Keepers("one")
    alone.heard("one", 0.0)
    assert alone.silent() == []
    assert alone.gone("one") == []
    assert keepers.FORGOTTEN_SECONDS < DEAD_SECONDS


def test_what_is_told_at_once_is_bounded_and_the_rest_follows() -> None:
    sender, receiver = ReplicatedMaps(), ReplicatedMaps()
    for key in range(20_000):
        sender.put("other", "h", key, bytes(800))
    sent = 0
    while messages := list(sender.messages(most=10)):
        assert len(messages) <= 10
        for _, parts in messages:
            sent += 1
            assert sum(len(value) for part in parts for _, value in part.put) < 64 << 10
            for part in parts:
                receiver.receive("me", part)
    assert sent > 100
    sums = sender.sums("other")
    assert sums is not None
    assert receiver.compare("me", sums) == ([], [])
