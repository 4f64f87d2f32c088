"""All metrics of Falcon, declared in one place. docs/metrics.md is generated from here.

A metric without labels is declared as its only value. Labels are few and their values bounded: never a room, an account
or a message.
"""

from falcon.telemetry.instruments import SIZES, Counter, Gauge, Histogram, counter, gauge, histogram

__all__ = ["Counter", "Gauge", "Histogram"]

# --- HTTP -------------------------------------------------------------------------------------------------------------

http_seconds = histogram(
    "falcon_http_request_seconds", "From a request's head to the last byte of its answer.", ("route", "method")
)
http_requests = counter("falcon_http_requests", "Requests answered, by class of status.", ("route", "method", "status"))
http_in_flight = gauge("falcon_http_requests_in_flight", "Requests that are being answered.").labels()

connections = gauge("falcon_connections", "Connections that are open.", ("server",))
connections_max = gauge("falcon_connections_max", "Connections that a process may have; more are refused.", ("server",))
connections_cut = counter(
    "falcon_connections_cut", "Connections that Falcon has refused or cut, by reason.", ("reason",)
)

CUTS = ("address", "full", "held", "malformed", "stalled", "timeout", "too_large")

rate_limited = counter("falcon_rate_limited", "Requests and connections refused with 429, by the limit.", ("limit",))

unnamed_proxies = gauge(
    "falcon_unnamed_proxies", "1 once a proxy that FALCON_TRUSTED_PROXIES does not name has passed a request on."
).labels()

http_held = gauge("falcon_http_held_bytes", "Memory of bodies not yet answered, and of answers not yet read.").labels()
http_held_refused = counter(
    "falcon_http_held_refused",
    "Requests refused because bodies and unread answers of an account, or of all, took all memory that they may.",
    ("of",),
)
http_junk = counter("falcon_http_junk", "Requests that no client of Falcon's makes, by what is wrong.", ("kind",))

JUNK = ("malformed", "nowhere", "too_large", "unauthenticated")

# --- commands and messages --------------------------------------------------------------------------------------------

commands = counter("falcon_commands", "Commands answered to their senders, by outcome.", ("command", "outcome"))
command_seconds = histogram(
    "falcon_command_seconds", "From a command's acceptance at the edge to its reply.", ("command",)
)
message_seconds = histogram(
    "falcon_message_seconds",
    "The life of an event from the moment that its aggregate decided it: to durable, to readable, to pushed.",
    ("stage",),
)
refusals = counter(
    "falcon_refusals", "Commands that the write side did not decide, by cause; some are tried again.", ("cause",)
)

FAILURES = ("overloaded", "expired", "unavailable", "outcome_unknown", "not_mine")

# --- mailboxes and actors ---------------------------------------------------------------------------------------------

mailbox_size = gauge("falcon_mailbox_size", "Commands queued for a shard or being carried out there.", ("shard",))
mailbox_bound = gauge("falcon_mailbox_bound", "The size at which a mailbox refuses.", ("shard",))
mailbox_oldest = gauge(
    "falcon_mailbox_oldest_seconds", "Age of the oldest command without a reply.", ("shard",), across="max"
)
mailbox_rejections = counter("falcon_mailbox_rejections", "Commands refused because a mailbox was full.", ("shard",))
batch_commands = histogram("falcon_batch_commands", "Commands that crossed to a shard together.", bounds=SIZES).labels()
mailbox_seconds = histogram(
    "falcon_mailbox_seconds", "Time in the mailbox: of the first of a batch, until its actor took it up.", ("actor",)
)
actor_seconds = histogram("falcon_actor_processing_seconds", "An actor's work on one message.", ("actor",))
actor_errors = counter("falcon_actor_errors", "Messages at which an actor failed; its process ends then.", ("actor",))

# --- the journal ------------------------------------------------------------------------------------------------------

commit_seconds = histogram(
    "falcon_journal_commit_seconds", "An append of the journal, until it was durable or failed."
).labels()
commit_events = histogram("falcon_journal_commit_events", "Events that became durable together.", bounds=SIZES).labels()
append_failures = counter("falcon_journal_append_failures", "Appends fenced or of unknown outcome.", ("outcome",))
appends_in_flight = gauge(
    "falcon_journal_appends_in_flight", "Appends submitted and not yet known to be durable.", ("shard",)
)
append_oldest = gauge(
    "falcon_journal_oldest_append_seconds",
    "Age of the oldest append that is not known to be durable.",
    ("shard",),
    across="max",
)

