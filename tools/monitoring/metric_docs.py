"""docs/metrics.md: what is declared in falcon/telemetry, and the question that each metric answers."""

from typing import Final

from falcon.telemetry.instruments import REGISTRY, AnyMetric
from falcon.telemetry.process_tree import INFO, PROCESS_GAUGES
from tools.harness.reports import markdown_table

PATH: Final = "docs/metrics.md"

# In the order and under the headings of falcon/telemetry/metrics.py.
QUESTIONS: Final[dict[str, dict[str, str]]] = {
    "HTTP": {
        "falcon_http_request_seconds": "How long do clients wait, on which route?",
        "falcon_http_requests": "How much is asked, and what share of it fails?",
        "falcon_http_requests_in_flight": "Do requests pile up, since they come faster than they are answered?",
        "falcon_connections": "How many clients hold a connection, and how near is that to all that there may be?",
        "falcon_connections_max": "How many may there be?",
        "falcon_connections_cut": "Are clients refused, or cut off, since they ask for too much or are too slow?",
        "falcon_rate_limited": "Is a client past a limit, and past which?",
        "falcon_unnamed_proxies": "Do all clients of a proxy count as one, since it is not named?",
        "falcon_http_held_bytes": "How much memory do slow clients, and large bodies, take?",
        "falcon_http_held_refused": "Does an account, or a process, have as much of it as it may?",
        "falcon_http_junk": "Do clients try what Falcon has not, or tokens that are none?",
    },
    "commands and messages": {
        "falcon_commands": "What do clients want done, and is it accepted, rejected by the rules, or not decided?",
        "falcon_command_seconds": "How long does a command take from the edge to its shard, the journal and back?",
        "falcon_message_seconds": "How soon is a message safe, and how soon do others see it?",
        "falcon_refusals": "Why are commands not decided, and what to do about it?",
    },
    "mailboxes and actors": {
        "falcon_mailbox_size": "Does a shard keep up with what it is sent?",
        "falcon_mailbox_bound": "How near is a mailbox to refusing?",
        "falcon_mailbox_oldest_seconds": "Is there a shard that answers nothing any more?",
        "falcon_mailbox_rejections": "Is there an overload, and at which shard?",
        "falcon_batch_commands": "Does batching work: do commands share their way when there are many?",
        "falcon_mailbox_seconds": "Is the time of a command spent waiting for its actor?",
        "falcon_actor_processing_seconds": "Is it spent at work there, and how busy are the actors?",
        "falcon_actor_errors": "Do actors fail, which a fault of Falcon's would make them do?",
    },
    "the journal": {
        "falcon_journal_commit_seconds": "Is the disk, or are the brokers, what a command waits for?",
        "falcon_journal_commit_events": "Do events share their appends when there are many?",
        "falcon_journal_append_failures": "Was an owner deposed, or is it unknown what became of an append?",
        "falcon_journal_appends_in_flight": "How much is on its way to the log?",
        "falcon_journal_oldest_append_seconds": "Does an append hang?",
        "falcon_disk_free_bytes": "When will the disk be full?",
        "falcon_disk_reserve_bytes": "At which room left is nothing new taken any more?",
    },
    "aggregates and partitions": {
        "falcon_partitions": "How many partitions must have an owner?",
        "falcon_partitions_owned": "Is each of them served, and do the shards share them evenly?",
        "falcon_partitions_assigned": "Is a partition assigned to a shard that does not serve it yet?",
        "falcon_ownership_changes": "Do partitions move, and were they handed over or lost?",
        "falcon_owners_removed": "Did an owner end or hang, so that its partitions were given to others?",
        "falcon_owners_heard": "Do owners reach one another, so that a dead one is found before its session is over?",
        "falcon_owner_connections": "Does an edge reach every process of owners?",
        "falcon_owner_connections_cut": "Do owners fall silent, or is something wrong between an edge and them?",
        "falcon_aggregates_in_memory": "What fills a shard's memory?",
        "falcon_keys_bytes": "How much memory do they take?",
        "falcon_keys_bytes_max": "When will commands with a new key be refused?",
        "falcon_aggregate_load_seconds": "How often does a room have to be read again, and how long does it take?",
        "falcon_checkpoints": "Are checkpoints written, without which the next recovery is long?",
        "falcon_recovery_events": "How much of the log had to be read for it?",
        "falcon_snapshot_parts_missing": "Has a part of a large room or account been lost from the snapshots?",
        "falcon_recovery_seconds": "How long is a partition away when its owner changes?",
    },
    "projections and the read tables": {
        "falcon_projected_events": "Do the projections apply events, and how fast?",
        "falcon_projection_batch_seconds": "Are the tables what a projection waits for?",
        "falcon_projection_stopped": "Has an event stopped a projection, so that an operator must look?",
        "falcon_projection_lag_events": "How much has a projection to catch up with?",
        "falcon_projection_lag_seconds": "How old is what readers see?",
        "falcon_read_seconds": "Are the read tables what a request waits for, and which call of them?",
        "falcon_read_failures": "Can the read tables be read?",
        "falcon_lost_messages_shown": "Do the tables lack messages that the log has?",
        "falcon_refusals_checked": "Can Falcon tell what is not there from what the tables do not show yet?",
    },
    "streams": {
        "falcon_streams": "How many listen, and how?",
        "falcon_streams_max": "How many may listen to a process at once?",
        "falcon_streams_refused": "Are clients turned away, since too many listen already?",
        "falcon_streams_stalled_seconds": "Is the log still read for open streams?",
        "falcon_streams_opened": "Do many come at once, and do they get what they missed or have to catch up by page?",
        "falcon_streams_ended": "Are listeners sent away, since they read too slowly, or because a process ends?",
        "falcon_streams_queued_bytes": "Are there listeners who do not read what they are sent?",
        "falcon_streams_remembered_bytes": "How much memory do they take?",
        "falcon_stream_deliveries": "How much is sent, each event to each of its listeners?",
        "falcon_signals": "How much is said of who types and who is there?",
        "falcon_presence_repairs": "Do processes find that they lacked something about presence?",
        "falcon_signals_lost": "Do signals get lost, since too many are said at once?",
        "falcon_stream_events": "Do the streams follow the log, and how much of it do they read in vain?",
        "falcon_stream_tokens_long": "Are resume tokens longer than they should be, in each event that is sent?",
        "falcon_stream_cuts": "Are cuts written, without which resume tokens grow?",
        "falcon_stream_cuts_read": "Do clients come with cuts that are not kept, and have to begin again?",
    },
    "dispatchers": {
        "falcon_dispatcher_threads_max": "How many tasks can a dispatcher do at once?",
        "falcon_dispatcher_threads_active": "How much of it is in use?",
        "falcon_dispatcher_all_active_seconds": "For what share of the time was it the bottleneck?",
        "falcon_dispatcher_queue_size": "Do tasks wait for a thread?",
        "falcon_dispatcher_queue_bound": "How near is it to refusing?",
        "falcon_dispatcher_oldest_seconds": "Do all its threads hang?",
        "falcon_dispatcher_queue_seconds": "How long do tasks wait for a thread?",
        "falcon_dispatcher_run_seconds": "How long do they keep it?",
        "falcon_dispatcher_rejections": "Is work turned away, since too much waits?",
    },
    "the process": {
        "falcon_process_cpu_seconds": "Which process uses the CPU, and does it use all of a core?",
        "falcon_event_loop_delay_seconds": "Is an event loop held up, and with it everything that it serves?",
        "falcon_event_loop_delay_max_seconds": "Is one held up just now?",
        "falcon_gc_pause_seconds": "How much of the time does it hold everything up?",
        "falcon_certificate_end_timestamp_seconds": "Will a certificate end before it is renewed?",
        "falcon_copied_timestamp_seconds": "How old is the last copy of the data folder?",
        "falcon_process_restarts": "Which processes end and have to be started again?",
        "falcon_log_lines": "Are there errors in the log, and since when?",
    },
    "what the system says of each process": {
        "falcon_process_resident_bytes": "How much RAM does a process have mapped?",
        "falcon_process_pss_bytes": "How much RAM is it the cause of, and does that grow?",
        "falcon_process_threads": "Do threads pile up?",
        "falcon_process_fds": "Do connections or files leak?",
        "falcon_process_fds_max": "How many more can it open?",
        "falcon_process_uptime_seconds": "Since when does it run?",
        "falcon_process_sampled_seconds": "Is it stopped, or stuck with all of its threads?",
        "falcon_build_info": "Which versions run, and is an update complete?",
    },
}

