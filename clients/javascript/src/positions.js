// How far the caller's own writes reach in the log.

const BRIEFLY_MS = 10_000;

/** The largest offset of each partition. ``briefly``: each is forgotten after ten seconds, or after a failed read. */
export class Positions {
  #offsets = new Map();
  #briefly;

  constructor(briefly = false) {
    this.#briefly = briefly;
  }

  /** ``header``: ``PARTITION:OFFSET[,PARTITION:OFFSET…]``. Throws RangeError for anything else. */
  remember(header) {
    if (!/^\d+:\d+(,\d+:\d+)*$/.test(header)) throw new RangeError(`not a Falcon-Position: ${header}`);
    const until = this.#briefly ? Date.now() + BRIEFLY_MS : Infinity;
    for (const entry of header.split(",")) {
      const [partition, offset] = entry.split(":").map(Number);
      this.#offsets.set(partition, { offset: Math.max(offset, this.#offsets.get(partition)?.offset ?? 0), until });
    }
  }

  forget() {
    this.#offsets.clear();
  }

  /** A read with these positions failed. An answer that is a little old is better than none. */
  failed() {
    if (this.#briefly) this.forget();
  }

  toString() {
    const now = Date.now();
    for (const [partition, { until }] of this.#offsets) if (until < now) this.#offsets.delete(partition);
    return [...this.#offsets]
      .sort(([one], [other]) => one - other)
      .map(([partition, { offset }]) => `${partition}:${offset}`)
      .join(",");
  }
}
