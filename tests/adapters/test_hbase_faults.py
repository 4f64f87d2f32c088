"""Calls to gateways that hang, hang up, answer late or are gone: a gateway of ours misbehaves on demand."""

import asyncio
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from typing import Any

import pytest
from thriftpy2.protocol import TBinaryProtocol
from thriftpy2.thrift import TApplicationException, TProcessor
from thriftpy2.transport import TBufferedTransport, TSocket

from falcon.adapters.hbase.client import HBaseClient
from falcon.adapters.hbase.connection import HBaseFault, TableMissing, ThriftConnection
from falcon.adapters.hbase.gateways import Gateways
from falcon.adapters.hbase.read_store import HBaseReadStore
from falcon.adapters.hbase.thrift import GatewayError, Hbase, TCell, TRowResult
from falcon.adapters.hbase.timed_client import TimedClient
from falcon.read.store import ReadStoreUnavailable
from falcon.telemetry.dispatchers import Dispatcher
from tests.support.gate import GATE_SECONDS, Gate


class Gateway:
    """Rows of any table have one cell. It echoes the key, and who answered, until something is put there.

    ``manners`` are asked before each answer and may take their time, or raise.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.manners: Callable[[], None] = lambda: None
        self.asked: list[bytes] = []
        self.cells: dict[bytes, bytes] = {}
        self.connections: list[socket.socket] = []
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._listening.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        if self._listening.fileno() >= 0:
            self._listening.shutdown(socket.SHUT_RDWR)
            self._listening.close()
        self.hang_up()

    def hang_up(self) -> None:
        for connection in self.connections:
            with suppress(OSError):  # the other end was first
                connection.shutdown(socket.SHUT_RDWR)

    def getRowWithColumns(self, table: bytes, row: bytes, columns: object, attributes: object) -> list[Any]:
        self.asked.append(row)
        self.manners()
        if row in self.cells:
            return [TRowResult(row=row, columns={b"d:v": TCell(value=self.cells[row], timestamp=1)})]
        return [TRowResult(row=row, columns={b"d:v": TCell(value=row + b" " + self.name.encode(), timestamp=1)})]

    def checkAndPut(self, table: bytes, row: bytes, column: bytes, value: bytes, mput: Any, attributes: object) -> bool:
        done = self.cells.get(row) == value
        if done:
            self.cells[row] = mput.value
        self.manners()
        return done

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listening.accept()
            except OSError:
                return
            self.connections.append(connection)
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        transport = TBufferedTransport(TSocket(sock=connection))
        protocol = TBinaryProtocol(transport, decode_response=False)
        try:
            while True:
                TProcessor(Hbase, self).process(protocol, protocol)
        except Exception:  # hung up, by either
            connection.close()


def say(error: Exception) -> Callable[[], None]:
    def manners() -> None:
        raise error

    return manners


def hbase_says(name: str) -> GatewayError:
    return GatewayError(message=f"org.apache.hadoop.hbase.{name}: t\n\tat somewhere".encode())


@pytest.fixture
def ann() -> Iterator[Gateway]:
    gateway = Gateway("ann")
    yield gateway
    gateway.close()


@pytest.fixture
def bob() -> Iterator[Gateway]:
    gateway = Gateway("bob")
    yield gateway
    gateway.close()


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def asking(stack: ExitStack, *gateways: Gateway, connections: int = 8) -> Gateways:
    made = Gateways([gateway.address for gateway in gateways], connections)
    stack.callback(made.close)
    return made


@pytest.fixture
def passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    """A gateway that has failed is passed over until the test ends."""
    monkeypatch.setattr("falcon.adapters.hbase.gateways._PASSED_OVER_SECONDS", 3_600.0)
    monkeypatch.setattr("falcon.adapters.hbase.gateways._PASSED_OVER_SECONDS_MAX", 3_600.0)


def who(calls: HBaseClient, key: bytes = b"k") -> bytes:
    found, _, name = calls.row("t", key)[b"d:v"].partition(b" ")
    assert found == key, "an answer to another question"
    return name


def test_gateways_take_turns(stack: ExitStack, ann: Gateway, bob: Gateway) -> None:
    gateways = asking(stack, ann, bob)
    assert {who(gateways.within(60)) for _ in range(2)} == {b"ann", b"bob"}
    for _ in range(20):
        who(gateways.within(60))
    assert len(ann.connections) == len(bob.connections) == 1  # used again and again
    assert len(ann.asked) == len(bob.asked) == 11


def test_a_late_answer_is_never_taken_for_that_to_the_next_question(stack: ExitStack, ann: Gateway) -> None:
    gateways = asking(stack, ann)
    gate = ann.manners = Gate()
    with pytest.raises(ReadStoreUnavailable):
        gateways.within(0.2, 0.1).row("t", b"first")
    gate.open()
    for key in (b"second", b"third"):
        assert who(gateways.within(60), key) == b"ann"


@pytest.mark.usefixtures("passed_over")
def test_where_one_gateway_hangs_another_one_is_asked(stack: ExitStack, ann: Gateway, bob: Gateway) -> None:
    gateways = asking(stack, ann, bob)
    gate = ann.manners = Gate()
    assert who(gateways.within(60)) == b"bob"
    assert who(gateways.within(60, 0.2)) == b"bob"
    asked = len(ann.asked)
    assert asked >= 1
    for _ in range(10):
        assert who(gateways.within(60)) == b"bob"
    assert len(ann.asked) == asked  # it is passed over
    gate.open()


def test_a_gateway_that_was_passed_over_is_tried_again(stack: ExitStack, ann: Gateway, bob: Gateway) -> None:
    gateways = asking(stack, ann, bob)
    ann.hang_up()
    ann.manners = say(RuntimeError("hangs up"))
    while not ann.asked:
        assert who(gateways.within(60)) == b"bob"
    ann.manners = lambda: None
    until = time.monotonic() + 10
    while who(gateways.within(60)) != b"ann":
        assert time.monotonic() < until


@pytest.mark.usefixtures("passed_over")
def test_a_gateway_that_is_gone_is_passed_over(stack: ExitStack, ann: Gateway, bob: Gateway) -> None:
    tried: list[int] = []

    def connect(host: str, port: int) -> ThriftConnection:
        tried.append(port)
        return ThriftConnection(host, port)

    gateways = Gateways([ann.address, bob.address], connect=connect)
    stack.callback(gateways.close)
    ann.close()
    for _ in range(10):
        assert who(gateways.within(60)) == b"bob"
    assert tried.count(int(ann.address.rpartition(":")[2])) == 1


def test_connections_that_were_hung_up_on_are_made_anew(stack: ExitStack, ann: Gateway) -> None:
    gateways = asking(stack, ann)
    gate = ann.manners = Gate()
    threads = [threading.Thread(target=who, args=(gateways.within(60),)) for _ in range(6)]
    for thread in threads:
        thread.start()
    for _ in threads:
        gate.reached.acquire()
    gate.open()
    for thread in threads:
        thread.join()
    ann.hang_up()  # on six that are idle
    assert who(gateways.within(60)) == b"ann"
    assert len(ann.connections) == 7


def test_a_call_ends_by_its_deadline_whatever_gateways_do(stack: ExitStack, ann: Gateway, bob: Gateway) -> None:
    gateways = asking(stack, ann, bob)
    ann.manners = bob.manners = gate = Gate()
    began = time.monotonic()
    with pytest.raises(ReadStoreUnavailable, match=r"through 127\.0\.0\.1:\d+: TimeoutError"):
        gateways.within(0.5).row("t", b"k")
    assert time.monotonic() - began < GATE_SECONDS / 2
    gate.open()


def test_whoever_gets_no_connection_is_told_so_by_the_deadline(stack: ExitStack, ann: Gateway) -> None:
    gateways = asking(stack, ann, connections=1)
    gate = ann.manners = Gate()
    first = threading.Thread(target=who, args=(gateways.within(60),))
    first.start()
    gate.reached.acquire()
    with pytest.raises(ReadStoreUnavailable, match="all 1 connections to HBase are busy"):
        gateways.within(0.1).row("t", b"k")
    gate.open()
    first.join()
    assert who(gateways.within(60)) == b"ann"


def test_no_two_threads_share_a_connection(stack: ExitStack, ann: Gateway) -> None:
    gateways = asking(stack, ann, connections=4)
    wrong: list[BaseException] = []

    def ask(name: int) -> None:
        try:
            for n in range(100):
                who(gateways.within(60), b"%d-%d" % (name, n))
        except BaseException as error:
            wrong.append(error)

    threads = [threading.Thread(target=ask, args=(name,)) for name in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    assert len(ann.connections) <= 4


def test_several_calls_are_sent_before_the_first_is_answered_and_all_again_if_one_fails(
    stack: ExitStack, ann: Gateway
) -> None:
    wanted = [(table, [table.encode()]) for table in ("t", "u", "v")]
    answers = iter([None, hbase_says("NotServingRegionException")])
    ann.manners = lambda: say(error)() if (error := next(answers, None)) else None
    gateways = asking(stack, ann)
    for _ in range(2):
        found = gateways.within(60).rows_at_once(wanted)
        assert found == [(1, {key: {b"d:v": key + b" ann"}}) for _, (key,) in wanted]
    assert ann.asked[-6:] == [b"t", b"u", b"v"] * 2


def test_calls_that_are_sent_together_have_one_time_limit_for_all(stack: ExitStack, ann: Gateway) -> None:
    wanted = [(table, [table.encode()]) for table in "tuvwxyz"]
    ann.manners = lambda: time.sleep(0.3)
    with pytest.raises(ReadStoreUnavailable):
        asking(stack, ann).within(1.0, 1.0).rows_at_once(wanted)


def test_what_hbase_says_for_the_moment_is_asked_again(stack: ExitStack, ann: Gateway) -> None:
    gateways = asking(stack, ann)
    answers = iter([hbase_says("NotServingRegionException"), hbase_says("RegionTooBusyException")])

    def manners() -> None:
        for error in answers:
            raise error

    ann.manners = manners
    assert who(gateways.within(60)) == b"ann"
    assert len(ann.asked) == 3


@pytest.mark.parametrize(
    ("error", "fault"),
    [
        (hbase_says("TableNotFoundException"), TableMissing),
        (hbase_says("TableNotEnabledException"), TableMissing),
        (hbase_says("regionserver.NoSuchColumnFamilyException"), HBaseFault),
        (hbase_says("security.AccessDeniedException"), HBaseFault),
    ],
)
def test_what_hbase_will_always_refuse_is_said_at_once(
    stack: ExitStack, ann: Gateway, error: Exception, fault: type[Exception]
) -> None:
    gateways = asking(stack, ann)
    ann.manners = say(error)
    with pytest.raises(fault) as said:
        gateways.within(60).row("t", b"k")
    assert len(ann.asked) == 1
    assert "\n" not in str(said.value)


def test_what_a_gateway_does_not_understand_is_a_fault_when_it_stays_so(stack: ExitStack, ann: Gateway) -> None:
    gateways = asking(stack, ann)
    ann.manners = say(TApplicationException(TApplicationException.INTERNAL_ERROR, "Internal error"))
    with pytest.raises(HBaseFault, match="Internal error"):
        gateways.within(60).row("t", b"k")
    assert len(ann.asked) == 3


def test_a_change_whose_answer_was_lost_is_known_to_have_been_made(stack: ExitStack, ann: Gateway) -> None:
    calls = asking(stack, ann).within(60)
    ann.cells[b"k"] = b"1"
    answers = iter([RuntimeError("hangs up behind the change")])

    def manners() -> None:
        for error in answers:
            raise error

    ann.manners = manners
    assert calls.check_and_put("t", b"k", b"d:v", b"1", b"2")
    assert ann.cells[b"k"] == b"2"
    assert not calls.check_and_put("t", b"k", b"d:v", b"1", b"2")  # another client's change


def test_an_address_must_be_a_host_and_a_port() -> None:
    for wrong in ("host", "host:", ":90", "host:http"):
        with pytest.raises(ValueError, match="HOST:PORT"):
            Gateways([wrong])
    with pytest.raises(ValueError, match="no gateway"):
        Gateways([])


# --- queries ----------------------------------------------------------------------------------------------------------


def test_a_query_is_refused_by_its_deadline_while_gateways_hang(stack: ExitStack, ann: Gateway) -> None:
    gate = ann.manners = Gate()
    reads = HBaseReadStore(asking(stack, ann), "falcon", threads=2, seconds=0.5)
    stack.callback(reads.close)

    async def together() -> list[object]:
        queries = (reads.room(room_id) for room_id in range(1, 20))  # most of them never get a thread
        return list(await asyncio.gather(*queries, return_exceptions=True))

    began = time.monotonic()
    answers = asyncio.run(together())
    assert time.monotonic() - began < GATE_SECONDS / 2
    assert {type(answer) for answer in answers} == {ReadStoreUnavailable}
    gate.open()


def test_past_the_bound_a_query_is_refused_at_once() -> None:
    dispatcher = TimedClient(Dispatcher("reads", threads=1, queue=2), 60)
    gate = Gate()

    async def run() -> None:
        waiting = [asyncio.ensure_future(dispatcher.run(lambda left: gate())) for _ in range(3)]
        await asyncio.to_thread(gate.reached.acquire)
        with pytest.raises(ReadStoreUnavailable, match="too many wait for reads"):
            await dispatcher.run(lambda left: None)
        gate.open()
        await asyncio.gather(*waiting)
        assert await dispatcher.run(lambda left: left) <= 60

    asyncio.run(run())
    dispatcher.close()


def test_who_has_given_up_leaves_the_queue() -> None:
    dispatcher = TimedClient(Dispatcher("reads", threads=1, queue=1), 60)
    gate = Gate()

    async def run() -> None:
        first = asyncio.ensure_future(dispatcher.run(lambda left: gate()))
        await asyncio.to_thread(gate.reached.acquire)
        impatient = asyncio.ensure_future(dispatcher.run(lambda left: gate()))
        await asyncio.sleep(0)
        impatient.cancel()
        await asyncio.gather(impatient, return_exceptions=True)
        patient = asyncio.ensure_future(dispatcher.run(lambda left: "served"))
        await asyncio.sleep(0)
        gate.open()
        assert await patient == "served"
        await first

    asyncio.run(run())
    dispatcher.close()


def test_after_it_was_closed_nothing_is_taken() -> None:
    dispatcher = TimedClient(Dispatcher("reads", threads=1, queue=1), 60)
    dispatcher.close()
    with pytest.raises(ReadStoreUnavailable, match="closed"):
        asyncio.run(dispatcher.run(lambda left: None))
