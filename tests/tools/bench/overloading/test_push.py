"""The generator of the overload keeps its rate, whatever the answers."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from random import Random

import pytest

from tools.bench.overloading.push import Job, Pushed, Pusher, Requests, Segment, Setup, Tally, answered, moments
from tools.bench.overloading.suite import NoLimit, limit, stage, well_after

CREATED = b"HTTP/1.1 201 Created\r\ncontent-length: 2\r\n\r\n{}"
REFUSED = b"HTTP/1.1 503 Service Unavailable\r\nretry-after: 1\r\ncontent-length: 2\r\n\r\n{}"
RUDE = b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 2\r\n\r\n{}"


@contextmanager
def server(*answers: bytes) -> Iterator[int]:
    """Gives these answers in turn, each to one request; an empty one is none at all. Gives its port."""
    turn = iter(range(1_000_000))

    def serve(connection: socket.socket) -> None:
        with connection, suppress(ConnectionResetError):  # by a client that has given up
            torn = b""
            while data := connection.recv(65_536):
                torn += data
                while torn.endswith(b'"}') and torn:
                    torn = b""
                    if answer := answers[next(turn) % len(answers)]:
                        connection.sendall(answer)

    def accept() -> None:
        while True:
            try:
                connection, _ = listening.accept()
            except OSError:
                return
            threading.Thread(target=serve, args=(connection,), daemon=True).start()

    with socket.create_server(("127.0.0.1", 0)) as listening:
        threading.Thread(target=accept, daemon=True).start()
        yield listening.getsockname()[1]
        listening.shutdown(socket.SHUT_RDWR)


def setup(port: int, connections: int = 4, most: int = 40) -> Setup:
    return Setup("127.0.0.1", port, [(640, "token-a"), (704, "token-b")], connections, most)


def test_starts_come_at_the_rate_of_their_segment_one_after_the_other() -> None:
    found = list(moments([Segment(1_000, 5), Segment(100, 10)], Random(1)))
    assert found == sorted(found)
    assert sum(at < 5 for at in found) == pytest.approx(5_000, rel=0.05)
    assert sum(5 <= at < 15 for at in found) == pytest.approx(1_000, rel=0.1)
    assert max(found) < 15


def test_requests_are_whole_and_no_two_have_the_same_key() -> None:
    requests = Requests(setup(8080))
    made = [requests.next() for _ in range(1_000)]
    head, _, body = made[0].partition(b"\r\n\r\n")
    assert head.startswith(b"POST /v1/rooms/640/messages HTTP/1.1\r\n")
    assert b"Content-Length: %d\r\n" % len(body) in head
    assert len(body) == len(b'{"text":""}') + 100
    keys = {request.partition(b"Idempotency-Key: ")[2].partition(b"\r\n")[0] for request in made}
    assert len(keys) == 1_000


def test_an_answer_counts_when_all_of_it_is_there() -> None:
    assert answered(CREATED) == b"201"
    assert all(answered(CREATED[:size]) is None for size in range(len(CREATED)))
    assert answered(b"HTTP/1.1 204 No Content\r\n\r\n") == b"204"


def test_accepted_and_refused_are_told_apart() -> None:
    with server(CREATED, REFUSED) as port:
        pusher = Pusher(setup(port))
        pusher.connect()
        found = stage(pusher.push(Job([Segment(200, 0.5)])).tallies)
    assert found.accepted == pytest.approx(found.refused, rel=0.1)
    assert (found.lost, found.bare) == (0, 0)


def test_a_refusal_without_retry_after_is_noticed() -> None:
    with server(RUDE) as port:
        pusher = Pusher(setup(port))
        pusher.connect()
        assert stage(pusher.push(Job([Segment(100, 0.3)])).tallies).bare > 0


def test_a_server_that_never_answers_is_still_sent_everything(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tools.bench.overloading.push._ANSWER_SECONDS", 0.3)
    with server(b"") as port:
        pusher = Pusher(setup(port))
        pusher.connect()
        tallies = pusher.push(Job([Segment(200, 0.5)])).tallies
    assert sum(tally.unanswered for tally in tallies) == sum(tally.offered for tally in tallies) > 50
    assert max(tally.waiting for tally in tallies) > 0  # for one of 40 connections


def test_connections_that_the_server_has_ended_while_idle_are_nobodys_loss() -> None:
    with server(CREATED) as port:
        pusher = Pusher(setup(port))
        pusher.connect()
        for connection in list(pusher._free):
            connection.sock.shutdown(socket.SHUT_WR)
            connection.sock.settimeout(5)  # it raises if the server does not end it
            assert connection.sock.recv(1) == b""
        found = stage(pusher.push(Job([Segment(100, 0.3)])).tallies)
    assert found.lost == 0
    assert found.accepted > 0


def tallies(rate: float, seconds: float, refused: int = 0) -> list[Tally]:
    return [Tally(accepted=[0.01] * round(rate / 10), refused=[0.001] * refused) for _ in range(round(seconds * 10))]


def test_the_limit_is_the_largest_rate_of_which_nothing_is_refused() -> None:
    def push(job: Job) -> Pushed:
        (segment,) = job.segments
        return Pushed(0.0, tallies(min(segment.rate, 3_000), segment.seconds, int(segment.rate > 3_000)), 1, 0.0)

    rate, found, _ = limit(push, 5)
    assert 2_800 < rate <= 3_000
    assert found.accepted == pytest.approx(rate, rel=0.01)


def test_a_server_that_carries_nothing_has_no_limit() -> None:
    with pytest.raises(NoLimit):
        limit(lambda job: Pushed(0.0, tallies(100, job.segments[0].seconds, 1), 1, 0.0), 5)


def test_it_is_well_once_nothing_is_refused_up_to_the_end() -> None:
    assert well_after(tallies(100, 1.0, 1) + tallies(100, 2.0)) == 1.0
    assert well_after(tallies(100, 2.0)) == 0.0
    assert well_after(tallies(100, 1.0) + tallies(100, 0.5, 1)) == 1.5
