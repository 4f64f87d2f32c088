"""HBase tables of an earlier Falcon are still read, or are made again if their layout has changed."""

import pytest

from falcon.adapters.hbase import prepare as preparing
from falcon.adapters.hbase.meta import Meta
from falcon.adapters.hbase.prepare import WrongTables, check, prepare, through_gateway
from falcon.adapters.hbase.schema import FORMAT, table_names
from falcon.read.store import Fill
from tests.history.tables import LOG, PARTITIONS, PREFIX, answers, read


def test_there_are_tables_of_every_format() -> None:
    for version in range(1, FORMAT + 1):
        assert read(version).cells, f"format {version}: see tests/history/tables.py"


def test_tables_of_this_format_show_what_they_showed() -> None:
    stored = read(FORMAT)
    hbase = stored.hbase()
    prepare(hbase, PREFIX, LOG, PARTITIONS, through_gateway(hbase))
    # Its Falcon could count rooms and messages, too.
    assert answers(hbase) == [shown for shown in stored.shown if shown.query != "totals"]
    assert sum(bool(shown.answer) for shown in stored.shown) > 70


def test_tables_of_an_older_format_are_made_anew_where_they_lie_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    hbase = read(FORMAT).hbase()
    monkeypatch.setattr(preparing, "FORMAT", FORMAT + 1)
    monkeypatch.setitem(preparing._REMADE, FORMAT, ("rooms",))
    with pytest.raises(WrongTables, match=f"format {FORMAT}, this Falcon knows {FORMAT + 1}: run falcon prepare"):
        check(hbase, PREFIX, LOG, PARTITIONS)
    for _ in range(2):  # doing it again is safe
        prepare(hbase, PREFIX, LOG, PARTITIONS, through_gateway(hbase))
    meta = Meta(hbase.within(5), PREFIX)
    log, found = meta.log(), meta.all_generations(["rooms", "accounts"])
    assert log is not None and log.format == FORMAT + 1
    assert (found["rooms"].live, found["rooms"].fill) == (2, Fill.FILLING)
    assert (found["accounts"].live, found["accounts"].fill) == (1, Fill.SHOWN)
    assert {*table_names(PREFIX, "rooms", 2)} <= hbase.servers.tables.keys()
    assert not {*table_names(PREFIX, "rooms", 1)} & hbase.servers.tables.keys()
    assert meta.applied("rooms", 2, PARTITIONS)[0].position.offset == 0, "from the log's beginning"


def test_tables_of_a_newer_format_are_refused_as_such(monkeypatch: pytest.MonkeyPatch) -> None:
    hbase = read(FORMAT).hbase()
    monkeypatch.setattr(preparing, "FORMAT", FORMAT - 1)
    with pytest.raises(WrongTables, match="were made by a newer Falcon, so run that"):
        prepare(hbase, PREFIX, LOG, PARTITIONS, through_gateway(hbase))
