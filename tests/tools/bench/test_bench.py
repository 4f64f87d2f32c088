"""What the benchmark makes of figures; nothing here measures anything."""

from pathlib import Path

import msgspec
import pytest

from tools.bench import pictures, slower
from tools.bench.bench_options import SECTIONS, parse
from tools.bench.chapters import tables
from tools.bench.figures import (
    PAGE,
    SEND,
    SPREAD,
    FanOut,
    Grown,
    Growth,
    IdleSubscribers,
    MemoryUse,
    ProcessMemory,
    Results,
    Returned,
    Sample,
    Throughput,
    Walks,
)
from tools.bench.growth import USED_ROOMS, Size, sizes
from tools.bench.pictures import Drawn
from tools.bench.report import markdown
from tools.bench.targets import FALCON, FALCON_TCP, verdicts
from tools.bench.walks import LONG_ROOMS, Past, distinct_windows

BACK = "back through 10,000 messages"
LIST = "list 1,000 rooms"


def sample(rate: float = 100.0, cpu: float = 100.0, p50: float = 1.0, p99: float = 2.0) -> Sample:
    return Sample(rate, p50, p99, cpu, 1.0, refused=0, broken=0, generator=0.1, others=0.0, speed=40.0)


def throughput(samples: dict[str, dict[str, list[Sample]]]) -> Throughput:
    return Throughput(
        seconds=3, rooms=100, accounts=20, text_bytes=100, samples=samples, page_bytes={FALCON: 12_000}, idle={}
    )


def everything() -> Results:
    sends = {f"send, {flight} in flight": [sample(), sample(rate=120.0)] for flight in (1, 16, 64, 256)}
    return Results(
        machine={"Processor": "two cores"},
        throughput=throughput({"crud": sends, FALCON: sends, FALCON_TCP: sends}),
        streams={
            "falcon-sse, 200": [FanOut(200, 100, 0, cpu=6.0, lone_cpu=802.0, p50=2.0, p99=5.0, most=9.0)],
            "centrifugo-sse, 200": [FanOut(200, 100, 0, cpu=10.0, lone_cpu=10.0, p50=2.0, p99=4.0, most=9.0)],
        },
        returned=[Returned(1_000, first=0.5, p50=0.9, p99=1.2, last=1.3)],
        measuring={"sends/s": [[0.99, 0.97], [1.0, 0.99]]},
        idle={
            "falcon-sse": IdleSubscribers(10_000, before=60.0, during=160.0, share=0.01),
            "centrifugo-sse": IdleSubscribers(10_000, before=60.0, during=360.0, share=0.01),
        },
        walks=Walks(10_000, 1_000, 50, {server: {BACK: [sample()], LIST: [sample()]} for server in ("crud", FALCON)}),
        growth=Growth(100, [grown(10_000, 100), grown(1_000_000, 100), grown(10_000, 100_000, spread=300.0)]),
    )


def grown(messages: int, rooms: int, send: float = 100.0, page: float = 200.0, spread: float | None = None) -> Grown:
    samples = {SEND: [sample(cpu=send)], PAGE: [sample(cpu=page)]}
    return Grown(messages, rooms, samples if spread is None else {**samples, SPREAD: [sample(cpu=spread)]})


# --- walks ------------------------------------------------------------------------------------------------------------


def test_reading_a_room_back_takes_as_many_pages_as_its_messages_fill() -> None:
    walks = Walks(messages=10_001, rooms=1_000, page=50, samples={FALCON: {BACK: [], LIST: []}})
    assert walks.pages(BACK) == 201
    assert walks.pages(LIST) == 20


def test_what_is_unread_is_what_was_said_less_what_was_read() -> None:
    past = Past("token", list(range(1, LONG_ROOMS + 5)), messages=100)
    read = sum(seq for _, seq in past.marks())
    assert past.unread() == LONG_ROOMS * 100 + 4 * 3 - read
    assert len(past.long) == LONG_ROOMS


