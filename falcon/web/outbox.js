// Messages that are being sent. Each is stored in localStorage until its outcome is known, so that no reload and no
// broken network loses it. Each has an idempotency key, so that it arrives once, however often it is sent.

import { newKey } from "./client/connection.js";
import { Problem } from "./client/index.js";
import { backoff, sleep } from "./pauses.js";

// The server knows a key for ten minutes. After that the room is searched for the message before it is sent again.
const KEY_MS = 9 * 60_000;
const LOOK_PAGE = 200;

export class Outbox extends EventTarget {
  #chat;
  #prefix;
  #sending = new Set();
  #wakers = new Set();
  #presumed = new Set();
  #stopped = false;
  #count = 0;

  constructor(chat) {
    super();
    this.#chat = chat;
    this.#prefix = `falcon.outbox.${chat.me.account_id}.`;
    window.addEventListener("storage", this.#onStorage);
    chat.addEventListener("posted", (event) => this.#heard(event.detail.message));
    for (const roomId of new Set(this.all().map((entry) => entry.room_id))) void this.#send(roomId);
  }

  #onStorage = (event) => {
    if (event.key?.startsWith(this.#prefix)) this.#tell(parse(event.newValue ?? event.oldValue)?.room_id);
  };

  /** Drops an entry whose message has come on the stream before the answer, so that it is not shown twice. */
  #heard(message) {
    if (message.author_id !== this.#chat.me.account_id) return;
    const sent = (each) => each.key && each.after < message.seq && each.text === message.text && !this.#presumed.has(each.id);
    const entry = this.of(message.room_id).find(sent);
    if (entry) this.#presumed.add(entry.id);
  }

  stop() {
    this.#stopped = true;
    window.removeEventListener("storage", this.#onStorage);
    this.nudge();
  }

  /** All entries without a known outcome, the oldest first. */
  all() {
    const entries = [];
    for (let n = 0; n < localStorage.length; n++) {
      const key = localStorage.key(n);
      if (key.startsWith(this.#prefix)) entries.push(parse(localStorage.getItem(key)));
    }
    return entries.filter(Boolean).sort((a, b) => (a.order < b.order ? -1 : 1));
  }

  of(roomId) {
    return this.all().filter((entry) => entry.room_id === roomId);
  }

  /** The entries that are shown after the messages of a room. */
  shown(roomId) {
    return this.of(roomId).filter((entry) => !this.#presumed.has(entry.id));
  }

  add(room, text, replyTo, mentions, alsoInRoom = false) {
    const now = String(Date.now()).padStart(15, "0");
    const last = this.all().at(-1)?.order.slice(0, now.length) ?? "";
    // A clock that is put back changes no order.
    const order = `${now > last ? now : last}.${String(this.#count++).padStart(6, "0")}`;
    const entry = { id: newKey(), room_id: room.roomId, order, text, reply_to: replyTo, mentions, also_in_room: alsoInRoom || undefined, state: "pending" };
    this.#keep(entry);
    void this.#send(room.roomId);
    return entry;
  }

  retry(id) {
    const entry = this.#entry(id);
    if (!entry) return;
    // A refusal is repeated for its key, so the entry gets a new key.
    this.#keep({ ...entry, state: "pending", code: undefined, detail: undefined, key: undefined, since: undefined });
    void this.#send(entry.room_id);
  }

  discard(id) {
    const entry = this.#entry(id);
    if (entry) this.#drop(entry);
  }

  discardAll() {
    for (const entry of this.all()) this.#drop(entry);
  }

  /** Ends the wait: the connection is back. */
  nudge() {
    for (const wake of this.#wakers) wake();
  }

  #entry(id) {
    return parse(localStorage.getItem(this.#prefix + id));
  }

  #keep(entry) {
    localStorage.setItem(this.#prefix + entry.id, JSON.stringify(entry));
    this.#tell(entry.room_id);
  }

  #drop(entry) {
    localStorage.removeItem(this.#prefix + entry.id);
    this.#tell(entry.room_id);
  }

  #tell(roomId) {
    this.dispatchEvent(new CustomEvent("change", { detail: { roomId } }));
  }

  /** Sends one after the other, so that messages arrive in the order of writing. */
  async #send(roomId) {
    if (this.#sending.has(roomId)) return;
    this.#sending.add(roomId);
    try {
      // Two tabs of an account share the entries, and one of them sends. Without locks both send, and the key decides.
      const name = `${this.#prefix}${roomId}`;
      if (navigator.locks) await navigator.locks.request(name, () => this.#sendAll(roomId));
      else await this.#sendAll(roomId);
    } finally {
      this.#sending.delete(roomId);
    }
    if (!this.#stopped && this.#next(roomId)) void this.#send(roomId); // it came while we left
  }

  #next(roomId) {
    return this.of(roomId).find((entry) => entry.state === "pending");
  }

  async #sendAll(roomId) {
    let failures = 0;
    for (let entry; !this.#stopped && (entry = this.#next(roomId)); ) {
      try {
        await this.#sendOne(entry);
        failures = 0;
      } catch (error) {
        if (error instanceof Problem && error.status < 500 && error.code !== "not_falcon") {
          if (error.status === 401) return;
          this.#presumed.delete(entry.id);
          if (error.code === "idempotency_key_reused") this.#keep({ ...entry, key: undefined, since: undefined });
          else this.#keep({ ...this.#entry(entry.id), state: "failed", code: error.code, detail: error.detail });
          continue;
        }
        await this.#wait(Math.max(error.retryAfterMs ?? 0, backoff(failures++)));
      }
    }
  }

  /** Throws as FalconClient does. */
  async #sendOne(entry) {
    const room = this.#chat.rooms.get(entry.room_id);
    const age = entry.since ? Date.now() - entry.since : 0; // below 0 after the clock was put back: then it is unknown
    if (age > KEY_MS || age < 0) {
      const arrived = await this.#find(entry);
      if (arrived) return this.#arrived(entry, arrived);
      entry = { ...entry, key: undefined, since: undefined };
    }
    // Stored before the attempt, so that a page that is closed now knows of it.
    if (!entry.key) entry = { ...entry, key: newKey(), since: Date.now(), after: room?.lastSeq ?? (await this.#lastSeq(entry)) };
    if (!this.#entry(entry.id)) return undefined; // discarded meanwhile
    this.#keep(entry);
    const { text, reply_to: replyTo, mentions, also_in_room: alsoInRoom, key } = entry;
    const options = { replyTo: replyTo ?? undefined, mentions, alsoInRoom, key, retry: false }; // it is tried again here
    return this.#arrived(entry, await this.#chat.falcon.post(entry.room_id, text, options));
  }

  async #lastSeq(entry) {
    const page = await this.#chat.falcon.messages(entry.room_id, { limit: 1 });
    return page.messages.at(-1)?.seq ?? 0;
  }

  #arrived(entry, message) {
    this.#chat.posted(message); // before it goes from here, so that it is always somewhere
    this.#drop(entry);
  }

  /** The message in the room from an old attempt, if there is one. */
  async #find(entry) {
    for (let after = entry.after; ; ) {
      const page = await this.#chat.falcon.messages(entry.room_id, { limit: LOOK_PAGE, after });
      const found = page.messages.find(
        (message) =>
          message.author_id === this.#chat.me.account_id &&
          message.text === entry.text &&
          message.reply_to === (entry.reply_to ?? null),
      );
      if (found || !page.has_after || !page.messages.length) return found;
      after = page.messages.at(-1).seq;
    }
  }

  async #wait(ms) {
    let wake;
    const woken = new Promise((done) => this.#wakers.add((wake = done)));
    await Promise.race([sleep(ms), woken]);
    this.#wakers.delete(wake);
  }
}

function parse(text) {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}
