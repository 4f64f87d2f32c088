"""What a projection writes, as cells."""

from collections.abc import Iterator, Sequence

from falcon.domain.ids import Partition, partition_of
from falcon.read.hbase import Cell, HBaseModel
from falcon.read.write import Write


def by_partition(model: HBaseModel, writes: Sequence[Write], partitions: int) -> dict[Partition, list[Write]]:
    """Those of each partition, in their order. A row is written from one partition only."""
    grouped: dict[Partition, list[Write]] = {}
    for write in writes:
        grouped.setdefault(partition_of(model.owner(write), partitions), []).append(write)
    return grouped


def fold(model: HBaseModel, writes: Sequence[Write]) -> Iterator[tuple[str, list[Cell]]]:
    """Tables with their cells, each cell as its last write leaves it, in the order in which they are to be put."""
    puts: list[dict[tuple[bytes, bytes], bytes]] = [{} for _ in model.puts]
    for write in writes:
        place, cells = model.cells[type(write)]
        for row, column, value in cells(write):
            puts[place][row, column] = value
    for table, folded in zip(model.puts, puts, strict=True):
        if folded:
            yield table, [Cell(row, column, value) for (row, column), value in folded.items()]
