// The reactions to the messages of a room, from pages and from events.
//
// A page may be ahead of the events so far or behind them. An event says how many there are after it, so the events
// since the stream began are applied to what a page shows, and the last one is right.

const HEARD_MAX = 400; // messages of which events are kept apart from what was read

export class Reactions {
  #readerId;
  #shows;
  #read = new Map(); // by seq: the reactions as a page has them
  #heard = new Map(); // by seq: the last event of each account and emoji, in order

  /** ``shows(seq)``: true for a message that is loaded. What is known of others is dropped in time. */
  constructor(readerId, shows) {
    this.#readerId = readerId;
    this.#shows = shows;
  }

  /** Takes the messages of a page. While the server prepares its tables they come without reactions. */
  read(messages) {
    for (const { seq, reactions } of messages) {
      if (reactions?.length) this.#read.set(seq, reactions);
      else if (reactions) this.#read.delete(seq);
    }
  }

  /** Takes an event. ``added``: false if the reaction was removed. */
  heard({ seq, account_id, emoji, count }, added) {
    const events = this.#heard.get(seq) ?? new Map();
    const key = `${account_id} ${emoji}`;
    events.delete(key); // so that it is the last one
    events.set(key, { account_id, emoji, count, added });
    this.#heard.delete(seq);
    this.#heard.set(seq, events);
    if (this.#heard.size > HEARD_MAX) this.#settleOne(this.#heard.keys().next().value);
  }

  /** ``[{ emoji, count, accounts, mine }]``. ``accounts``: the first ones, and those from events. */
  of(seq) {
    const shown = new Map((this.#read.get(seq) ?? []).map((each) => [each.emoji, each]));
    for (const { account_id, emoji, count, added } of this.#heard.get(seq)?.values() ?? []) {
      const others = (shown.get(emoji)?.accounts ?? []).filter((accountId) => accountId !== account_id);
      if (count) shown.set(emoji, { emoji, count, accounts: added ? [...others, account_id] : others });
      else shown.delete(emoji);
    }
    return [...shown.values()].map((each) => ({ ...each, mine: each.accounts.includes(this.#readerId) }));
  }

  /** One emoji of a message. */
  find(seq, emoji) {
    return this.of(seq).find((each) => each.emoji === emoji) ?? { emoji, count: 0, accounts: [], mine: false };
  }

  /** Called when events may have been missed: pages that are read from now on are right. */
  settle() {
    for (const seq of [...this.#heard.keys()]) this.#settleOne(seq);
  }

  /** Drops what was read of messages that are no longer loaded. */
  trim() {
    for (const seq of [...this.#read.keys()]) if (!this.#shows(seq)) this.#read.delete(seq);
  }

  #settleOne(seq) {
    this.read([{ seq, reactions: this.#shows(seq) ? this.of(seq) : [] }]);
    this.#heard.delete(seq);
  }
}
