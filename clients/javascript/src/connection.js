// Requests that are retried, spread over the server's addresses, and that read what was written.

import { Addresses } from "./addresses.js";
import { aborted, Problem } from "./errors.js";
import { LONGEST_TIMER_MS, Patience } from "./patience.js";
import { Positions } from "./positions.js";

// 408 also comes from a proxy that closes an idle connection. Retrying is safe for each: a command keeps its key.
const RETRIED_4XX = new Set([408, 425, 429]);
const ATTEMPTS = 3; // that fit into a call's time even if the server hangs

/** An idempotency key that no other command has. */
export function newKey() {
  const bytes = crypto.getRandomValues(new Uint8Array(18));
  return btoa(String.fromCharCode(...bytes)).replaceAll("+", "-").replaceAll("/", "_");
}

export class Connection {
  #addresses;
  #token;
  #timeoutMs;
  #attemptMs;
  #readOwnWrites;
  #fetch;
  #closing = new AbortController();

  /** Called with what each failed attempt met, also if it is retried. */
  onFailure;

  constructor(urls, token, { timeoutMs = 30_000, attemptMs = null, readOwnWrites = true, onFailure = null, fetch = null } = {}) {
    this.#addresses = new Addresses(Array.isArray(urls) ? urls : [urls]);
    this.#token = typeof token === "function" || token === null ? token : visibleAscii(token, "a token");
    this.#timeoutMs = timeoutMs;
    this.#attemptMs = attemptMs;
    this.#readOwnWrites = readOwnWrites;
    this.#fetch = fetch ?? ((...request) => globalThis.fetch(...request));
    this.onFailure = onFailure;
    this.positions = new Positions(readOwnWrites === "briefly");
  }

  /** A signal that aborts when the client is closed. */
  get closed() {
    return this.#closing.signal;
  }

  /** Abort everything that is under way. */
  close() {
    this.#closing.abort(new DOMException("The client was closed", "AbortError"));
  }

  patience(key, timeoutMs = this.#timeoutMs) {
    return new Patience(timeoutMs, key);
  }

  /** Every attempt carries the same key, so the command is executed once. Throws Problem, Unreachable. */
  async command(method, path, body, { key = newKey(), ...options } = {}) {
    const headers = { "Idempotency-Key": visibleAscii(key, "an idempotency key") };
    if (body !== undefined) headers["Content-Type"] = "application/json";
    return this.#answer(method, path, headers, body === undefined ? undefined : JSON.stringify(body), key, options);
  }

  /** The answer knows at least everything that this client has written. Throws Problem, Unreachable. */
  async query(path, params = {}, options = {}) {
    return this.#answer("GET", path + search(params), null, undefined, null, options);
  }

  /**
   * One attempt at a long answer. Resolves with the Response once its headers have come.
   * Throws Problem, whose status may be one to retry, or the error of a broken connection. `pieces` reads the body.
   */
  async open(path, params, headers, signal) {
    const url = this.#addresses.next();
    let response;
    try {
      response = await this.#request(url, "GET", path + search(params), { ...this.#queryHeaders(), ...headers }, undefined, signal);
    } catch (fault) {
      if (!signal.aborted) this.#addresses.shun(url);
      throw fault;
    }
    if (!response.ok) throw refusal(response, await textOf(response, signal));
    return response;
  }

