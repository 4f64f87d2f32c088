"""The figures of the embedded suite's sections. Nothing here measures anything."""

from tests.tools.bench.test_report import sample
from tools.bench import growth, journals, measuring, streams, throughput
from tools.bench.growth import PAGE, SEND, SPREAD, USED_ROOMS, Growth, GrowthSize, _distinct_windows, sizes
from tools.bench.journals import RecoveryRun
from tools.bench.samples import FALCON, Sample
from tools.bench.streams import FanOut, Idle


def grown(send: float = 100.0, page: float = 200.0, spread: float | None = None) -> dict[str, list[Sample]]:
    samples = {SEND: [sample(cpu=send)], PAGE: [sample(cpu=page)]}
    return samples if spread is None else {**samples, SPREAD: [sample(cpu=spread)]}


# --- sends and reads --------------------------------------------------------------------------------------------------


def test_sends_are_judged_beside_both_neighbours() -> None:
    samples = {
        "bare": {"send, 64 in flight": [sample(rate=1_000.0)]},
        "crud": {"send, 64 in flight": [sample(rate=100.0)]},
        FALCON: {"send, 64 in flight": [sample(rate=400.0, cpu=25.0)]},
    }
    found = {(each.what, each.wanted): each for each in throughput._judge(samples, throughput._SEND_TARGETS)}
    chat = found["sends/s, 64 in flight, of the CRUD chat's", "≥ 3×"]
    route = found["sends/s, 64 in flight, of the bare route's", "≥ 25 %"]
    assert (chat.found, chat.met) == ("4.00×", True)
    assert (route.found, route.met) == ("40 %", True)


def test_a_page_may_cost_little_more_than_a_bare_route_and_few_may_come_late() -> None:
    pages = "latest 50, 64 in flight"
    samples = {"bare": {pages: [sample(cpu=50.0)]}, FALCON: {pages: [sample(cpu=75.0, p50=4.0, p99=20.0)]}}
    found = {each.what: each for each in throughput._judge(samples, throughput._READ_TARGETS)}
    assert found["CPU a page, 64 in flight, of the bare route's"].found == "1.50×"
    (tail,) = throughput._judge_tail(samples)
    assert (tail.found, tail.met) == ("5.00×", False)


# --- growth -----------------------------------------------------------------------------------------------------------


def test_windows_are_different_pages_within_the_rooms() -> None:
    windows = _distinct_windows([64, 128], messages=100, most=60)
    assert len(set(windows)) == 60
    befores = [int(path.rpartition("=")[2]) for path in windows]
    assert min(befores) >= 51 and max(befores) <= 101
    assert windows == _distinct_windows([64, 128], messages=100, most=60)


def test_rooms_with_less_than_a_page_have_one_window_each() -> None:
    assert sorted(_distinct_windows([64, 128], messages=3, most=60)) == [
        "/v1/rooms/128/messages?limit=50&before=4",
        "/v1/rooms/64/messages?limit=50&before=4",
    ]


def test_it_grows_by_tens_from_one_smallest_size() -> None:
    assert sizes(1_000_000, 100_000) == [
        GrowthSize(10_000, USED_ROOMS),
        GrowthSize(100_000, USED_ROOMS),
        GrowthSize(1_000_000, USED_ROOMS),
        GrowthSize(10_000, 1_000),
        GrowthSize(10_000, 10_000),
        GrowthSize(10_000, 100_000),
    ]


def test_growth_that_stays_flat_is_told_from_growth_that_does_not() -> None:
    small, long, wide = GrowthSize(10_000, 100), GrowthSize(1_000_000, 100), GrowthSize(10_000, 100_000)
    flat: Growth = {small: grown(), long: grown(send=110.0), wide: grown(page=210.0)}
    steep: Growth = {small: grown(), long: grown(send=200.0), wide: grown()}
    assert all(target.met for target in growth.judged(flat))
    missed = [target for target in growth.judged(steep) if not target.met]
    assert [target.what for target in missed] == ["CPU a send with 1,000,000 messages, of that with 10,000"]
    assert missed[0].found == "2.00×"


def test_what_a_room_costs_that_nobody_used_lately_is_said() -> None:
    found = growth.slower({GrowthSize(10_000, 100): grown(), GrowthSize(10_000, 100_000): grown(spread=400.0)})
    assert "costs 4.0× the CPU" in found[0] and "100,000 rooms" in found[0]


def test_a_page_that_costs_more_in_a_long_history_is_named() -> None:
    found = growth.slower({GrowthSize(10_000, 100): grown(), GrowthSize(1_000_000, 100): grown(page=260.0)})
    assert "anywhere in 1,000,000 messages costs 1.30× the CPU" in found[0]


# --- memory and subscribers -------------------------------------------------------------------------------------------


def test_what_an_idle_subscriber_takes_is_shown() -> None:
    subscribers = streams.idle_table({"falcon-sse": Idle(10_240, before=40.0, during=140.0, share=0.02)})
    assert subscribers.rows[0][1:] == ("10.0", "2.0 %")


def test_a_slower_delivery_than_centrifugos_is_named() -> None:
    found = {
        "falcon-sse, 200": [FanOut(200, 0, cpu=6.0, lone_cpu=802.0, p50=2.0, p99=5.0)],
        "centrifugo-sse, 200": [FanOut(200, 0, cpu=10.0, lone_cpu=10.0, p50=2.0, p99=4.0)],
    }
    (text,) = streams.slower(found)
    assert "sse, 200 listeners: 5.0 ms at the 99th percentile to 4.0, 1.25×" in text
    assert "CPU a delivery to" not in text
    judged = {target.what: target for target in streams.judged(found)}
    assert judged["CPU of a delivery by sse, 200 listen, of Centrifugo's"].met
    assert not judged["p99 of a delivery by sse, 200 listen, of Centrifugo's"].met


# --- what measuring costs, and large journals -------------------------------------------------------------------------


def test_what_measuring_costs_is_the_mean_of_the_rounds() -> None:
    (target,) = measuring.judged({"sends/s": [[0.99, 0.97], [1.0, 0.99]]}).targets
    assert target.found == "98.7 % (98.0–99.5)" and target.met


def test_a_large_journal_may_take_only_little_longer_to_recover_than_a_small_one() -> None:
    targets = journals.judged({100_000: [RecoveryRun(0.7, 0.8)], 1_000_000: [RecoveryRun(1.2, 1.4)]})
    assert [(target.found, target.met) for target in targets] == [("1.20 s", True), ("+0.50 s", False)]
