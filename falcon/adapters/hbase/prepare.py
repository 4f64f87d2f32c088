"""Makes the tables, and checks that they are the ones that the settings name."""

import logging
import os
import signal
import subprocess
import time
from collections.abc import Collection, Mapping, Sequence
from types import MappingProxyType
from typing import Final

import msgspec

from falcon.adapters.hbase.client import HBase, HBaseClient
from falcon.adapters.hbase.connection import REFUSED_TABLE, CompressionMissing
from falcon.adapters.hbase.meta import Generations, Log, Meta, skips_key, went_back_key
from falcon.adapters.hbase.schema import FORMAT, TableSpec, meta_name, meta_spec, table_names, table_specs
from falcon.adapters.hbase.switching import Create, Switching
from falcon.journal import naming
from falcon.read.catalogue import READ_MODELS
from falcon.read.store import Fill, ReadStoreUnavailable

log = logging.getLogger("falcon.hbase")

_SECONDS: Final = 30.0  # for reads and writes: longer than the regions of a server that has died are away
_ADMIN_SECONDS: Final = 180.0  # a table of hundreds of regions is made, on servers that have just started


# By format: the read models whose layout changes in the next one. They get empty tables, which are filled from the log:
# cells are only ever a copy of it. tests/history/tables has the tables of each format.
_REMADE: Final[dict[int, tuple[str, ...]]] = {}


class WrongTables(Exception):
    """The tables are not what the settings say. The message says what to do."""


def prepare(
    hbase: HBase,
    prefix: str,
    instance: str,
    partitions: int,
    create: Create,
    *,
    regions: Mapping[str, int] = MappingProxyType({}),
) -> None:
    """Make what is missing, and migrate tables of an older format. Existing tables are checked, and otherwise left as
    they are. Read models that are new beside others, or were made again, are to be filled from the log.

    ``instance`` names the log that the tables will show. Raises WrongTables, ReadStoreUnavailable.
    """
    calls = hbase.within(_SECONDS)
    there = calls.tables()
    wanted = Log(instance, partitions, FORMAT)
    known: Collection[str] = ()
    fill = Fill.SHOWN
    if meta_name(prefix) in there:
        _check_family(calls, meta_name(prefix))
        meta = Meta(calls, prefix)
        if (found := meta.log()) is not None:
            _check_instance(found, prefix, instance, partitions)
            _migrate(hbase, create, prefix, found, regions)
            _check_log(meta, prefix, instance, partitions)
            fill = Fill.FILLING
        known = meta.all_generations(list(READ_MODELS))
    new = [projection for projection in READ_MODELS if projection not in known]
    specs = [spec for projection in new for spec in table_specs(prefix, projection, 1, regions)]
    if missing := [spec for spec in (meta_spec(prefix), *specs) if spec.name not in there]:
        create(missing)
    meta = Meta(hbase.within(_SECONDS), prefix)
    meta.swap_log(None, wanted)
    for projection in new:
        meta.swap_generations(projection, None, Generations(live=1, last=1, fill=fill))
    check(hbase, prefix, instance, partitions)


def _migrate(hbase: HBase, create: Create, prefix: str, found: Log, regions: Mapping[str, int]) -> None:
    """Migrate one format after the other. It is safe to repeat any part."""
    for version in range(found.format, FORMAT):
        switching = _switching(hbase, create, prefix, found.partitions, regions)
        for projection in _REMADE.get(version, ()):
            switching.start_over(projection, Fill.FILLING)
        migrated = msgspec.structs.replace(found, format=version + 1)
        if not Meta(hbase.within(_SECONDS), prefix).swap_log(found, migrated):
            raise ReadStoreUnavailable(f"another process changes the tables {prefix}_* as well: do it again")
        found = migrated


