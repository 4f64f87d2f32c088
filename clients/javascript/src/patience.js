// How long to keep trying, and how long to wait in between.

import { aborted, Unreachable } from "./errors.js";

const FIRST_MS = 50;
const LONGEST_MS = 2_000;
const MOST_DOUBLINGS = 10;
const KEY_MS = 540_000; // the server remembers a key for ten minutes from the first attempt on

/** A longer timer would fire at once. */
export const LONGEST_TIMER_MS = 2 ** 31 - 1;

/** Resolves after ``ms``, at most 24 days, or as soon as ``signal`` aborts: then it throws the signal's reason. */
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
    }, Math.min(ms, LONGEST_TIMER_MS));
    signal?.addEventListener("abort", end, { once: true });
    return undefined;
  });
}

/** A pause that doubles with each failure up to ``longestMs``, at random in its upper half: clients come back one by one. */
export function backoff(failures, firstMs = FIRST_MS, longestMs = LONGEST_MS) {
  return Math.min(longestMs, firstMs * 2 ** Math.min(failures, MOST_DOUBLINGS)) * (0.5 + Math.random() / 2);
}

/** The pause, but at least as long as the server asked for, if it did, and a little more: clients that were refused together
 * do not come back together. */
export function atLeast(askedMs, pauseMs) {
  return askedMs === null ? pauseMs : Math.max(pauseMs, askedMs * (1 + Math.random() / 10));
}

/**
 * A deadline ``timeoutMs`` ahead, and the pauses between the attempts before it.
 *
 * With a ``key`` it ends before the server forgets the key: an attempt after that would execute the command again. The
 * time in which the computer sleeps counts for this.
 */
export class Patience {
  #timeoutMs;
  #deadline;
  #key;
  #forgottenAt;
  #failures = 0;

  constructor(timeoutMs, key = null) {
    this.#timeoutMs = key === null ? timeoutMs : Math.min(timeoutMs, KEY_MS);
    this.#key = key;
    this.#forgottenAt = key === null ? Infinity : Date.now() + KEY_MS;
    this.renew();
  }

  /** There is progress: the deadline and the pauses start again. */
  renew() {
    this.#deadline = performance.now() + this.#timeoutMs;
    this.#failures = 0;
  }

  get leftMs() {
    return Math.max(0, Math.min(this.#deadline - performance.now(), this.#forgottenAt - Date.now()));
  }

  /** Pause before the next attempt. Throws Unreachable if that would come after the deadline. */
  async wait(met, retryAfterMs, signal) {
    const pause = atLeast(retryAfterMs, backoff(this.#failures++));
    if (pause >= this.leftMs) throw this.ended(met);
    await sleep(pause, signal);
  }

  ended(met) {
    return new Unreachable(`no answer within ${this.#timeoutMs} ms; the last attempt: ${met.message}`, met, this.#key);
  }
}
