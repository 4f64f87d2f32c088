"""Every metric of Falcon, declared in one place. Labels are few: never a room, an account or a message."""

from prometheus_client import Counter, Gauge, Histogram

_SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_SIZES = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512)

http_requests = Counter("falcon_http_requests", "Requests answered, by status class.", ["status"])
commands = Counter("falcon_commands", "Commands answered by the write side, by outcome.", ["outcome"])
batch_commands = Histogram("falcon_batch_commands", "Commands that crossed to a shard together.", buckets=_SIZES)
mailbox_size = Gauge("falcon_mailbox_size", "Commands queued for a shard and not yet answered.", ["shard"])
mailbox_rejections = Counter("falcon_mailbox_rejections", "Commands refused because a mailbox was full.", ["shard"])

commit_seconds = Histogram("falcon_journal_commit_seconds", "A durable commit of the journal.", buckets=_SECONDS)
commit_events = Histogram("falcon_journal_commit_events", "Events that became durable together.", buckets=_SIZES)
append_failures = Counter("falcon_journal_append_failures", "Appends fenced or of unknown outcome.", ["outcome"])

aggregates = Gauge("falcon_aggregates_in_memory", "Rooms and accounts that a shard holds in memory.")
passivations = Counter("falcon_passivations", "Aggregates that left memory because they were not used.")
checkpoints = Counter("falcon_checkpoints", "Checkpoints of partitions written.")
recoveries = Counter("falcon_recoveries", "Partitions taken over and recovered.")
recovery_events = Counter("falcon_recovery_events", "Events read from the log's tail in recoveries.")
recovery_seconds = Histogram("falcon_recovery_seconds", "Takeover and recovery of a group of partitions.")

projected_events = Counter("falcon_projected_events", "Events applied to the read tables.", ["projection"])
projection_stopped = Gauge("falcon_projection_stopped", "1 while a projection has stopped at an error.", ["projection"])
projection_lag = Gauge("falcon_projection_lag_events", "Events that a projection has yet to apply.", ["projection"])

# Children are looked up once: that is dear enough to matter for each message.
accepted = commands.labels("accepted")
rejected = commands.labels("rejected")
unavailable = commands.labels("unavailable")
