"""The heap, by class: what grows is found wherever it is kept."""

import gc

import msgspec

from falcon.telemetry import heap


class Visit(msgspec.Struct):
    """The collector does not track these: they hold nothing that could lead back to them."""

    page: bytes


_visits: list[Visit] = []


def of(counted: dict[str, object], name: str) -> tuple[int, int]:
    """How many, and their bytes."""
    classes = counted["classes"]
    assert isinstance(classes, dict)
    count, size = classes.get(name, (0, 0))
    return count, size


def test_what_a_module_keeps_is_found_though_it_was_frozen_and_is_not_tracked() -> None:
    gc.freeze()
    try:
        _visits.extend(Visit(b"%d" % number) for number in range(5_000))
        assert not gc.is_tracked(_visits[0])
        assert of(heap.count({}), f"{__name__}.Visit")[0] == 5_000
    finally:
        _visits.clear()
        gc.unfreeze()


def test_bytes_are_counted_too() -> None:
    before = of(heap.count({}), "bytes")[1]
    kept = [bytes([number % 256]) * 10_000 for number in range(100)]
    assert of(heap.count({}), "bytes")[1] - before > 900_000
    assert len(kept) == 100


def test_only_the_last_few_counts_are_kept() -> None:
    heaps = heap.Heaps(most=2)
    numbers = [heaps.keep("serve-0", {"classes": {}}) for _ in range(3)]
    assert [heaps.get(number, "serve-0") is not None for number in numbers] == [False, True, True]
    assert heaps.get(numbers[2], "shard-0") is None, "it is another process's"
