// Whose presence the stream tells: those whose names are on the screen, and those whose names were.
//
// A change costs a connection. So people stay watched while there is room for them, and soon nothing changes any more.

const MOST = 500; // that a stream may watch
const TOGETHER_MS = 200;

export class Watching {
  #stream;
  #watched = new Set(); // the ones who were seen last come last
  #timer = null;

  /** ``stream.watch(accountIds)`` is called with all of them when somebody is new. */
  constructor(stream) {
    this.#stream = stream;
  }

  /** These people are on the screen. */
  see(accountIds) {
    const seen = accountIds.slice(0, MOST);
    const isNew = seen.some((accountId) => !this.#watched.has(accountId));
    for (const accountId of seen) {
      this.#watched.delete(accountId);
      this.#watched.add(accountId);
    }
    for (const accountId of this.#watched) {
      if (this.#watched.size <= MOST) break;
      this.#watched.delete(accountId);
    }
    if (isNew) this.#timer ??= setTimeout(() => this.#tell(), TOGETHER_MS);
  }

  #tell() {
    this.#timer = null;
    this.#stream.watch([...this.#watched]);
  }
}
