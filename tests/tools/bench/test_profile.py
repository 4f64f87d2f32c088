"""A profile tells where the time goes."""

from tests.tools.bench.test_report import sample
from tools.bench.profile import Comparison, Part, Profile, comparison_table, part_of, parts, profile_table

EDGE = "ask (falcon/http/edge.py:10)"
ROUTING = "app (starlette/routing.py:20)"
LOOP = "run (uvloop/__init__.py:92)"
OURS = f"{LOOP};{ROUTING};{EDGE}"


def test_a_look_counts_for_what_is_innermost() -> None:
    assert part_of([LOOP, ROUTING, EDGE]) == "edge: routes, tokens, answers"
    assert part_of([LOOP, EDGE, "loads (json/decoder.py:1)"]) == "edge: routes, tokens, answers"
    assert part_of([LOOP]) == "uvloop: sockets and timers"
    assert part_of(["main (other/program.py:1)"]) == "the rest"


def test_parts_come_largest_first_with_their_shares() -> None:
    found = parts(f"{OURS} 3\n{LOOP};{ROUTING} 6\n{LOOP} 1\n")
    assert [(part.name.partition(":")[0], part.share) for part in found] == [
        ("Starlette", 0.6),
        ("edge", 0.3),
        ("uvloop", 0.1),
    ]
    assert found[1].innermost == EDGE


def test_a_table_says_what_each_part_costs_a_request() -> None:
    profile = Profile("embedded, send", "serve", 2_000.0, 400.0, [Part("edge", 0.25, EDGE), Part("dust", 0.001, LOOP)])
    table = profile_table(profile)
    assert table.note == "2,000 requests/s, 400 µs of CPU each."
    assert table.rows == [("edge", "25%", "100", f"`{EDGE}`")]


def test_two_versions_are_compared_round_by_round() -> None:
    before = [sample(1_000, 200), sample(500, 400), sample(900, 210)]
    now = [sample(2_000, 100), sample(1_000, 300), sample(900, 105)]
    table = comparison_table([Comparison("send", before, now)])
    assert table.rows == [("send", "210", "105", "0.50× (0.50×–0.75×)", "2.00× (1.00×–2.00×)")]