# On one machine; a cluster's processes have no series of these.
disk_free = gauge("falcon_disk_free_bytes", "Room left on the data folder's disk.", across="max")
disk_reserve = gauge("falcon_disk_reserve_bytes", "The room left below which nothing new is taken.", across="max")

# --- aggregates and partitions ----------------------------------------------------------------------------------------

partitions = gauge("falcon_partitions", "Partitions of the log; each must have an owner.", across="max").labels()
partitions_owned = gauge("falcon_partitions_owned", "Partitions that are served here.", ("shard",))
partitions_assigned = gauge("falcon_partitions_assigned", "Partitions that are assigned to a shard here.", ("shard",))
ownership_changes = counter(
    "falcon_ownership_changes", "Partitions taken over, lost to another owner, or left.", ("change",)
)
owners_removed = counter(
    "falcon_owners_removed", "Other processes that this one had removed as owners, since they had ended or were silent."
).labels()
owners_heard = gauge("falcon_owners_heard", "Other owners whose signs of life this one hears.").labels()
owner_connections = gauge(
    "falcon_owner_connections", "Connections to processes of owners, on which batches of commands go."
).labels()
owner_connections_cut = counter(
    "falcon_owner_connections_cut", "Connections to processes of owners that an edge has cut, by reason.", ("reason",)
)
OWNER_CUTS = ("malformed", "silent")  # their reasons
aggregates = gauge("falcon_aggregates_in_memory", "Rooms and accounts that shards hold in memory.", ("shard",))
keys_bytes = gauge("falcon_keys_bytes", "Memory that remembered idempotency keys take, about.", ("shard",))
keys_bytes_max = gauge(
    "falcon_keys_bytes_max", "The memory beyond which commands with a new key are refused.", ("shard",)
)
aggregate_loads = histogram(
    "falcon_aggregate_load_seconds", "Reading a room or account that was not in memory, from snapshot and log."
).labels()
checkpoints = counter("falcon_checkpoints", "Checkpoints of partitions written.").labels()
recovery_events = counter("falcon_recovery_events", "Events read from the log's tail in recoveries.").labels()
parts_missing = counter(
    "falcon_snapshot_parts_missing", "Recoveries from the log alone, since a stored state was missing or damaged."
).labels()
recovery_seconds = histogram("falcon_recovery_seconds", "Takeover and recovery of a group of partitions.").labels()

# --- projections and the read tables ----------------------------------------------------------------------------------

projected_events = counter("falcon_projected_events", "Events applied to the read tables.", ("projection",))
projection_seconds = histogram("falcon_projection_batch_seconds", "Writing a batch of events.", ("projection",))
projection_stopped = gauge(
    "falcon_projection_stopped", "1 while a projection has stopped at an error.", ("projection",), across="max"
)
projection_lag = gauge("falcon_projection_lag_events", "Events that a projection has yet to apply.", ("projection",))
projection_lag_seconds = gauge(
    "falcon_projection_lag_seconds",
    "Age of the oldest event that a projection has yet to apply; 0 if there is none.",
    ("projection",),
    across="max",
)
read_seconds = histogram("falcon_read_seconds", "A call of the read store.", ("call",))
read_failures = counter("falcon_read_failures", "Calls of the read store that failed.", ("call",))
lost_messages = counter(
    "falcon_lost_messages_shown",
    "Messages shown as missing since the read tables have lost them, once for each reading.",
).labels()
refusals_checked = counter(
    "falcon_refusals_checked",
    "What the read tables did not show, and the log was asked about, by outcome.",
    ("outcome",),
)

# --- streams ----------------------------------------------------------------------------------------------------------