def start_over(
    hbase: HBase,
    prefix: str,
    instance: str,
    partitions: int,
    create: Create,
    *,
    regions: Mapping[str, int] = MappingProxyType({}),
) -> None:
    """Empty tables for a log that was restored from an older copy, and has been called ``instance`` since.

    The old contents are of no use: cells that the lost history wrote would outlive what the log writes in their places,
    and skipped events are others now. Until all is done the tables name the old log, so that no process takes them for
    this log's. It is safe to repeat. Raises WrongTables, ReadStoreUnavailable.
    """
    check_family_of_log(hbase, prefix, instance, partitions)
    calls = hbase.within(_SECONDS)
    meta = Meta(calls, prefix)
    found = meta.log() if meta_name(prefix) in calls.tables() else None
    if found is not None:
        switching = _switching(hbase, create, prefix, partitions, regions)
        for projection in meta.all_generations(list(READ_MODELS)):
            switching.start_over(projection)
        meta = Meta(hbase.within(_SECONDS), prefix)
        for projection in READ_MODELS:
            for place in meta.below(skips_key(projection)):
                meta.say(skips_key(projection) + place, None)
        meta.say(went_back_key(), None)
        if not meta.swap_log(found, Log(instance, partitions, FORMAT)):
            raise ReadStoreUnavailable(f"another process changes the tables {prefix}_* as well: do it again")
    prepare(hbase, prefix, instance, partitions, create, regions=regions)


def _switching(hbase: HBase, create: Create, prefix: str, partitions: int, regions: Mapping[str, int]) -> Switching:
    return Switching(
        hbase,
        create,
        prefix,
        partitions,
        regions,
        seconds=_SECONDS,
        admin_seconds=_ADMIN_SECONDS,
        switch_seconds=0,
        grace_seconds=0,
    )


def check_family_of_log(hbase: HBase, prefix: str, instance: str, partitions: int) -> None:
    """Check that the tables, if they exist, were made from this log under any of its names. Raises WrongTables,
    ReadStoreUnavailable."""
    calls = hbase.within(_SECONDS)
    if meta_name(prefix) not in calls.tables():
        return
    meta = Meta(calls, prefix)
    found = meta.log()
    same = found is not None and naming.family(found.instance) == naming.family(instance)
    _check_log(meta, prefix, None if same else instance, partitions)


def check_log(hbase: HBase, prefix: str, instance: str, partitions: int) -> None:
    """Check only that the tables belong to the log, for a caller that will make one of them again. Raises WrongTables,
    ReadStoreUnavailable."""
    calls = hbase.within(_SECONDS)
    if meta_name(prefix) not in calls.tables():
        raise WrongTables(f"HBase has no table {meta_name(prefix)}: run falcon prepare, or correct the prefix {prefix}")
    _check_log(Meta(calls, prefix), prefix, instance, partitions)


def check(hbase: HBase, prefix: str, instance: str | None, partitions: int) -> str:
    """The name of the log that the tables show. It must be ``instance`` unless that is not known.

    Writes nothing. Raises WrongTables if something is missing or wrong, ReadStoreUnavailable.
    """
    calls = hbase.within(_SECONDS)
    there = calls.tables()
    if meta_name(prefix) not in there:
        raise WrongTables(f"HBase has no table {meta_name(prefix)}: run falcon prepare, or correct the prefix {prefix}")
    _check_family(calls, meta_name(prefix))
    meta = Meta(calls, prefix)
    found = _check_log(meta, prefix, instance, partitions)
    names: list[str] = []
    for projection in READ_MODELS:
        generations = meta.generations(projection)
        if generations is None:
            raise WrongTables(f"HBase has no tables {prefix}_* of {projection} yet: run falcon prepare")
        names += table_names(prefix, projection, generations.live)
        if missing := set(names) - there:
            raise WrongTables(
                f"HBase has lost {', '.join(sorted(missing))}: run falcon rebuild {projection}, which makes it again"
            )
    for name in names:
        _check_family(calls, name)
    return found.instance


def _check_log(meta: Meta, prefix: str, instance: str | None, partitions: int) -> Log:
    found = meta.log()
    if found is None:
        raise WrongTables(f"the tables {prefix}_* were not made to their end: run falcon prepare")
    if found.format > FORMAT:
        raise WrongTables(
            f"the tables {prefix}_* have format {found.format} and were made by a newer Falcon, so run that; this one "
            f"knows {FORMAT}"
        )
    if found.format < FORMAT:
        raise WrongTables(
            f"the tables {prefix}_* have format {found.format}, this Falcon knows {FORMAT}: run falcon prepare"
        )
    _check_instance(found, prefix, instance, partitions)
    return found


