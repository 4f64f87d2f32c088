"""The cells that the read models write to HBase, for tests that look at cells."""

from collections.abc import Iterator, Sequence

from falcon.adapters.hbase.cells import fold
from falcon.read.catalogue import READ_MODELS
from falcon.read.hbase import Cell, HBaseModel
from falcon.read.write import Write
from tools.harness.fake_hbase import FakeHBase as FakeHBase


def model_of(write: Write) -> HBaseModel:
    return next(model.hbase for model in READ_MODELS.values() if type(write) in model.hbase.cells)


def folded(writes: Sequence[Write]) -> Iterator[tuple[str, list[Cell]]]:
    """The folded cells of several read models."""
    for model in READ_MODELS.values():
        yield from fold(model.hbase, [write for write in writes if type(write) in model.hbase.cells])
