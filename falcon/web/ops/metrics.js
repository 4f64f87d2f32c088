// Reads the text format of Prometheus, and compares two readings.

const LINE = /^([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{(.*)\})? ([^ ]+)/;
const LABEL = /([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\]|\\.)*)"/g;

/** Lists of ``{labels, value}`` by name. Comments and unknown lines are skipped. */
export function parse(text) {
  const found = new Map();
  for (const line of text.split("\n")) {
    const match = line.startsWith("#") ? null : LINE.exec(line);
    if (!match) continue;
    const labels = {};
    for (const [, name, value] of (match[2] ?? "").matchAll(LABEL)) labels[name] = value;
    const series = found.get(match[1]) ?? [];
    series.push({ labels, value: Number(match[3]) });
    found.set(match[1], series);
  }
  return found;
}

/** ``seconds``: between the readings. ``before`` is null the first time. */
export class Measured {
  constructor(before, now, seconds) {
    this.before = before;
    this.now = now;
    this.seconds = seconds;
  }

  /** The values of the series of a metric whose labels match. */
  values(name, where = {}, of = this.now) {
    const fits = ({ labels }) => Object.entries(where).every(([label, wanted]) => wanted(labels[label]));
    return (of?.get(name) ?? []).filter(fits).map(({ value }) => value);
  }

  has(name) {
    return this.now.has(name);
  }

  sum(name, where = {}) {
    return total(this.values(name, where));
  }

  largest(name, where = {}) {
    return Math.max(0, ...this.values(name, where));
  }

  /** Increase of a counter per second. A counter that fell was reset. */
  rate(name, where = {}) {
    if (!this.before) return 0;
    return Math.max(0, total(this.values(name, where)) - total(this.values(name, where, this.before))) / this.seconds;
  }

  /** The mean of a histogram between the readings; null if there was no value. */
  mean(name, where = {}) {
    const count = this.rate(`${name}_count`, where);
    return count > 0 ? this.rate(`${name}_sum`, where) / count : null;
  }
}

export const is = (wanted) => (value) => value === wanted;
export const isNot = (unwanted) => (value) => value !== unwanted;

function total(values) {
  return values.reduce((sum, value) => sum + value, 0);
}