def _check_instance(found: Log, prefix: str, instance: str | None, partitions: int) -> None:
    if found.partitions != partitions:
        raise WrongTables(
            f"the tables {prefix}_* are of a log with {found.partitions} partitions, the settings say "
            f"{partitions}: set FALCON_PARTITIONS={found.partitions}, or another prefix for another log"
        )
    if instance is None or found.instance == instance:
        return
    if naming.family(found.instance) == naming.family(instance):
        raise WrongTables(
            f"the tables {prefix}_* show the log's history {found.instance}, and it has {instance}: one of them was "
            "restored from an older copy; see docs/backups.md, before you run falcon restored"
        )
    raise WrongTables(
        f"the tables {prefix}_* show the log {found.instance}, this log is {instance}: correct the "
        "addresses, or set another prefix and run falcon prepare"
    )


def _check_family(calls: HBaseClient, name: str) -> None:
    family = calls.family(name)
    if family is None:
        raise WrongTables(f"the table {name} has no family d: it is not Falcon's; set another prefix")
    if family.versions != 1:
        raise WrongTables(
            f"the table {name} keeps {family.versions} versions of a cell: alter it to VERSIONS => 1 for family d"
        )
    if family.expires:
        raise WrongTables(f"the table {name} lets its cells expire: alter it to TTL => 'FOREVER' for family d")


# --- how tables are created -------------------------------------------------------------------------------------------


def through_gateway(hbase: HBase) -> Create:
    """The simplest way. A gateway can't split tables beforehand, so each has one region until HBase splits it."""

    def create(specs: Sequence[TableSpec]) -> None:
        calls = hbase.within(_ADMIN_SECONDS)
        for spec in specs:
            if spec.regions > 1:
                log.warning("table %s is created in one region, not in %d", spec.name, spec.regions)
            calls.create(spec)

    return create


def compressing(create: Create, compressions: Sequence[str]) -> Create:
    """Create tables with the first of these compressions that HBase has, or without if it has none of them."""

    def compressed(specs: Sequence[TableSpec]) -> None:
        for compression in compressions:
            try:
                return create([spec.compressed(compression) for spec in specs])
            except CompressionMissing:
                log.info("HBase does not have the compression %s", compression)
        if compressions:
            log.warning("tables are created without compression: HBase has none of %s", ", ".join(compressions))
        return create(specs)

    return compressed


def by_command(words: Sequence[str], seconds: float = _ADMIN_SECONDS) -> Create:
    """Create tables by the operator's command. It gets a line for each table: ``NAME FAMILY REGIONS ATTRIBUTE=VALUE
    ...``.

    Regions are split evenly by the first byte of the key. The command must leave existing tables alone.
    """

    def create(specs: Sequence[TableSpec]) -> None:
        _run(words, "".join(f"{spec.line()}\n" for spec in specs), seconds)

    return create


def _run(words: Sequence[str], lines: str, seconds: float) -> None:
    """Raises ReadStoreUnavailable when the command fails or takes too long, and CompressionMissing. All processes that
    it has started are then killed."""
    began = time.monotonic()
    try:
        process = subprocess.Popen(
            words,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
    except OSError as error:
        raise ReadStoreUnavailable(f"cannot create tables: {error}") from error
    try:
        said, _ = process.communicate(lines, seconds)
    except subprocess.TimeoutExpired as error:
        raise ReadStoreUnavailable(f"cannot create tables: {words[0]} is not done after {seconds:g} s") from error
    finally:
        if process.returncode is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
    if process.returncode != 0:
        last = said.strip().rpartition("\n")[2]
        if REFUSED_TABLE in said:
            raise CompressionMissing(f"cannot create tables: {last}")
        raise ReadStoreUnavailable(f"cannot create tables: {words[0]} ended with {process.returncode}: {last}")
    log.info("created tables in %.1f s: %s", time.monotonic() - began, said.strip().replace("\n", "; "))
