"""A stream is followed while it comes, without a log: each message once, in order."""

from tools.people.follower import Follower

ROOM = 640


def following(last: int) -> Follower:
    follower = Follower()
    follower.hello({ROOM: last})
    return follower


def test_a_stream_that_continues_where_it_began_is_in_order() -> None:
    follower = following(4)
    assert follower.posted(ROOM, 5) == follower.posted(ROOM, 6) == []
    assert follower.reach(ROOM) == 6


def test_a_stream_with_a_gap_says_so_once() -> None:
    follower = following(4)
    assert follower.posted(ROOM, 6) == [f"room {ROOM}: seq 6 comes without seq 5 on a stream"]
    assert follower.posted(ROOM, 7) == []


def test_an_event_that_comes_twice() -> None:
    follower = following(4)
    follower.posted(ROOM, 5)
    assert follower.posted(ROOM, 5) == [f"room {ROOM}: seq 5 comes twice on a stream"]


def test_after_a_long_absence_the_stream_continues_behind_what_was_read() -> None:
    follower = following(4)
    follower.caught_up_to(ROOM, 500)
    assert follower.posted(ROOM, 501) == []
