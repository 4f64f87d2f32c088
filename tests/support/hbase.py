"""An HBase in memory that counts calls and rows, and the cells that the read models write to it."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from random import Random
from typing import Any, cast

from falcon.adapters.hbase.cells import fold
from falcon.adapters.hbase.gateways import Gateways
from falcon.read.catalogue import READ_MODELS
from falcon.read.hbase import Cell, HBaseModel
from falcon.read.write import Write
from tools.simulation.hbase.lines import Road, SimulatedLine
from tools.simulation.hbase.servers import Later, Servers

# As the calls are called here. A scan counts when it is opened, its rows when they come.
_COUNTED = {
    "getRowWithColumns": "getRow",
    "getRowsWithColumns": "getRows",
    "mutateRowsTs": "mutateRows",
    "checkAndPut": "checkAndPut",
    "scannerOpenWithScan": "scan",
}


class FakeHBase(Gateways):
    """The simulated servers without delays and faults.

    ``asked``: every call for cells in turn, its name and the table's. ``given``: the rows in the answers, by table.
    ``before`` is called with name and table before each call, and may raise, as a gateway that goes away does.
    """

    def __init__(self, servers: Servers | None = None) -> None:
        self.servers = Servers() if servers is None else servers
        self.asked: list[tuple[str, str]] = []
        self.given: Counter[str] = Counter()
        self.before: Callable[[str, str], None] = lambda name, table: None
        self.scanned: dict[int, str] = {}
        super().__init__(["simulated:1"], 64, connect=lambda host, port: _CountedLine(self))

    def beside(self) -> "FakeHBase":
        """The same tables, with counts of its own."""
        return FakeHBase(self.servers)


class _CountedLine(SimulatedLine):
    def __init__(self, hbase: FakeHBase) -> None:
        super().__init__(Road(hbase.servers, cast(Later, None), Random(0)))  # nothing comes later
        self._hbase = hbase

    @property
    def client(self) -> Any:
        return _Counting(super().client, self._hbase)


class _Counting:
    def __init__(self, client: Any, hbase: FakeHBase) -> None:
        self._client = client
        self._hbase = hbase

    def __getattr__(self, name: str) -> Callable[..., Any]:
        call, hbase = getattr(self._client, name), self._hbase

        def counted(first: Any = None, *others: Any) -> Any:
            if name in _COUNTED:
                hbase.before(_COUNTED[name], first)
                hbase.asked.append((_COUNTED[name], first))
            answer = call() if first is None else call(first, *others)
            if name == "scannerOpenWithScan":
                hbase.scanned[answer] = first
            elif name in ("getRowWithColumns", "getRowsWithColumns", "scannerGetList"):
                hbase.given[hbase.scanned[first] if name == "scannerGetList" else first] += len(answer)
            return answer

        return counted


def model_of(write: Write) -> HBaseModel:
    return next(model.hbase for model in READ_MODELS.values() if type(write) in model.hbase.cells)


def folded(writes: Sequence[Write]) -> Iterator[tuple[str, list[Cell]]]:
    """The folded cells of several read models."""
    for model in READ_MODELS.values():
        yield from fold(model.hbase, [write for write in writes if type(write) in model.hbase.cells])
