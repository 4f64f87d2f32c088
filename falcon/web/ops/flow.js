// Makes the picture's data from metrics: boxes with their figures, and arrows with their rates.

import { is, isNot } from "./metrics.js";

const LATE_SECONDS = 1;
const VERY_LATE_SECONDS = 10;
const STREAM = "/v1/stream";

/** ``{boxes: {name: {title, figures: [[what, text]], state, present}}, ways: {name: rate}}``; rates are per second. */
export function flow(measured) {
  const commands = measured.rate("falcon_commands_total");
  const requests = measured.rate("falcon_http_requests_total");
  return {
    boxes: {
      http: http(measured, requests),
      mailboxes: mailboxes(measured),
      shards: shards(measured),
      journal: journal(measured),
      projections: projections(measured),
      tables: tables(measured),
      streams: streams(measured),
    },
    ways: {
      "clients-http": requests,
      "http-mailboxes": commands,
      "mailboxes-shards": measured.rate("falcon_batch_commands_sum"),
      "shards-journal": measured.rate("falcon_journal_commit_events_sum"),
      "journal-projections": measured.rate("falcon_projected_events_total", { projection: is("timeline") }),
      "projections-tables": measured.rate("falcon_projected_events_total"),
      "tables-http": measured.rate("falcon_read_seconds_count"),
      "journal-streams": measured.rate("falcon_stream_events_total"),
      "streams-listeners": measured.rate("falcon_stream_deliveries_total"),
    },
  };
}

function http(measured, requests) {
  const failed = measured.rate("falcon_http_requests_total", { status: is("5xx") });
  return {
    title: "HTTP",
    present: measured.has("falcon_http_requests_in_flight"),
    state: failed > 0 ? (failed > requests / 20 ? "alarm" : "warn") : "",
    figures: [
      ["in flight", whole(measured.sum("falcon_http_requests_in_flight"))],
      ["mean time", duration(measured.mean("falcon_http_request_seconds", { route: isNot(STREAM) }))],
      ["refused or failed", rate(failed)],
    ],
  };
}

function mailboxes(measured) {
  const size = measured.sum("falcon_mailbox_size");
  const bound = measured.sum("falcon_mailbox_bound");
  const oldest = measured.largest("falcon_mailbox_oldest_seconds");
  return {
    title: "Mailboxes",
    present: measured.has("falcon_mailbox_size"),
    state: worse(late(oldest), bound && size > bound * 0.9 ? "alarm" : bound && size > bound / 2 ? "warn" : ""),
    figures: [
      ["waiting", `${whole(size)} of ${whole(bound)}`],
      ["oldest", duration(oldest)],
      ["refused", rate(measured.rate("falcon_mailbox_rejections_total"))],
    ],
  };
}

function shards(measured) {
  const owned = measured.sum("falcon_partitions_owned");
  return {
    title: "Shards",
    present: measured.has("falcon_partitions_owned"),
    state: owned < measured.sum("falcon_partitions_assigned") ? "warn" : "",
    figures: [
      ["partitions", whole(owned)],
      ["in memory", whole(measured.sum("falcon_aggregates_in_memory"))],
      ["a batch", duration(measured.mean("falcon_actor_processing_seconds"))],
    ],
  };
}

function journal(measured) {
  const oldest = measured.largest("falcon_journal_oldest_append_seconds");
  const failures = measured.rate("falcon_journal_append_failures_total");
  return {
    title: "Journal",
    present: measured.has("falcon_journal_appends_in_flight"),
    state: worse(late(oldest), failures > 0 ? "alarm" : ""),
    figures: [
      ["an append", duration(measured.mean("falcon_journal_commit_seconds"))],
      ["in flight", whole(measured.sum("falcon_journal_appends_in_flight"))],
      ["failed", rate(failures)],
    ],
  };
}

function projections(measured) {
  const lag = measured.largest("falcon_projection_lag_seconds");
  const stopped = measured.sum("falcon_projection_stopped");
  return {
    title: "Projections",
    present: measured.has("falcon_projected_events_total") || measured.has("falcon_projection_stopped"),
    state: worse(late(lag), stopped > 0 ? "alarm" : ""),
    figures: [
      ["behind", `${whole(measured.sum("falcon_projection_lag_events"))} events`],
      ["oldest of them", duration(lag)],
      ["stopped", whole(stopped)],
    ],
  };
}

function tables(measured) {
  const failures = measured.rate("falcon_read_failures_total");
  return {
    title: "Read tables",
    present: measured.has("falcon_read_seconds_count") || measured.has("falcon_projected_events_total"),
    state: failures > 0 ? "alarm" : "",
    figures: [
      ["a call", duration(measured.mean("falcon_read_seconds"))],
      ["failed", rate(failures)],
    ],
  };
}

function streams(measured) {
  const stalled = measured.largest("falcon_streams_stalled_seconds");
  return {
    title: "Streams",
    present: measured.has("falcon_streams"),
    state: late(stalled),
    figures: [
      ["listening", whole(measured.sum("falcon_streams"))],
      ["waiting", bytes(measured.sum("falcon_streams_queued_bytes"))],
      ["closed (too slow)", rate(measured.rate("falcon_streams_ended_total", { reason: is("slow") }))],
    ],
  };
}

function late(seconds) {
  return seconds >= VERY_LATE_SECONDS ? "alarm" : seconds >= LATE_SECONDS ? "warn" : "";
}

function worse(one, other) {
  return [one, other].includes("alarm") ? "alarm" : one || other;
}

export function rate(a_second) {
  if (a_second === 0) return "0/s";
  return `${a_second >= 10 ? Math.round(a_second).toLocaleString("en") : a_second.toFixed(1)}/s`;
}

export function whole(count) {
  return Math.round(count).toLocaleString("en");
}

export function duration(seconds) {
  if (seconds === null) return "–";
  if (seconds === 0) return "0 s";
  if (seconds < 0.001) return `${Math.max(1, Math.round(seconds * 1e6))} µs`;
  return seconds < 1 ? `${(seconds * 1000).toFixed(seconds < 0.1 ? 1 : 0)} ms` : `${seconds.toFixed(1)} s`;
}

export function bytes(count) {
  return count < 1024 ? `${whole(count)} B` : count < 1024 ** 2 ? `${whole(count / 1024)} KiB` : `${whole(count / 1024 ** 2)} MiB`;
}