# By label: its values, and what bounds their number.
LABELS: Final[dict[str, tuple[str, str]]] = {
    "route": (
        "the template of a path, such as `/v1/rooms/{room_id}`; `none` for a path that there is not",
        "the routes of the API; what stands in a path is never a label",
    ),
    "method": ("the method", "six of HTTP's, and `other` for whatever else clients invent"),
    "status": ("`2xx` to `5xx`; `gone` when the client left before there was an answer", "classes, not codes"),
    "command": ("the type of a command, such as `PostMessage`", "the commands in `falcon/features/catalogue.py`"),
    "outcome": (
        "of a command: `accepted`, `rejected` (by the rules), `overloaded`, `expired`, `unavailable`, "
        "`outcome_unknown`, `not_mine`; of an append that failed: `fenced`, `unknown`, `none`; "
        "of a refusal that was checked: `current`, `unavailable`; of a cut: `written`, `failed`; of one that a token "
        "names: `found`, `missing`",
        "written in the code (`falcon/write/protocol.py`, `falcon/journal/ports.py`, `falcon/streams/cuts.py`)",
    ),
    "cause": ("the name of a cause, such as `mailbox_full`", "written in the code (`falcon/write/refusals.py`)"),
    "kind": ("of a signal: `typing`, `presence`", "written in the code (`falcon/streams/signals.py`)"),
    "of": (
        "`account`, `address`, `process`: which share is used up",
        "written in the code (`falcon/http/server/memory_budget.py`)",
    ),
    "stage": ("`durable`, `readable`, `pushed`", "written in the code"),
    "shard": (
        "the number of a shard in its process tree; for mailboxes of owners in other processes, `owner-` and a number "
        "that is given again when an owner has gone",
        "`FALCON_PROCESSES`; as many owners as there are at once",
    ),
    "actor": ("an actor's class, such as `RoomShard`", "the classes in `falcon/adapters/thespian`"),
    "change": ("`taken over`, `lost` (to another owner), `left` (handed over)", "written in the code"),
    "projection": ("`timeline`, `rooms` …", "the projections there are, which docs/operations.md lists"),
    "transport": ("`sse`, `websocket`", "written in the code"),
    "start": (
        "what a stream begins with: `hello` (the state of now), `replay` (all that was missed), `catch_up` (too much "
        "was missed to be sent)",
        "written in the code",
    ),
    "reason": (
        "of a stream that was ended: `draining` (the process ends, or cannot continue; the client is to come back), "
        "`slow` (too much waited for it), `unauthenticated` (its token was revoked); of a connection: `full` (there "
        "were too many), `address` (of one address), `malformed`, `too_large` (a request broke a limit), `timeout` (it "
        "came too slowly), `stalled` (the client took nothing of its answer)",
        "written in the code (`falcon/streams/frames.py`, `falcon/telemetry/metrics.py`)",
    ),
    "limit": (
        "the limit's name, such as `account-commands`, as `RateLimit-Policy` has it",
        "written in the code (`falcon/http/limits/quotas.py`)",
    ),
    "server": ("`public`, `internal`, `operations`", "written in the code"),
    "setting": (
        "the setting of a certificate, `FALCON_TLS_CERT`, `FALCON_KAFKA_CERT` or `FALCON_HBASE_CERT`, or of the "
        "authorities of a server's, `FALCON_KAFKA_CA` or `FALCON_HBASE_CA`: the one that ends last",
        "the settings there are",
    ),
    "wanted": ("`yes` if a stream of the process listened to it, else `no`", "two"),
    "call": ("a call of the read store, such as `page`", "the queries of the features' tables"),
    "dispatcher": (
        "a pool's name, such as `blocking` or `journal-0`",
        "named in the code; a few once for each shard or projection",
    ),
    "process": (
        "a process of the tree, by its role and place: `serve-0`, `shard-1`; without telemetry of its own `admin`, "
        "`actor-logger`, `other`",
        "the processes of a tree; never a pid, so one that is started again continues its series",
    ),
    "generation": ("the garbage collector's: `0`, `1`, `2`", "Python has three"),
    "role": ("what the launcher starts: `serve`, `project`, `actors`, `ops`", "written in the code"),
    "level": ("`debug` to `critical`", "Python's levels"),
    "version": ("Falcon's version", "one for each process tree"),
    "python": ("Python's version", "one for each process tree"),
}

