// Requests to /v1, and what can come of them.

const ANSWER_MS = 15_000;
const POSITION_MS = 10_000; // for so long a read asks to see what was done here

/** A refusal, as the server states it. */
export class Problem extends Error {
  constructor(status, body, retryAfterMs) {
    super(body.detail ?? body.title ?? `HTTP ${status}`);
    this.status = status;
    this.code = body.code ?? "unknown";
    this.detail = body.detail ?? "";
    this.errors = body.errors ?? [];
    this.retryAfterMs = retryAfterMs;
  }

  /** Whether the same request, with the same key, may do better later. */
  get passing() {
    return this.status === 429 || this.status >= 500;
  }
}

/** No answer: it is not known whether the request arrived. */
export class Unreachable extends Error {}

export const newKey = () => {
  const bytes = crypto.getRandomValues(new Uint8Array(18));
  return btoa(String.fromCharCode(...bytes)).replaceAll("+", "-").replaceAll("/", "_");
};

export const sleep = (ms) => new Promise((done) => setTimeout(done, ms));

/** Up to ``most``, doubling, somewhere in its upper half so that clients come back one by one. */
export const backoff = (failures, most = 15_000) => Math.min(most, 500 * 2 ** Math.min(failures, 10)) * (0.5 + Math.random() / 2);

export class Api {
  #positions = new Map();

  /** Told once the token is no longer good, and each time no answer comes. */
  onUnauthenticated = () => {};
  onUnreachable = () => {};

  constructor(token) {
    this.token = token;
  }

  get authorization() {
    return `Bearer ${this.token}`;
  }

  /** A query. Tried again for a few seconds; throws Problem, Unreachable. */
  async get(path, tries = 4) {
    for (let failures = 0; ; failures++) {
      try {
        return (await this.#send("GET", path, undefined, this.#positionHeader())).body;
      } catch (error) {
        this.#positions.clear(); // better an answer that is a little old than none
        if (failures + 1 >= tries || (error instanceof Problem && !error.passing)) throw error;
        await sleep(Math.max(error.retryAfterMs ?? 0, backoff(failures, 4_000)));
      }
    }
  }

  /** A command, tried again with the same key until its outcome is known, for a few seconds. */
  async command(method, path, body, tries = 5) {
    const key = newKey();
    for (let failures = 0; ; failures++) {
      try {
        return await this.commandOnce(method, path, body, key);
      } catch (error) {
        if (failures + 1 >= tries || (error instanceof Problem && !error.passing)) throw error;
        await sleep(Math.max(error.retryAfterMs ?? 0, backoff(failures, 4_000)));
      }
    }
  }

  async commandOnce(method, path, body, key) {
    const answer = await this.#send(method, path, body, key === undefined ? {} : { "Idempotency-Key": key });
    const position = answer.headers.get("Falcon-Position");
    for (const each of position?.split(",") ?? []) {
      const [partition, offset] = each.split(":");
      this.#positions.set(partition, { offset, until: Date.now() + POSITION_MS });
    }
    return answer.body;
  }

  #positionHeader() {
    const now = Date.now();
    for (const [partition, { until }] of this.#positions) if (until < now) this.#positions.delete(partition);
    const text = [...this.#positions].map(([partition, { offset }]) => `${partition}:${offset}`).join(",");
    return text ? { "Falcon-Position": text } : {};
  }

  async #send(method, path, body, headers) {
    const abort = new AbortController();
    const timer = setTimeout(() => abort.abort(), ANSWER_MS);
    let response, text;
    try {
      response = await fetch(path, {
        method,
        headers: {
          Authorization: this.authorization,
          ...(body === undefined ? {} : { "Content-Type": "application/json" }),
          ...headers,
        },
        body: body === undefined ? undefined : JSON.stringify(body),
        cache: "no-store",
        credentials: "omit",
        signal: abort.signal,
      });
      text = await response.text();
    } catch (error) {
      this.onUnreachable();
      throw new Unreachable(String(error));
    } finally {
      clearTimeout(timer);
    }
    const value = parsed(text);
    if (response.ok && (response.status === 204 || value !== undefined)) return { body: value, headers: response.headers };
    if (response.status === 401) this.onUnauthenticated();
    throw problemOf(response, value);
  }
}

/** The Problem that an answer is. */
export function problemOf(response, value) {
  const seconds = Number(response.headers.get("Retry-After"));
  // An answer that is no JSON comes from something between here and Falcon.
  const status = response.ok ? 502 : response.status;
  return new Problem(status, value ?? {}, Number.isFinite(seconds) ? seconds * 1000 : 0);
}

export function parsed(text) {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
