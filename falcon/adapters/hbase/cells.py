"""Turns a projection's writes into cells."""

from collections.abc import Iterator, Sequence

from falcon.domain.ids import Partition, partition_of
from falcon.read.hbase import Cell, HBaseModel
from falcon.read.write import Write


def by_partition(model: HBaseModel, writes: Sequence[Write], partitions: int) -> dict[Partition, list[Write]]:
    """The writes of each partition, in their order. A row is written from one partition only."""
    grouped: dict[Partition, list[Write]] = {}
    for write in writes:
        grouped.setdefault(partition_of(model.identity(write), partitions), []).append(write)
    return grouped


def fold(model: HBaseModel, writes: Sequence[Write]) -> Iterator[tuple[str, list[Cell]]]:
    """The cells by table, each as its last write leaves it. Put the tables in this order."""
    puts: list[dict[tuple[bytes, bytes], bytes]] = [{} for _ in model.puts]
    for write in writes:
        place, cells = model.cells[type(write)]
        for row, column, value in cells(write):
            puts[place][row, column] = value
    for table, folded in zip(model.puts, puts, strict=True):
        if folded:
            yield table, [Cell(row, column, value) for (row, column), value in folded.items()]