_COLUMNS: Final = ("metric", "type", "processes", "labels", "meaning", "which question it answers")
_ACROSS: Final = {"sum": "sum", "max": "largest", "process": "each"}

_HEAD: Final = """\
# Metrics

`python -m tools.monitoring.generate` writes this page from `falcon/telemetry/metrics.py`. The operations port exposes
these metrics at `/metrics`; each is on one of the dashboards in `deploy/monitoring/grafana`.

## How to read them

- **Process trees.** Prometheus scrapes a process tree (`falcon up`, or one of `falcon api`, `write` and `project`),
  not a process. Each process counts in files of its own in shared memory, by prometheus-client's multiprocess mode. The
  operations port combines the values of the processes, and the tables say how: it shows their *sum*, the *largest*, or
  one series for *each*, with the label `process`.
- **Restarts.** The files are named for a role and a place, not for a pid. A process that replaces a killed one
  continues its counts, so counters and histograms do not fall back. Each process passes on once a second what it has
  measured, so `kill -9` loses the last second. Counts start at 0 when the whole tree restarts. Gauges include live
  processes only.
- **Across instances** add the sums, and take the largest of the largest: `sum(falcon_partitions_owned)`,
  `max(falcon_partitions)`.
- **Histograms** have a bucket for each power of two (seconds: from 0.12 ms to 8 s; sizes: from 1 to 65,536). Quantiles
  from them can be wrong by a factor of two, and are never above 8 s. What was slower than a bound is exact:
  `increase(falcon_x_seconds_count[5m]) - ignoring (le) increase(falcon_x_seconds_bucket{le="4.0"}[5m])`.
- **Gauges**, such as sizes and ages, are at most about a second old. If a process hangs, its gauges keep
  their last values, and `falcon_process_sampled_seconds` says for how long.
- **Nothing yet.** Counters of failures, restarts, logged errors, commands and requests start at 0. Each metric, and
  each label value, that a dashboard or an alert names has a series from the start. Some other label values, such as
  the route of a histogram, have no series before their first event. In a ratio write `(sum(rate(…)) or vector(0)) /
  sum(rate(…))`. `increase` does not see the first event of a new series: for rare events, such as streams that Falcon
  ended, write `(x unless x offset 5m) or increase(x[5m])`. A process without an event loop has no series for its
  delay.
- **Streams** are requests, too. `falcon_http_requests` and `falcon_http_request_seconds` count a stream when it ends,
  with its whole life as its time: exclude `route="/v1/stream"` from statements about times. The status of a WebSocket
  is `1xx`.
- **Pushed** means that Falcon has handed an event to a connection. `falcon_streams_queued_bytes` counts the bytes
  that wait there for slow clients.
- `FALCON_TELEMETRY=off` measures nothing; figures of the operating system for each process stay.
"""


