"""The write side: from commands to durable events."""

from typing import Final

from tools.monitoring.dashboards import grafana
from tools.monitoring.dashboards.grafana import Dashboard, Panel, Query, Section, sizes, times
from tools.monitoring.dashboards.promql import (
    increase,
    largest,
    maximum,
    observed,
    peak,
    quantile,
    rate,
    ratio,
    summed,
    total,
)

_COMMANDS: Final = Section(
    "Commands",
    (
        Panel(
            title="Commands by type",
            description="What do clients want done?",
            unit=grafana.COMMANDS,
            queries=(Query(rate("falcon_commands_total", "command"), "{{command}}"),),
            width=6,
            stacked=True,
        ),
        Panel(
            title="Commands by type and outcome, but accepted",
            description="Which commands are refused, and why? rejected: by the rules of the chat; the others: by its "
            "state (overloaded, expired, unavailable, outcome_unknown, not_mine).",
            unit=grafana.COMMANDS,
            queries=(
                Query(
                    rate("falcon_commands_total", "command, outcome", 'outcome!="accepted"'), "{{command}} {{outcome}}"
                ),
            ),
            width=6,
        ),
        Panel(
            title="Time of a command, p99",
            description="How long does each type take, but for one in a hundred?",
            unit=grafana.SECONDS,
            queries=(Query(quantile(0.99, "falcon_command_seconds", "command"), "{{command}}"),),
            width=6,
        ),
        Panel(
            title="Time of a command, max",
            description="What did the slowest of each type take?",
            unit=grafana.SECONDS,
            queries=(Query(maximum("falcon_command_seconds", "command"), "{{command}}"),),
            width=6,
        ),
        Panel(
            title="Refused by the write side, by cause",
            description="Why were commands not decided? The runbook of errors says what to do about each cause.",
            unit=grafana.COMMANDS,
            queries=(Query(rate("falcon_refusals_total", "cause"), "{{cause}}"),),
            width=24,
        ),
    ),
)

_MAILBOXES: Final = Section(
    "Mailboxes",
    (
        Panel(
            title="Commands in a mailbox",
            description="How many commands wait for a shard or are with it, and when would it refuse?",
            unit=grafana.COUNT,
            queries=(
                Query(total("falcon_mailbox_size", "shard"), "{{shard}}"),
                Query(f"min({total('falcon_mailbox_bound', 'shard')})", "least bound"),
            ),
            width=6,
        ),
        Panel(
            title="Oldest command",
            description="How long has a command waited for its reply? It grows while a shard answers nothing at all.",
            unit=grafana.SECONDS,
            queries=(Query(peak("falcon_mailbox_oldest_seconds", "shard"), "{{shard}}"),),
            width=6,
        ),
        Panel(
            title="Refused",
            description="Does a full mailbox turn commands away? Their senders got 503 with Retry-After.",
            unit=grafana.COMMANDS,
            queries=(Query(rate("falcon_mailbox_rejections_total", "shard"), "{{shard}}"),),
            width=6,
        ),
        Panel(
            title="Commands a batch",
            description="How many commands share a way to a shard? More under load is what keeps throughput up.",
            unit=grafana.COUNT,
            queries=sizes("falcon_batch_commands"),
            width=6,
        ),
        Panel(
            title="Connections to owners",
            description="How many processes of owners does each edge send commands to, and did it cut a connection, "
            "since it heard nothing or something was wrong with it?",
            unit=grafana.COUNT,
            width=24,
            queries=(
                Query(total("falcon_owner_connections", "instance"), "{{instance}}"),
                Query(
                    increase("falcon_owner_connections_cut_total", "instance, reason"), "cut by {{instance}} {{reason}}"
                ),
            ),
        ),
    ),
)

_JOURNAL: Final = Section(
    "Journal",
    (
        Panel(
            title="Time of an append",
            description="How long until an append is durable, or has failed?",
            unit=grafana.SECONDS,
            queries=times("falcon_journal_commit_seconds"),
            width=6,
        ),
        Panel(
            title="Events an append",
            description="How many events become durable together?",
            unit=grafana.COUNT,
            queries=sizes("falcon_journal_commit_events"),
            width=6,
        ),
        Panel(
            title="Appends and events",
            description="How much is written to the log?",
            unit=grafana.PER_SECOND,
            queries=(
                Query(observed("falcon_journal_commit_seconds"), "appends"),
                Query(summed("falcon_journal_commit_events"), "events"),
            ),
            width=6,
        ),
        Panel(
            title="From decided to durable",
            description="How long after its shard decided it is an event durable?",
            unit=grafana.SECONDS,
            queries=times("falcon_message_seconds", 'stage="durable"'),
            width=6,
        ),
        Panel(
            title="Appends in flight",
            description="How much is submitted and not yet known to be durable?",
            unit=grafana.COUNT,
            queries=(Query(total("falcon_journal_appends_in_flight", "shard"), "{{shard}}"),),
        ),
        Panel(
            title="Oldest append",
            description="Does an append hang? All that was decided behind it waits with it.",
            unit=grafana.SECONDS,
            queries=(Query(peak("falcon_journal_oldest_append_seconds", "shard"), "{{shard}}"),),
        ),
        Panel(
            title="Appends that failed",
            description="Was an owner deposed (fenced), or is the outcome of an append unknown? Its "
            "partition is recovered from the log each time.",
            unit=grafana.COUNT,
            queries=(Query(increase("falcon_journal_append_failures_total", "outcome"), "{{outcome}}"),),
        ),
    ),
)

