"""The heap, by class: what grows is found wherever it is kept."""

import subprocess
import sys

from falcon.telemetry import heap

# In a process of its own, where there is not much beside it.
GROWS = """
import gc
import msgspec
from falcon.telemetry import heap

class Visit(msgspec.Struct):
    page: bytes  # it holds nothing that could lead back to it, so the collector does not track it

visits = []
gc.collect()
gc.freeze()
before = heap.count_objects({})["classes"]
visits.extend(Visit(b"%d" % number * 1_000) for number in range(5_000))
assert not gc.is_tracked(visits[0])
after = heap.count_objects({})
assert after["complete"]
print(after["classes"]["__main__.Visit"][0], after["classes"]["bytes"][1] - before["bytes"][1])
"""


def test_what_grows_is_found_though_its_list_was_frozen_and_it_is_not_tracked_itself() -> None:
    done = subprocess.run([sys.executable, "-c", GROWS], capture_output=True, text=True, check=True, timeout=60)
    count, more_bytes = map(int, done.stdout.split())
    assert count == 5_000
    assert more_bytes > 10_000_000


def test_only_the_last_few_counts_are_kept() -> None:
    heaps = heap.Heaps(most=2)
    numbers = [heaps.keep("serve-0", {"classes": {}}) for _ in range(3)]
    assert [heaps.get(number, "serve-0") is not None for number in numbers] == [False, True, True]
    assert heaps.get(numbers[2], "shard-0") is None, "it is another process's"
