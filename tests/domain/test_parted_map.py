"""A map in parts is a map, and each change touches few parts."""

from typing import TypeAlias

import pytest
from hypothesis import given
from hypothesis import strategies as st

from falcon.domain.parted_map import IdMap, Part, PartedMap, id_map, with_entry

MOST = 4
KEYS = st.integers(1, 60)
Change: TypeAlias = tuple[int, int | None]  # key, and its value; None if it is deleted
CHANGES = st.lists(st.tuples(KEYS, st.none() | st.integers(1, 9)), max_size=150)


def changed(after: "PartedMap[int]", before: "PartedMap[int]") -> int:
    return len(set(after.parts) - set(before.parts))


@given(st.dictionaries(KEYS, st.integers(1, 9)), CHANGES)
def test_it_has_what_a_dict_has(entries: dict[int, int], changes: list[Change]) -> None:
    parted = PartedMap.from_entries(MOST, entries.items())
    for key, value in changes:
        before, was = parted, dict(parted)
        if value is not None:
            parted = parted.set(key, value)
            entries[key] = value
        elif key in entries:
            parted = parted.delete(key)
            del entries[key]
        else:
            with pytest.raises(KeyError):
                parted.delete(key)
        assert before == was, "a map never changes"
        assert changed(parted, before) <= 3, "its part, and two where that or another is split"
    assert parted == entries
    assert len(parted) == len(entries)
    assert sorted(parted) == sorted(entries)
    assert [parted.get(key) for key in range(70)] == [entries.get(key) for key in range(70)]
    assert [key in parted for key in range(70)] == [key in entries for key in range(70)]


def test_parts_are_about_equally_full_however_the_ids_follow_one_another() -> None:
    for step in (1, 64, 1_000):
        grown: PartedMap[int] = PartedMap.from_entries(256)
        for number in range(20_000):
            grown = grown.set(1_000 + number * step, 1)
        assert len(grown.parts) == 79
        assert max(len(part.entries) for part in grown.parts) < 2 * 256
        assert len(PartedMap.from_entries(256, grown.items()).parts) == 79, "also where all are there at once"


def test_a_map_is_parted_once_it_has_more_than_a_part_has() -> None:
    entries: IdMap[int] = id_map(MOST, [(key, key) for key in range(MOST - 1)])
    for key in range(10):
        entries = with_entry(entries, MOST, key, -key)
        assert isinstance(entries, PartedMap) is (key >= MOST)
        assert isinstance(id_map(MOST, entries.items()), PartedMap) is (key >= MOST)
    assert entries == {key: -key for key in range(10)}


def test_a_part_is_read_when_it_is_needed_and_once() -> None:
    read: list[int] = []
    whole = PartedMap.from_entries(MOST, [(key, key) for key in range(40)])

    def stored(place: int) -> Part[int]:
        def entries():  # type: ignore[no-untyped-def]
            read.append(place)
            return whole.parts[place].entries

        return Part(read=entries, stored=str(place))

    lazy = PartedMap(MOST, tuple(map(stored, range(len(whole.parts)))), len(whole))
    assert len(lazy) == 40
    assert read == []
    assert (lazy[7], lazy.get(7), 7 in lazy) == (7, 7, True)
    assert lazy.set(7, 8)[7] == 8
    assert len(read) == 1
    assert lazy == whole
    assert sorted(read) == list(range(len(whole.parts)))
