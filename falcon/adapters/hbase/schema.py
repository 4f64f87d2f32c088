"""The read tables' layout in HBase: names, families and attributes.

One family, one version of each cell. A cell's timestamp is an offset of the log: the cell holds what the log below that
offset says. So it changes nothing to write anything again, or an older write late. Nothing is ever deleted, since a
deletion hides older cells only until HBase compacts: what is gone has a flag. The contents of a read model's tables are
described in the model's folder.
"""

from collections.abc import Mapping
from typing import Final, NamedTuple

from falcon.read.catalogue import READ_MODELS

FORMAT: Final = 1  # raised when the layout of the tables changes
FAMILY: Final = b"d"
META_REGIONS: Final = 1  # its table has a few rows of a few bytes
COMPRESSION: Final = "COMPRESSION"


class TableSpec(NamedTuple):
    """A table to make. ``attributes`` are named as in HBase's shell. The table has the one family ``d``."""

    name: str
    regions: int
    attributes: tuple[tuple[str, str], ...]

    def compressed(self, compression: str) -> "TableSpec":
        """``compression``: as HBase calls it, such as ZSTD."""
        return self._replace(attributes=(*self.attributes, (COMPRESSION, compression)))

    def line(self) -> str:
        """``NAME FAMILY REGIONS ATTRIBUTE=VALUE ...``"""
        attributes = (f"{name}={value}" for name, value in self.attributes)
        return " ".join((self.name, FAMILY.decode(), str(self.regions), *attributes))


# --- tables -----------------------------------------------------------------------------------------------------------


def meta_name(prefix: str) -> str:
    return f"{prefix}_meta"


def table_name(prefix: str, table: str, generation: int) -> str:
    """A rebuild's offsets start from the beginning, so it has tables of its own. ``generation`` counts them from 1."""
    return f"{prefix}_{table}_{generation}"


def table_names(prefix: str, projection: str, generation: int) -> list[str]:
    return [table_name(prefix, table, generation) for table in READ_MODELS[projection].hbase.tables]


def meta_spec(prefix: str) -> TableSpec:
    return TableSpec(meta_name(prefix), META_REGIONS, _attributes())


def table_specs(prefix: str, projection: str, generation: int, regions: Mapping[str, int]) -> list[TableSpec]:
    """``regions``: for tables that should have another number of them."""
    return [
        TableSpec(table_name(prefix, table, generation), regions.get(table, usual), _attributes(*more))
        for table, (usual, more) in READ_MODELS[projection].hbase.tables.items()
    ]


def _attributes(*more: tuple[str, str]) -> tuple[tuple[str, str], ...]:
    return (("VERSIONS", "1"), ("BLOOMFILTER", "ROW"), *more)