streams = gauge("falcon_streams", "Streams that are open.", ("transport",))
streams_max = gauge("falcon_streams_max", "Streams that may be open at once; more are refused.").labels()
streams_refused = counter(
    "falcon_streams_refused", "Streams refused: too many were open or began at once, or the process was draining."
).labels()
streams_stalled = gauge(
    "falcon_streams_stalled_seconds",
    "Time since the log was last read for streams; 0 while there are none.",
    across="max",
).labels()
streams_opened = counter("falcon_streams_opened", "Streams that began, by what they began with.", ("start",))
streams_ended = counter("falcon_streams_ended", "Streams that Falcon has ended, by reason.", ("reason",))
streams_queued = gauge(
    "falcon_streams_queued_bytes", "Bytes that wait for clients that read their streams slowly."
).labels()
streams_remembered = gauge(
    "falcon_streams_remembered_bytes", "Memory of the events from which streams resume, about."
).labels()
stream_deliveries = counter(
    "falcon_stream_deliveries", "Events sent to streams, each counted once for each stream."
).labels()
signals = counter(
    "falcon_signals",
    "Who types, and changes in who is online and who watches: sent to the processes that asked.",
    ("kind",),
)
presence_repairs = counter(
    "falcon_presence_repairs", "Maps of presence that another process had to send again, since a signal was lost."
).labels()
signals_lost = counter("falcon_signals_lost", "Signals that could not be passed on at once, and were not.").labels()
stream_events = counter("falcon_stream_events", "Events of the log that streams have come by.", ("wanted",))
stream_tokens_long = counter(
    "falcon_stream_tokens_long", "Events whose resume token has more than 64 characters, since no cut was near."
).labels()
stream_cuts = counter("falcon_stream_cuts", "Cuts that this process has written, by outcome.", ("outcome",))
stream_cuts_read = counter(
    "falcon_stream_cuts_read", "Cuts that resume tokens name, read from where all are kept, by outcome.", ("outcome",)
)

# --- dispatchers ------------------------------------------------------------------------------------------------------

dispatcher_threads_max = gauge("falcon_dispatcher_threads_max", "Threads that a dispatcher may have.", ("dispatcher",))
dispatcher_active = gauge(
    "falcon_dispatcher_threads_active", "Threads of a dispatcher that are at work.", ("dispatcher",)
)
dispatcher_all_active = counter(
    "falcon_dispatcher_all_active_seconds", "Time in which all threads of a dispatcher were at work.", ("dispatcher",)
)
dispatcher_queue = gauge(
    "falcon_dispatcher_queue_size", "Tasks that wait for a thread of a dispatcher.", ("dispatcher",)
)
dispatcher_bound = gauge(
    "falcon_dispatcher_queue_bound", "The number of waiting tasks at which a dispatcher refuses more.", ("dispatcher",)
)
dispatcher_oldest = gauge(
    "falcon_dispatcher_oldest_seconds",
    "How long the oldest waiting task of a dispatcher has waited.",
    ("dispatcher",),
    across="max",
)
dispatcher_wait = histogram("falcon_dispatcher_queue_seconds", "A task's time in the queue.", ("dispatcher",))
dispatcher_run = histogram("falcon_dispatcher_run_seconds", "A task's time on a thread.", ("dispatcher",))
dispatcher_rejections = counter(
    "falcon_dispatcher_rejections", "Tasks refused because too many waited.", ("dispatcher",)
)

# --- the process ------------------------------------------------------------------------------------------------------

process_cpu = counter(
    "falcon_process_cpu_seconds", "CPU time of a process, user and system.", across="process"
).labels()
loop_delay = histogram(
    "falcon_event_loop_delay_seconds", "How much later than asked for the event loop called.", across="process"
)
# An alert reads the histogram. This is for people who look every second or two.
loop_delay_max = gauge(
    "falcon_event_loop_delay_max_seconds", "The largest delay of the event loop in the last second.", across="process"
)
gc_seconds = counter(
    "falcon_gc_pause_seconds",
    "Time in which the garbage collector held everything up.",
    ("generation",),
    across="process",
)
certificate_ends = gauge(
    "falcon_certificate_end_timestamp_seconds",
    "When the certificate of a setting ends, in seconds since 1970; infinity if there is none.",
    ("setting",),
    across="max",
)
copied_at = gauge(
    "falcon_copied_timestamp_seconds",
    "When `falcon copy` last copied the data folder, in seconds since 1970; 0 if it never has, or on a cluster.",
    across="max",
)
process_restarts = counter("falcon_process_restarts", "Processes started again after they had ended.", ("role",))
log_lines = counter("falcon_log_lines", "Lines logged.", ("level",))
