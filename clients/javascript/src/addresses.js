// Which of the server's addresses the next attempt goes to.

const SHUNNED_MS = 2_000;

/** Takes turns over the addresses and, for a moment, keeps off the ones that did not answer. */
export class Addresses {
  #urls;
  #turn = 0;
  #shunnedUntil = new Map();

  /** Throws TypeError for an address that is not an HTTP address. */
  constructor(urls) {
    this.#urls = urls.map(checked);
    if (!this.#urls.length) throw new TypeError("a client needs at least one address");
  }

  /** The address whose turn it is; a shunned one only if all are. */
  next() {
    const now = performance.now();
    for (let n = 0; n < this.#urls.length; n++) {
      const url = this.#urls[this.#turn++ % this.#urls.length];
      if ((this.#shunnedUntil.get(url) ?? 0) <= now) return url;
    }
    return this.#urls[this.#turn++ % this.#urls.length];
  }

  /** Keep off this address for a moment. True: another one is worth trying at once. */
  shun(url) {
    const now = performance.now();
    this.#shunnedUntil.set(url, now + SHUNNED_MS);
    return this.#urls.some((each) => (this.#shunnedUntil.get(each) ?? 0) <= now);
  }
}

function checked(text) {
  const url = URL.canParse?.(text) === false ? null : new URL(text);
  if (!url || !/^https?:$/.test(url.protocol)) {
    throw new TypeError(`${text} is not an address: one begins with http:// or https://, such as http://127.0.0.1:8080`);
  }
  return String(text).replace(/\/+$/, "");
}
