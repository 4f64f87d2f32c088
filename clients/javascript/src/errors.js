// How a call can fail.

/** The server refused the request, and would refuse it again. ``code`` is stable; ``detail`` is for people. */
export class Problem extends Error {
  constructor(status, code, detail, { errors = [], retryAfterMs = null } = {}) {
    super(`${status} ${code}: ${detail}`);
    this.name = "Problem";
    this.status = status;
    this.code = code;
    this.detail = detail;
    this.errors = errors;
    this.retryAfterMs = retryAfterMs;
  }
}

/**
 * The server does not have the history that the given ``resume`` continues: it was restored from a copy, or is another
 * one. Start a stream without ``resume``, and read again what you keep.
 */
export class ResumeRefused extends Problem {
  constructor(...said) {
    super(...said);
    this.name = "ResumeRefused";
  }
}

/**
 * No answer before the deadline. It is unknown whether a command was executed: retry it with the same ``key``.
 * ``last`` is what the last attempt met: a Problem (503, 429 …) or the error of a broken connection.
 */
export class Unreachable extends Error {
  constructor(detail, last, key = null) {
    super(detail);
    this.name = "Unreachable";
    this.last = last;
    this.key = key;
  }

  /** How long the server asked to wait, if it did. */
  get retryAfterMs() {
    return this.last instanceof Problem ? this.last.retryAfterMs : null;
  }
}

/** The caller aborted the call. */
export function aborted(signal) {
  return signal.reason ?? new DOMException("The call was aborted", "AbortError");
}
