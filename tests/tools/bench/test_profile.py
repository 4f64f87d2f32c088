"""What a profile says of where the time goes."""

from tools.bench.figures import Sample
from tools.bench.profile import Comparison, Part, Profile, document, part_of, parts

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


def test_a_document_says_what_each_part_costs_a_request() -> None:
    profile = Profile("embedded, send", "serve", 2_000.0, 400.0, [Part("edge", 0.25, EDGE), Part("dust", 0.001, LOOP)])
    text = document([profile], [])
    assert "2,000 requests/s, 400 µs of CPU each." in text
    assert f"| edge | 25% | 100 | `{EDGE}` |" in text
    assert "dust" not in text


def sample(cpu: float, rate: float) -> Sample:
    return Sample(rate, 1.0, 2.0, cpu, None, 0, 0, 0.5, 0.0, 40.0)


def test_two_versions_are_compared_round_by_round() -> None:
    before = [sample(200, 1_000), sample(400, 500), sample(210, 900)]
    now = [sample(100, 2_000), sample(300, 1_000), sample(105, 900)]
    text = document([], [Comparison("send", before, now)])
    assert "| send | 210 | 105 | 0.50× (0.50×–0.75×) | 2.00× (1.00×–2.00×) |" in text
