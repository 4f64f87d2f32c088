// The stream over connections that break: every event once and in order, for as long as it is read.

import { parsed, passes, pieces } from "./connection.js";
import { Problem, ResumeRefused } from "./errors.js";
import { atLeast, backoff, sleep } from "./patience.js";
import { Parser } from "./sse.js";

const PATH = "/v1/stream";
const SILENCE_MS = 25_000; // the server says something at least every 15 seconds
const STEADY_MS = 5_000;
const RESTARTED = "restarted"; // made here: a restored server does not have the history of the stream
const WATCHING = "watching"; // a connection is given up since the stream is to watch other accounts

/** The events that this client knows. A later server may send others, which are passed over. */
export const EVENTS = Object.freeze([
  "hello",
  "caught_up",
  "catch_up",
  "message.posted",
  "message.edited",
  "message.deleted",
  "reaction.added",
  "reaction.removed",
  "pin.added",
  "pin.removed",
  "thread.started",
  "thread.changed",
  "read.moved",
  "bookmark.set",
  "bookmark.removed",
  "room.created",
  "room.changed",
  "room.deleted",
  "member.joined",
  "member.changed",
  "member.left",
  "typing",
  "presence",
  "account",
  "receipts",
  "bye",
]);
const KNOWN = new Set(EVENTS);
const BEGINNINGS = new Set(["hello", "caught_up", "catch_up"]);

/** See FalconClient.stream. One loop listens to it. */
export class Stream {
  #connection;
  #params;
  #headers = { Accept: "text/event-stream" };
  #id;
  #given;
  #onState;
  #pauses;
  #failures = 0;
  #closed = false;
  #abort = null;
  #whyAborted = null;
  #wake = new AbortController();
  #heardAt = 0;
  #events;

  constructor(connection, { rooms = null, resume = null, signals = [], watch = [], onState = null, firstPauseMs, longestPauseMs } = {}) {
    this.#connection = connection;
    this.#params = { rooms: rooms && ids(rooms), signals: ids(signals), watch: ids(watch) };
    this.#given = this.#id = resume || null;
    this.#onState = onState ?? (() => {});
    this.#pauses = [firstPauseMs, longestPauseMs];
    this.#events = this.#run();
    connection.closed.addEventListener("abort", this.close);
  }

  /** The id of the last event that was handed out: ``resume`` for another stream that continues after it. */
  get id() {
    return this.#id;
  }

  [Symbol.asyncIterator]() {
    return this;
  }

  next() {
    return this.#events.next();
  }

  async return() {
    this.close();
    return { done: true, value: undefined };
  }

  /** End the stream. A loop over it ends. */
  close = () => {
    this.#closed = true;
    this.#connection.closed.removeEventListener("abort", this.close);
    this.#abort?.abort();
    this.#wake.abort();
    void this.#events.return();
  };

  /** Something has changed outside, such as the network or the screen: do not wait any longer for the next attempt, and
   * reconnect if this connection has been silent for a while. A computer that slept finds its connections open and dead. */
  nudge() {
    this.#failures = 0;
    this.#wake.abort();
    if (this.#abort && Date.now() - this.#heardAt > SILENCE_MS / 2) this.reconnect("silent");
  }

  /** Watch these accounts from now on, instead of those before: ``presence`` tells of them. At most 500.
   *
   * The stream continues over another connection, without losing an event. So keep those whom you will need again. */
  watch(accountIds) {
    const watched = ids(accountIds);
    if (watched === this.#params.watch) return;
    this.#params.watch = watched;
    this.reconnect(WATCHING);
  }

  /** Go on over another connection. No event is lost. */
  reconnect(reason = "closed") {
    this.#whyAborted = reason;
    this.#abort?.abort();
  }

  async *#run() {
    try {
      yield* this.#connections();
    } finally {
      this.#connection.closed.removeEventListener("abort", this.close);
    }
  }

  /** One connection after another, until the stream is closed or refused. */
  async *#connections() {
    while (!this.#closed) {
      if (this.#whyAborted !== WATCHING) this.#onState({ state: "connecting" });
      const began = Date.now();
      let lost;
      try {
        lost = yield* this.#connected();
      } catch (fault) {
        if (this.#closed) return;
        if (this.#id && isOfResume(fault)) {
          if (this.#id === this.#given) throw new ResumeRefused(fault.status, fault.code, fault.detail, fault);
          this.#id = null;
          this.#connection.positions.forget(); // they are of the history that is gone, too
          yield { type: RESTARTED, data: {}, id: "" };
          continue;
        }
        if (!passes(fault)) throw fault;
        if (this.#whyAborted === WATCHING) continue;
        lost = { why: this.#reason(fault), afterMs: fault.retryAfterMs ?? null, met: fault };
      }
      if (this.#closed) return;
      if (Date.now() - began > STEADY_MS) this.#failures = 0;
      const pause = atLeast(lost.afterMs, backoff(this.#failures++, ...this.#pauses));
      this.#onState({ state: "offline", until: Date.now() + pause, ...lost });
      this.#wake = new AbortController();
      await sleep(pause, this.#wake.signal).catch(() => {});
    }
  }

  /** One connection. Gives why it is over, and after how long to come back if the server has said so. */
  async *#connected() {
    const abort = new AbortController();
    this.#abort = abort;
    this.#whyAborted = null;
    let timer;
    // While the server is waited for, and not while the caller takes its time with an event.
    const listen = () => (timer = setTimeout(() => this.reconnect("silent"), SILENCE_MS));
    const heard = () => {
      clearTimeout(timer);
      this.#heardAt = Date.now();
    };
    listen();
    try {
      const headers = this.#id ? { ...this.#headers, "Last-Event-ID": this.#id } : this.#headers;
      const response = await this.#connection.open(PATH, this.#params, headers, abort.signal);
      heard();
      const kind = response.headers.get("Content-Type") ?? "";
      if (!kind.toLowerCase().startsWith("text/event-stream")) throw new Problem(response.status, "not_falcon", `${PATH} answers with ${kind}`);
      const decoder = new TextDecoder();
      const parser = new Parser();
      listen();
      for await (const piece of pieces(response, abort.signal)) {
        heard();
        for (const block of parser.feed(decoder.decode(piece, { stream: true }))) {
          const event = read(block, this.#id);
          this.#id = event.id;
          if (!KNOWN.has(event.type)) continue;
          yield event;
          if (this.#closed) return { why: "closed", afterMs: null };
          if (event.type === "bye") return { why: event.data.reason, afterMs: event.data.retry_after_ms ?? null };
          if (BEGINNINGS.has(event.type)) this.#onState({ state: "connected" });
        }
        listen();
      }
      return { why: "closed", afterMs: null };
    } finally {
      clearTimeout(timer);
      abort.abort();
      this.#abort = null;
    }
  }

  #reason(fault) {
    if (this.#whyAborted) return this.#whyAborted;
    if (globalThis.navigator?.onLine === false) return "network";
    return fault instanceof Problem ? fault.code : "unreachable";
  }
}

const isOfResume = (fault) => fault instanceof Problem && fault.errors.some(({ field }) => field === "resume");
const ids = (all) => [...all].join(",") || null;

function read({ id, name, data }, before) {
  const value = parsed(data);
  if (value === undefined) throw new Problem(200, "not_falcon", `${name} comes with data that are not JSON`);
  return { type: name, data: value, id: id || before };
}