def files() -> dict[str, str]:
    """The files by path from the repository's root."""
    return {PATH: _text()}


def _text() -> str:
    parts = [_HEAD, _labels_section()]
    for heading, questions in QUESTIONS.items():
        rows = [_row(name, question) for name, question in questions.items()]
        parts.append(f"## {heading[0].upper()}{heading[1:]}\n\n{markdown_table(_COLUMNS, rows, len(_COLUMNS))}\n")
    return "\n".join(parts)


def _labels_section() -> str:
    rows = [(f"`{label}`", values, bound) for label, (values, bound) in LABELS.items()]
    return "\n".join(
        [
            "## Labels",
            "",
            "Few, and what they can be is bounded: never a room, an account, a message, an address or a pid.",
            "",
            markdown_table(("label", "what its values are", "why they are bounded"), rows, words=3),
            "",
        ]
    )


def _row(name: str, question: str) -> tuple[str, ...]:
    if name in REGISTRY:
        return _declared(REGISTRY[name], question)
    if name == INFO[0]:
        return _cells(f"`{name}`", "gauge", "–", INFO[2], INFO[1], question)
    return _cells(f"`{name}`", "gauge", "each", ("process",), PROCESS_GAUGES[name], question)


def _declared(metric: AnyMetric, question: str) -> tuple[str, ...]:
    names, kind = f"`{metric.name}`", str(metric.kind)
    if metric.kind == "counter":
        names = f"`{metric.name}_total`"
    return _cells(names, kind, _ACROSS[metric.across], metric.shown_labels, metric.help, question)


def _cells(names: str, kind: str, across: str, labels: tuple[str, ...], meaning: str, question: str) -> tuple[str, ...]:
    shown = ", ".join(f"`{label}`" for label in labels) or "–"
    return names, kind, across, shown, meaning, question
