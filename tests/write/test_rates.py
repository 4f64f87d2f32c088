"""What rooms and accounts may take of a shard."""

from falcon.features.messages.rules import EditMessage, PostMessage
from falcon.write.limits import ShardLimits
from falcon.write.protocol import Unavailable
from falcon.write.rates import Rates
from tools.harness.clock import FakeClock

ANN, BEN, CID, DORA = 65, 66, 67, 68
ROOM = 7


def posts(rates: Rates, account_id: int, text: str = "hi", room_id: int = ROOM) -> Unavailable | None:
    return rates.refusal(PostMessage(account_id, room_id, text), room_id)


def test_a_day_gives_an_account_back_what_it_has_written() -> None:
    clock = FakeClock()
    rates = Rates(ShardLimits(account_bytes_a_day=1_000), clock.monotonic)
    assert posts(rates, ANN, "x" * 600) is None
    assert rates.refusal(EditMessage(ANN, ROOM, 1, "ä" * 200), ROOM) is None
    refused = posts(rates, ANN, "x", room_id=8)
    assert refused is not None and refused.limit == "account-bytes-a-day"
    assert 86 <= refused.retry_after <= 87
    assert posts(rates, BEN, "x" * 1_000) is None
    clock.advance(43_200)
    assert posts(rates, ANN, "x" * 501) is not None
    assert posts(rates, ANN, "x" * 500) is None


def test_descriptions_and_notes_count_for_the_same_day_as_messages() -> None:
    rates = Rates(ShardLimits(account_bytes_a_day=1_000), FakeClock().monotonic)
    assert rates.refusal_of_text(ANN, "ä" * 450) is None
    assert posts(rates, ANN, "x" * 101) is not None
    assert posts(rates, ANN, "x" * 100) is None
    refused = rates.refusal_of_text(ANN, "x")
    assert refused is not None and refused.limit == "account-bytes-a-day"
    assert rates.refusal_of_text(BEN, "x" * 1_000) is None


def test_a_text_that_is_refused_takes_nothing_of_its_room() -> None:
    rates = Rates(ShardLimits(account_bytes_a_day=100, room_messages=1), FakeClock().monotonic)
    assert posts(rates, ANN, "x" * 101) is not None
    assert posts(rates, BEN) is None


def test_a_message_that_a_busy_room_refuses_takes_nothing_of_its_senders_day() -> None:
    clock = FakeClock()
    rates = Rates(ShardLimits(account_bytes_a_day=1_000, room_messages=1), clock.monotonic)
    assert posts(rates, BEN) is None
    for _ in range(3):
        refused = posts(rates, ANN, "x" * 900)
        assert refused is not None and refused.limit == "room-messages"
    clock.advance(2)
    assert posts(rates, ANN, "x" * 900) is None
    assert posts(rates, ANN, "x" * 200, room_id=8) is not None


def test_each_sender_of_a_busy_room_gets_the_same_share_of_what_it_takes() -> None:
    clock = FakeClock()
    rates = Rates(ShardLimits(room_messages=40), clock.monotonic)
    heard = dict.fromkeys((ANN, BEN, CID, DORA), 0)
    for second in range(20):
        for _ in range(100):
            for sender in (ANN, BEN, CID):
                heard[sender] += posts(rates, sender) is None
            clock.advance(0.01)
        if second >= 10:
            heard[DORA] += posts(rates, DORA) is None
    assert heard[DORA] == 10
    assert 760 <= sum(heard.values()) <= 840 + 40
    assert min(heard[sender] for sender in (ANN, BEN, CID)) >= 200


def test_thousands_who_send_at_once_do_not_get_a_room_beyond_twice_its_rate() -> None:
    clock = FakeClock()
    rates = Rates(ShardLimits(room_messages=50), clock.monotonic)
    taken = sum(posts(rates, sender) is None for sender in range(5_000))
    assert taken <= 100
    clock.advance(1)
    assert sum(posts(rates, sender) is None for sender in range(5_000)) <= 50
