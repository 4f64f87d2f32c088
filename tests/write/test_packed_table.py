"""Numbers under names, packed into bytes."""

from collections import Counter, defaultdict

import pytest
from hypothesis import given
from hypothesis import strategies as st

from falcon.write.packed_table import PackedTable

NAMES = st.one_of(st.integers(0, 40), st.integers(0, 2**64 - 1))


@given(st.lists(st.tuples(NAMES, st.integers(-(2**31), 2**31 - 1), st.booleans()), max_size=300))
def test_each_name_has_the_numbers_that_were_added_and_not_removed(
    steps: list[tuple[int, int, bool]],
) -> None:
    table = PackedTable()
    expected: dict[int, list[int]] = defaultdict(list)
    for name, number, removes in steps:
        if removes and expected[name]:
            table.remove(name, expected[name].pop(0))
        else:
            table.add(name, number)
            expected[name].append(number)
    assert {name: sorted(table.get(name)) for name in expected} == {n: sorted(ns) for n, ns in expected.items()}
    assert len(table) == sum(map(len, expected.values()))


def test_it_grows_and_shrinks_by_a_bucket_at_a_time() -> None:
    table = PackedTable()
    for name in range(10_000):
        before = len(table._buckets)
        table.add(name, name)
        assert len(table._buckets) - before in (0, 1)
    assert max(map(len, table._buckets)) < 12 * 64
    for name in range(10_000):
        table.remove(name, name)
    assert (len(table), len(table._buckets)) == (0, 1)


@given(st.lists(st.tuples(st.integers(0, 40), st.booleans()), max_size=300))
def test_it_counts(steps: list[tuple[int, bool]]) -> None:
    table, expected = PackedTable(), Counter[int]()
    for name, less in steps:
        by = -1 if less else 1
        table.change(name, by)
        expected[name] += by
    assert {name: sum(table.get(name)) for name in range(41)} == {name: expected[name] for name in range(41)}
    assert len(table) == sum(count != 0 for count in expected.values()), "what is counted no more takes no place"


def test_bytes_of_two_entries_are_no_entry() -> None:
    """The end of one entry and the beginning of the next look like the name that is wanted."""
    table = PackedTable()
    table.add(7, 0x01020304)
    table.add(0x05060708, 9)
    looks_like = int.from_bytes(bytes([4, 3, 2, 1, 8, 7, 6, 5]), "little")
    assert table.get(looks_like) == []
    with pytest.raises(KeyError):
        table.remove(looks_like, 0)
    with pytest.raises(KeyError):
        table.remove(7, 5)