def test_windows_are_different_pages_within_the_rooms() -> None:
    windows = distinct_windows([64, 128], messages=100, most=60)
    assert len(set(windows)) == 60
    befores = [int(path.rpartition("=")[2]) for path in windows]
    assert min(befores) >= 51 and max(befores) <= 101
    assert windows == distinct_windows([64, 128], messages=100, most=60)


def test_rooms_with_less_than_a_page_have_one_window_each() -> None:
    assert sorted(distinct_windows([64, 128], messages=3, most=60)) == [
        "/v1/rooms/128/messages?limit=50&before=4",
        "/v1/rooms/64/messages?limit=50&before=4",
    ]


def test_the_time_of_a_walk_is_its_pages_at_the_rate_that_was_found() -> None:
    walks = Walks(10_000, 1_000, 50, {FALCON: {BACK: [sample(rate=1_000.0)]}})
    (table,) = [table for table in tables(Results(walks=walks)) if table.title == "Reading everything"]
    assert table.rows[0][:2] == (f"{BACK}, Falcon", "200")


# --- growth -----------------------------------------------------------------------------------------------------------


def test_it_grows_by_tens_from_one_smallest_size() -> None:
    assert sizes(1_000_000, 100_000) == [
        Size(10_000, USED_ROOMS),
        Size(100_000, USED_ROOMS),
        Size(1_000_000, USED_ROOMS),
        Size(10_000, 1_000),
        Size(10_000, 10_000),
        Size(10_000, 100_000),
    ]


def test_growth_that_stays_flat_is_told_from_growth_that_does_not() -> None:
    flat = Growth(100, [grown(10_000, 100), grown(1_000_000, 100, send=110.0), grown(10_000, 100_000, page=210.0)])
    steep = Growth(100, [grown(10_000, 100), grown(1_000_000, 100, send=200.0), grown(10_000, 100_000)])
    assert all(verdict.met for verdict in verdicts(Results(growth=flat)))
    missed = [verdict for verdict in verdicts(Results(growth=steep)) if not verdict.met]
    assert [verdict.what for verdict in missed] == ["CPU a send with 1,000,000 messages, of that with 10,000"]
    assert missed[0].found.startswith("2.00×")


def test_what_a_room_costs_that_nobody_used_lately_is_said() -> None:
    growth = Growth(100, [grown(10_000, 100), grown(10_000, 100_000, send=100.0, spread=400.0)])
    text = " ".join(slower.paragraphs(Results(growth=growth)))
    assert "costs 4.0× the CPU" in text and "100,000 rooms" in text


def test_a_page_that_costs_more_in_a_long_history_is_named() -> None:
    growth = Growth(100, [grown(10_000, 100, page=200.0), grown(1_000_000, 100, page=260.0)])
    assert "anywhere in 1,000,000 messages costs 1.30× the CPU" in " ".join(slower.paragraphs(Results(growth=growth)))


# --- memory -----------------------------------------------------------------------------------------------------------


def test_memory_is_shown_for_one_room_and_one_subscriber() -> None:
    def process(pss: float) -> list[ProcessMemory]:
        return [ProcessMemory("falcon: serve", rss=pss + 10, pss=pss)]

    memory = MemoryUse(
        rooms=102_400,
        used=10_240,
        at_rest={FALCON: process(50.0)},
        in_use={FALCON: process(150.0)},
        fill_seconds=1.0,
        empty={FALCON: process(40.0)},
    )
    idle = {"falcon-sse": IdleSubscribers(10_240, before=40.0, during=140.0, share=0.02)}
    (table,) = [each for each in tables(Results(memory=memory, idle=idle)) if each.title.startswith("What one")]
    assert [row[1] for row in table.rows] == ["0.10", "10.0", "10.0"]
    assert table.rows[2][2] == "2.0 %"


# --- in words ---------------------------------------------------------------------------------------------------------


