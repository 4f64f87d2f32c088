"""Presence, from what the processes of a Falcon tell one another."""

from falcon.streams.presence import FORGOTTEN_SECONDS, PresenceTable

ANNA, BEN = 1, 2
TEA, COFFEE = 10, 20


def test_the_first_process_that_has_somebody_is_news_and_the_next_is_none() -> None:
    presence = PresenceTable()
    assert presence.here("one", ANNA, [TEA], 0.0)
    assert not presence.here("two", ANNA, [TEA], 0.0)
    assert not presence.here("one", ANNA, [TEA], 1.0)


def test_one_is_gone_with_the_last_process_and_the_rooms_are_told() -> None:
    presence = PresenceTable()
    presence.here("one", ANNA, [TEA], 0.0)
    presence.here("two", ANNA, [TEA, COFFEE], 0.0)
    assert presence.gone("one", ANNA) is None
    assert presence.gone("one", ANNA) is None, "said twice"
    assert presence.gone("two", ANNA) == frozenset({TEA, COFFEE})
    assert presence.gone("two", ANNA) is None
    assert presence.among([TEA, COFFEE]) == set()


def test_those_who_share_a_room_are_found() -> None:
    presence = PresenceTable()
    presence.here("one", ANNA, [TEA], 0.0)
    presence.here("one", BEN, [TEA, COFFEE], 0.0)
    assert presence.among([TEA]) == {ANNA, BEN}
    assert presence.among([COFFEE]) == {BEN}
    presence.here("one", BEN, [COFFEE], 1.0)  # has left the tea kitchen
    assert presence.among([TEA]) == {ANNA}


def test_who_was_with_a_process_that_is_silent_is_gone_unless_another_has_them() -> None:
    presence = PresenceTable()
    presence.here("killed", ANNA, [TEA], 0.0)
    presence.here("killed", BEN, [COFFEE], 0.0)
    presence.here("other", BEN, [COFFEE], 0.0)
    assert presence.alive("other", FORGOTTEN_SECONDS)
    assert presence.forgotten(FORGOTTEN_SECONDS) == []
    assert presence.forgotten(FORGOTTEN_SECONDS + 1) == [(ANNA, frozenset({TEA}))]
    assert presence.among([TEA, COFFEE]) == {BEN}
    assert not presence.alive("killed", FORGOTTEN_SECONDS + 2), "it comes back as one that nobody knows"
