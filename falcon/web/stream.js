// The stream of events, by fetch: EventSource cannot send Authorization. It goes on for as long as one is signed in.

import { backoff, parsed, problemOf } from "./api.js";

const SILENT_MS = 25_000; // the server is never silent for more than fifteen seconds
const STEADY_MS = 5_000;
const DOUBT_MS = 2_000;

export class Stream {
  #api;
  #onEvent;
  #onState;
  #id = "";
  #abort = null;
  #stopped = false;
  #failures = 0;
  #heardAt = 0;
  #connectedAt = Infinity;
  #doubting = null;
  #wake = () => {};
  #whyAborted = null;

  /** ``onEvent(name, data)`` must not wait; ``onState({state, why, until})``: connecting, connected or offline. */
  constructor(api, onEvent, onState) {
    this.#api = api;
    this.#onEvent = onEvent;
    this.#onState = onState;
  }

  start() {
    void this.#run();
  }

  stop() {
    this.#stopped = true;
    this.#abort?.abort();
    this.#wake();
  }

  /** Something has changed outside, the network or the screen: do not wait, and do not trust a connection that has
   * been silent, since a machine that slept finds its connections open and dead. */
  nudge() {
    this.#failures = 0;
    this.#wake();
    if (this.#abort && Date.now() - this.#heardAt > SILENT_MS / 2) this.#end("silent");
  }

  /** Something else did not get through: see whether this does, rather than wait for silence. Nothing is lost by it. */
  doubt() {
    const doubted = this.#abort;
    if (!doubted || this.#connectedAt === Infinity) return; // it is being seen just now
    clearTimeout(this.#doubting);
    this.#doubting = setTimeout(
      () => doubted === this.#abort && this.#end(navigator.onLine ? "unreachable" : "network"),
      Math.max(0, this.#connectedAt + DOUBT_MS - Date.now()),
    );
  }

  async #run() {
    while (!this.#stopped) {
      this.#onState({ state: "connecting" });
      const began = Date.now();
      const { why, afterMs } = await this.#listen();
      if (this.#stopped) return;
      this.#failures = Date.now() - began > STEADY_MS ? 0 : this.#failures + 1;
      const waitMs = Math.max(afterMs ?? 0, why === "draining" && afterMs ? 0 : backoff(this.#failures));
      this.#onState({ state: "offline", why, until: Date.now() + waitMs });
      await new Promise((done) => {
        const timer = setTimeout(done, waitMs);
        this.#wake = () => {
          clearTimeout(timer);
          done();
        };
      });
      this.#wake = () => {};
    }
  }

  #end(why) {
    this.#whyAborted = why;
    this.#abort?.abort();
  }

  /** One connection, until it is over: why, and after how long to come back if the server has said so. */
  async #listen() {
    this.#abort = new AbortController();
    this.#whyAborted = null;
    this.#connectedAt = Infinity;
    let timer;
    const heard = () => {
      this.#heardAt = Date.now();
      clearTimeout(timer);
      timer = setTimeout(() => this.#end("silent"), SILENT_MS);
    };
    try {
      heard();
      const response = await fetch("/v1/stream?signals=typing,presence", {
        headers: {
          Authorization: this.#api.authorization,
          Accept: "text/event-stream",
          ...(this.#id ? { "Last-Event-ID": this.#id } : {}),
        },
        cache: "no-store",
        credentials: "omit",
        signal: this.#abort.signal,
      });
      if (!response.ok) return this.#refused(problemOf(response, parsed(await response.text())));
      if (!response.headers.get("Content-Type")?.startsWith("text/event-stream")) return { why: "unreachable" };
      return await this.#read(response.body.getReader(), heard);
    } catch {
      return { why: this.#whyAborted ?? (navigator.onLine ? "unreachable" : "network") };
    } finally {
      clearTimeout(timer);
      this.#abort.abort();
      this.#abort = null;
    }
  }

  #refused(problem) {
    if (problem.status === 401) {
      this.#stopped = true;
      this.#api.onUnauthenticated();
      return { why: "closed" };
    }
    if (problem.status === 400 && this.#id) {
      this.#id = ""; // a token of another log, or of another time: begin anew
      return { why: "closed", afterMs: 0 };
    }
    const why = ["overloaded", "unavailable"].includes(problem.code) ? problem.code : "unreachable";
    return { why, afterMs: problem.retryAfterMs };
  }

  async #read(reader, heard) {
    const decoder = new TextDecoder();
    const parser = new EventParser();
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return { why: "closed" };
      heard();
      for (const { id, name, data } of parser.feed(decoder.decode(value, { stream: true }))) {
        if (name === "bye") return this.#bye(JSON.parse(data), id);
        try {
          this.#onEvent(name, JSON.parse(data));
        } catch (error) {
          console.error("an event could not be taken in; beginning anew", name, error);
          this.#id = "";
          return { why: "closed" };
        }
        if (id) this.#id = id;
        if (name === "hello" || name === "caught_up" || name === "catch_up") {
          this.#connectedAt = Date.now();
          this.#onState({ state: "connected" });
        }
      }
    }
  }

  #bye(bye, id) {
    if (id) this.#id = id;
    if (bye.reason === "unauthenticated") {
      this.#stopped = true;
      this.#api.onUnauthenticated();
    }
    return { why: bye.reason, afterMs: bye.retry_after_ms };
  }
}

/** Text in, events out, however the text was cut. */
export class EventParser {
  #rest = "";
  #event = { id: "", name: "message", data: [] };

  feed(text) {
    const lines = (this.#rest + text).split("\n");
    this.#rest = lines.pop();
    const events = [];
    for (let line of lines) {
      if (line.endsWith("\r")) line = line.slice(0, -1);
      if (line === "") {
        const { id, name, data } = this.#event;
        if (data.length) events.push({ id, name, data: data.join("\n") });
        this.#event = { id: "", name: "message", data: [] };
        continue;
      }
      const colon = line.indexOf(":");
      if (colon === 0) continue; // a comment, to show that all is well
      const field = colon < 0 ? line : line.slice(0, colon);
      const value = colon < 0 ? "" : line.slice(colon + 1).replace(/^ /, "");
      if (field === "id") this.#event.id = value;
      else if (field === "event") this.#event.name = value;
      else if (field === "data") this.#event.data.push(value);
    }
    return events;
  }
}