def test_what_falcon_is_slower_at_is_named_with_both_figures() -> None:
    results = Results(
        throughput=throughput(
            {
                "crud": {"send, 1 in flight": [sample(p99=2.0)], "send, 64 in flight": [sample()]},
                FALCON: {"send, 1 in flight": [sample(p99=3.0)], "send, 64 in flight": [sample(rate=400.0, cpu=25.0)]},
            }
        )
    )
    text = " ".join(slower.paragraphs(results))
    assert "send, 1 in flight: 3.00 ms at the 99th percentile to 2.00, 1.50×" in text
    assert "nothing to share" in text
    assert "64 in flight: " not in text.partition("Targets missed")[0]


def test_where_it_is_nowhere_slower_that_is_said() -> None:
    assert slower.paragraphs(Results()) == ["In nothing that was measured here."]


def test_a_slower_delivery_than_centrifugos_is_named() -> None:
    text = " ".join(slower.paragraphs(everything()))
    assert "sse, 200 listeners: 5.0 ms at the 99th percentile to 4.0, 1.25×" in text
    assert "CPU a delivery to" not in text


# --- the page ---------------------------------------------------------------------------------------------------------


def test_the_page_has_all_that_was_measured_and_points_to_the_other_pages() -> None:
    text = markdown(everything(), 2, Drawn(left_out=pictures.MISSING))
    for title in ("Sending a message", "Reading everything", "Fan-out", "Growth", "Where Falcon is slower"):
        assert f"## {title}" in text
    assert "benchmarks-cluster.md" in text and "benchmarks-peers.md" in text
    assert pictures.MISSING in text and "![" not in text


def test_cpu_is_shown_in_seconds_a_thousand_messages() -> None:
    results = Results(throughput=throughput({FALCON: {"send, 64 in flight": [sample(cpu=157.0)]}}))
    assert "| 64 in flight, Falcon | 100 | 1.00 | 2.00 | 0.157 | 1.0 |" in markdown(results, 1, Drawn())


def test_without_matplotlib_the_plots_are_left_out_and_that_is_said(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "matplotlib", None)
    assert pictures.draw(everything(), tmp_path / "images") == Drawn(left_out=pictures.MISSING)
    assert not (tmp_path / "images").exists()


def test_plots_are_drawn_and_stand_in_the_page(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="matplotlib is in the dependency group load")
    drawn = pictures.draw(everything(), tmp_path)
    assert [picture.name for picture in drawn.pictures] == ["bench-sends", "bench-growth", "bench-streams"]
    text = markdown(everything(), 2, drawn)
    for picture in drawn.pictures:
        assert (tmp_path / f"{picture.name}.png").read_bytes().startswith(b"\x89PNG")
        assert f"images/{picture.name}.png" in text


# --- options ----------------------------------------------------------------------------------------------------------


def test_a_smoke_of_everything_writes_no_page() -> None:
    options = parse(["--quick"])
    assert options.only == SECTIONS
    assert options.out is None


def test_parts_can_be_chosen_and_unknown_ones_are_refused(tmp_path: Path) -> None:
    assert parse(["--only", "walks,growth", "--out", str(tmp_path / "page.md")]).only == ("walks", "growth")
    with pytest.raises(SystemExit):
        parse(["--only", "everything"])
    with pytest.raises(SystemExit):
        parse(["--runs", "0"])


def test_figures_of_before_there_was_growth_can_still_be_read() -> None:
    kept = msgspec.json.encode({"throughput": msgspec.to_builtins(everything().throughput)})
    assert msgspec.json.decode(kept, type=Results).growth is None


def test_a_page_written_elsewhere_leaves_the_kept_figures_alone(tmp_path: Path) -> None:
    assert parse(["--out", str(tmp_path / "page.md")]).kept == tmp_path / "page.json"
    assert parse([]).kept == parse(["--quick"]).kept != tmp_path / "page.json"


def test_what_measuring_costs_is_the_mean_of_the_rounds() -> None:
    (verdict,) = [each for each in verdicts(everything()) if "FALCON_TELEMETRY" in each.what]
    assert verdict.found == "98.7 % (98.0 %–99.5 %)" and verdict.met


def test_who_comes_back_is_told_of() -> None:
    (table,) = [each for each in tables(everything()) if each.title == "Coming back"]
    assert table.rows == [("1,000 who listened", "0.50", "0.90", "1.20", "1.30")]