  #queryHeaders() {
    const position = this.#readOwnWrites ? String(this.positions) : "";
    return position ? { "Falcon-Position": position } : {};
  }

  /** Without a token the browser sends the cookie of a session, to its own origin only. */
  #request(url, method, path, headers, body, signal) {
    const token = typeof this.#token === "function" ? visibleAscii(this.#token(), "a token") : this.#token;
    return this.#fetch(url + path, {
      method,
      headers: token === null ? headers : { Authorization: `Bearer ${token}`, ...headers },
      body,
      signal,
      cache: "no-store",
      credentials: token === null ? "same-origin" : "omit",
      redirect: "error",
    });
  }

  async #answer(method, path, headers, body, key, { timeoutMs = this.#timeoutMs, retry = true, signal = null }) {
    const patience = this.patience(key, timeoutMs);
    for (;;) {
      const url = this.#addresses.next();
      const limitMs = this.#attemptMs ?? Math.min(timeoutMs / ATTEMPTS, patience.leftMs);
      let response, text;
      try {
        ({ response, text } = await this.#attempt(url, method, path, headers ?? this.#queryHeaders(), body, limitMs, signal));
      } catch (fault) {
        if (signal?.aborted) throw aborted(signal);
        if (this.closed.aborted) throw this.closed.reason;
        const met = new Error(`${url}: ${why(fault)}`, { cause: fault });
        this.onFailure?.(met);
        this.positions.failed();
        const another = this.#addresses.shun(url);
        if (!retry) throw patience.ended(met);
        if (!another || !patience.leftMs) await patience.wait(met, null, signal);
        continue;
      }
      if (response.ok) return this.#accepted(response, text);
      const met = refusal(response, text);
      this.onFailure?.(met);
      if (!passes(met)) throw met;
      if (method === "GET") this.positions.failed();
      if (!retry) throw patience.ended(met);
      await patience.wait(met, met.retryAfterMs, signal);
    }
  }

  async #attempt(url, method, path, headers, body, limitMs, signal) {
    const abort = new AbortController();
    const timer = setTimeout(() => abort.abort(new DOMException("it took too long", "TimeoutError")), Math.min(limitMs, LONGEST_TIMER_MS));
    const end = () => abort.abort();
    const others = [signal, this.closed].filter(Boolean);
    for (const other of others) {
      if (other.aborted) end();
      other.addEventListener("abort", end, { once: true });
    }
    try {
      const response = await this.#request(url, method, path, headers, body, abort.signal);
      return { response, text: await textOf(response, abort.signal) };
    } finally {
      clearTimeout(timer);
      for (const other of others) other.removeEventListener("abort", end);
    }
  }

  #accepted(response, text) {
    const value = text === "" ? undefined : parsed(text);
    if (value === undefined && response.status !== 204) throw new Problem(response.status, "not_falcon", `${path(response)} does not answer as Falcon does`);
    const position = response.headers.get("Falcon-Position");
    if (position) {
      try {
        this.positions.remember(position);
      } catch {
        throw new Problem(response.status, "not_falcon", `${path(response)} answers with the Falcon-Position ${JSON.stringify(position)}`);
      }
    }
    return value;
  }
}

/** The pieces of a body as they come. Throws when the connection breaks or the signal aborts.
 *
 * The reader is cancelled here, because the fetch of Node forgets its signal once the request is collected as garbage. */
export async function* pieces(response, signal) {
  const reader = response.body.getReader();
  const end = () => void reader.cancel().catch(() => {});
  signal.addEventListener("abort", end, { once: true });
  try {
    for (;;) {
      const { value, done } = await reader.read();
      if (signal.aborted) throw aborted(signal);
      if (done) return;
      yield value;
    }
  } finally {
    signal.removeEventListener("abort", end);
    end();
  }
}

async function textOf(response, signal) {
  if (!response.body) return "";
  const decoder = new TextDecoder();
  let text = "";
  for await (const piece of pieces(response, signal)) text += decoder.decode(piece, { stream: true });
  return text + decoder.decode();
}

/** Whether the same request may do better later. */
export function passes(failure) {
  return !(failure instanceof Problem) || failure.status >= 500 || RETRIED_4XX.has(failure.status);
}

/** What an answer says that is not a success, also if it does not come from Falcon (from a proxy, for example). */
function refusal(response, text) {
  const body = parsed(text) ?? {};
  const seconds = response.headers.has("Retry-After") ? Number(response.headers.get("Retry-After")) : NaN;
  return new Problem(
    response.status,
    body.code || `http_${response.status}`,
    body.detail || body.title || response.statusText || "no reason given",
    { errors: body.errors ?? [], retryAfterMs: Number.isFinite(seconds) ? Math.max(0, seconds) * 1000 : null },
  );
}

/** The text of an error, and of what caused it: fetch says only "fetch failed". */
export function why(fault) {
  return [fault.message || fault.name, fault.cause?.message || fault.cause?.code].filter(Boolean).join(": ");
}

export function parsed(text) {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

function search(params) {
  const given = Object.entries(params).filter(([, value]) => value !== undefined && value !== null);
  return given.length ? `?${new URLSearchParams(given)}` : "";
}

function path(response) {
  return response.url.split("?")[0];
}

function visibleAscii(text, what) {
  if (!/^[!-~]+$/.test(text)) throw new TypeError(`${what} is one or more visible ASCII characters`);
  return text;
}