_PARTITIONS: Final = Section(
    "Partitions",
    (
        Panel(
            title="Partitions owned and assigned, of all",
            description="Is every partition served, and by whom it is assigned to?",
            unit=grafana.COUNT,
            queries=(
                Query(total("falcon_partitions_owned"), "owned"),
                Query(total("falcon_partitions_assigned"), "assigned"),
                Query(largest("falcon_partitions"), "all"),
            ),
        ),
        Panel(
            title="Partitions by instance",
            description="Do the instances share the partitions evenly?",
            unit=grafana.COUNT,
            queries=(Query(total("falcon_partitions_owned", "instance"), "{{instance}}"),),
            stacked=True,
        ),
        Panel(
            title="Changes of ownership",
            description="Do partitions move, and were they handed over (left) or lost? Was an owner removed that had "
            "ended or was silent? Without a scaling or a restart there should be none.",
            unit=grafana.COUNT,
            queries=(
                Query(increase("falcon_ownership_changes_total", "change"), "{{change}}"),
                Query(increase("falcon_owners_removed_total"), "owners removed"),
            ),
        ),
        Panel(
            title="Owners that hear one another",
            description="How many other owners does each owner hear? One that hears none cannot find a dead one before "
            "the brokers do. With N owners it should be the lesser of N - 1 and 4.",
            unit=grafana.COUNT,
            width=6,
            queries=(Query(total("falcon_owners_heard", "instance"), "{{instance}}"),),
        ),
        Panel(
            title="Partitions recovered",
            description="How many partitions were taken over and recovered?",
            unit=grafana.COUNT,
            width=6,
            queries=(
                Query(increase("falcon_ownership_changes_total", where='change="taken over"'), "partitions"),
                Query(increase("falcon_snapshot_parts_missing_total"), "a part was missing"),
            ),
        ),
        Panel(
            title="Time of a recovery",
            description="How long is a group of partitions not served when it is taken over?",
            unit=grafana.SECONDS,
            width=6,
            queries=times("falcon_recovery_seconds"),
        ),
        Panel(
            title="Events read a recovered partition",
            description="How long is the log's tail that a recovery reads? Checkpoints keep it short.",
            unit=grafana.COUNT,
            width=6,
            queries=(
                Query(
                    ratio(
                        increase("falcon_recovery_events_total"),
                        increase("falcon_ownership_changes_total", where='change="taken over"'),
                    ),
                    "events",
                ),
            ),
        ),
    ),
)

_DISK: Final = Section(
    "The disk of one machine",
    (
        Panel(
            title="Room on the disk",
            description="How much room is left on the data folder's disk? Below the reserve nothing new is taken.",
            unit=grafana.BYTES,
            width=24,
            queries=(
                Query(largest("falcon_disk_free_bytes", "instance"), "{{instance}}"),
                Query(largest("falcon_disk_reserve_bytes", "instance"), "{{instance}} reserve"),
            ),
        ),
    ),
)

_AGGREGATES: Final = Section(
    "Aggregates",
    (
        Panel(
            title="Aggregates in memory",
            description="How many rooms and accounts do shards hold?",
            unit=grafana.COUNT,
            queries=(Query(total("falcon_aggregates_in_memory", "instance, shard"), "{{instance}} {{shard}}"),),
            stacked=True,
        ),
        Panel(
            title="Loaded",
            description="Are rooms read again soon after they left memory? Then raise FALCON_HOT_AGGREGATES.",
            unit=grafana.PER_SECOND,
            queries=(Query(observed("falcon_aggregate_load_seconds"), "loaded"),),
        ),
        Panel(
            title="Time of a load",
            description="How long does the first command to a room that was not in memory wait for its state?",
            unit=grafana.SECONDS,
            queries=times("falcon_aggregate_load_seconds"),
        ),
        Panel(
            title="Checkpoints",
            description="Are checkpoints written? Without them the next recovery takes longer.",
            unit=grafana.PER_SECOND,
            queries=(Query(rate("falcon_checkpoints_total"), "checkpoints"),),
            width=12,
        ),
        Panel(
            title="Keys remembered",
            description="Is there room for the keys of commands? Without it new ones are refused.",
            unit=grafana.BYTES,
            width=12,
            queries=(
                Query(total("falcon_keys_bytes", "instance"), "{{instance}}"),
                Query(total("falcon_keys_bytes_max", "instance"), "{{instance}} at most"),
            ),
        ),
    ),
)

WRITE_SIDE: Final = Dashboard(
    uid="falcon-write",
    title="Falcon: write side",
    description="Commands, mailboxes, the journal, partitions and aggregates.",
    sections=(_COMMANDS, _MAILBOXES, _JOURNAL, _PARTITIONS, _DISK, _AGGREGATES),
)
