// The stream of events while a person is signed in.

import { Problem } from "./client/index.js";
import { backoff, FIRST_MS, LONGEST_MS, sleep } from "./pauses.js";

const DOUBT_MS = 2_000;
// Reasons that have a text of their own.
const WHYS = new Set(["network", "silent", "closed", "draining", "slow", "overloaded", "unavailable"]);

export class Listening {
  #falcon;
  #on;
  #stream = null;
  #watched = [];
  #stopped = false;
  #connectedAt = null;
  #doubting = null;
  #failures = 0;

  /** ``onEvent(type, data)`` must return at once. ``onState({ state, why, until })``: connecting, connected or offline. ``onRestarted()``:
   * what the page shows may not exist any more. */
  constructor(falcon, { onEvent, onState, onRestarted, onUnauthenticated }) {
    this.#falcon = falcon;
    this.#on = { event: onEvent, state: onState, restarted: onRestarted, unauthenticated: onUnauthenticated };
  }

  start() {
    void this.#run();
  }

  stop() {
    this.#stopped = true;
    clearTimeout(this.#doubting);
    this.#stream?.close();
  }

  /** Reconnects at once after the network or the screen is back, and drops a connection that has been silent. */
  nudge() {
    this.#stream?.nudge();
  }

  /** Asks for the presence of these accounts, and of no others. */
  watch(accountIds) {
    this.#watched = accountIds;
    this.#stream?.watch(accountIds);
  }

  /** Reconnects after a request failed, instead of waiting for silence. No event is lost. */
  doubt() {
    const doubted = this.#connectedAt;
    if (doubted === null) return; // it is connecting
    clearTimeout(this.#doubting);
    this.#doubting = setTimeout(
      () => doubted === this.#connectedAt && this.#stream?.reconnect(navigator.onLine ? "unreachable" : "network"),
      Math.max(0, doubted + DOUBT_MS - Date.now()),
    );
  }

  async #run() {
    while (!this.#stopped) {
      try {
        await this.#listen();
      } catch (fault) {
        if (this.#stopped) return;
        if (fault instanceof Problem && fault.status === 401) return void this.#unauthenticated();
        // An event failed: start again with the state.
        console.error("the stream begins again", fault);
        const pause = backoff(this.#failures++);
        this.#is({ state: "offline", why: "closed", until: Date.now() + pause });
        await sleep(pause);
      }
    }
  }

  async #listen() {
    const stream = this.#falcon.stream({
      signals: ["typing", "accounts"],
      watch: this.#watched,
      onState: (state) => this.#is(state),
      firstPauseMs: FIRST_MS,
      longestPauseMs: LONGEST_MS,
    });
    this.#stream = stream;
    for await (const { type, data } of stream) {
      if (type === "restarted") this.#on.restarted();
      else if (type !== "bye") this.#on.event(type, data);
      else if (data.reason === "unauthenticated") return void this.#unauthenticated();
    }
  }

  #is({ state, why, until }) {
    this.#connectedAt = state === "connected" ? Date.now() : null;
    if (state === "connected") this.#failures = 0;
    if (!this.#stopped) this.#on.state({ state, why: why && (WHYS.has(why) ? why : "unreachable"), until });
  }

  #unauthenticated() {
    this.#stopped = true;
    this.#on.unauthenticated();
  }
}
