"""An edge never believes more of the tables than they show."""

from collections.abc import Mapping

from falcon.adapters.hbase.known_positions import KnownPositions
from falcon.adapters.hbase.meta import Generations
from falcon.journal.envelope import Position
from falcon.read.store import Fill, Moves, Reached

LIVE = {"timeline": Generations(2, 2), "rooms": Generations(1, 1)}


def moves(projection: str, generation: int, offset: int, quiet_since: Mapping[str, int] | None = None) -> Moves:
    return Moves(projection, generation, {0: Reached(Position(offset, 1, offset), quiet_since or {})})


def known(*told: Moves) -> KnownPositions:
    positions = KnownPositions()
    for each in told:
        positions.learn(each)
    return positions


def shown(positions: KnownPositions) -> int:
    return positions.shown(LIVE, [0], None)[0].offset


def test_reads_show_what_the_slowest_projection_has_applied() -> None:
    assert shown(known(moves("timeline", 2, 9), moves("rooms", 1, 7))) == 7


def test_nothing_is_known_to_be_shown_before_all_projections_were_heard() -> None:
    positions = known(moves("timeline", 2, 9))
    assert not positions.know(LIVE, [0])
    assert shown(positions) == 0
    positions.learn(moves("rooms", 1, 7))
    assert positions.know(LIVE, [0])
    assert not positions.know(LIVE, [0, 1])


def test_what_comes_late_takes_nothing_back() -> None:
    assert shown(known(moves("timeline", 2, 9), moves("rooms", 1, 9), moves("rooms", 1, 3))) == 9


def test_a_projection_that_had_nothing_to_write_shows_what_another_one_confirms() -> None:
    assert shown(known(moves("timeline", 2, 9, {"rooms": 4}), moves("rooms", 1, 4))) == 9
    assert shown(known(moves("timeline", 2, 9, {"rooms": 4}), moves("rooms", 1, 3))) == 3


def test_tables_that_have_been_replaced_say_nothing() -> None:
    positions = known(moves("timeline", 1, 99), moves("rooms", 1, 9))
    assert not positions.know(LIVE, [0])
    assert shown(positions) == 0


def test_rebuilt_tables_count_once_queries_look_at_them() -> None:
    positions = known(moves("timeline", 2, 5), moves("rooms", 1, 9), moves("timeline", 3, 9))
    assert shown(positions) == 5
    assert positions.are_of_newer_tables(moves("timeline", 3, 9), LIVE)
    switched = {**LIVE, "timeline": Generations(3, 3)}
    assert positions.shown(switched, [0], None)[0].offset == 9
    positions.drop_before(switched)
    assert not positions.know(LIVE, [0])


def test_tables_that_are_being_filled_hold_no_read_back() -> None:
    filling = {**LIVE, "rooms": Generations(1, 1, fill=Fill.FILLING)}
    positions = known(moves("timeline", 2, 9), moves("rooms", 1, 0))
    assert positions.shown(filling, [0], None)[0].offset == 9


def test_what_is_doubted_is_not_known() -> None:
    positions = known(moves("timeline", 2, 9), moves("rooms", 1, 9))
    positions.forget([1])
    assert positions.know(LIVE, [0])
    positions.forget([0])
    assert not positions.know(LIVE, [0])
