// How long to go on trying, and how long to wait in between.

import { aborted, Unreachable } from "./errors.js";

const FIRST_MS = 50;
const LONGEST_MS = 2_000;
const MOST_DOUBLINGS = 10;

/** Resolves after ``ms``, or as soon as ``signal`` aborts: then it throws the signal's reason. */
export function sleep(ms, signal = null) {
  return new Promise((resolve, reject) => {
    if (signal?.aborted) return reject(aborted(signal));
    const end = () => {
      clearTimeout(timer);
      reject(aborted(signal));
    };
    const timer = setTimeout(() => {
      signal?.removeEventListener("abort", end);
      resolve();
    }, ms);
    signal?.addEventListener("abort", end, { once: true });
    return undefined;
  });
}

/** A pause that doubles with each failure up to ``longestMs``, at random in its upper half: clients come back one by one. */
export function backoff(failures, firstMs = FIRST_MS, longestMs = LONGEST_MS) {
  return Math.min(longestMs, firstMs * 2 ** Math.min(failures, MOST_DOUBLINGS)) * (0.5 + Math.random() / 2);
}

/** At least as long as the server asked for, and a little more, so that those who were refused together do not come back together. */
export function afterAtLeast(ms) {
  return ms * (1 + Math.random() / 10);
}

/** A deadline ``timeoutMs`` ahead, and the pauses between the attempts before it. */
export class Patience {
  #timeoutMs;
  #deadline;
  #key;
  #failures = 0;

  constructor(timeoutMs, key = null) {
    this.#timeoutMs = timeoutMs;
    this.#deadline = Date.now() + timeoutMs;
    this.#key = key;
  }

  get leftMs() {
    return Math.max(0, this.#deadline - Date.now());
  }

  /** Pause before the next attempt. Throws Unreachable if that would come after the deadline. */
  async wait(met, retryAfterMs, signal) {
    const pause = retryAfterMs === null ? backoff(this.#failures++) : afterAtLeast(retryAfterMs);
    if (pause >= this.leftMs) throw this.ended(met);
    await sleep(pause, signal);
  }

  ended(met) {
    return new Unreachable(`no answer within ${this.#timeoutMs} ms; the last attempt: ${met.message}`, met, this.#key);
  }
}
