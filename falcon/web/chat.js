// The state of the account's rooms, from pages and events, in whatever order they arrive.
//
// A page may be ahead of the events so far or, if the tables are behind, behind them. So nothing here is counted up:
// each message is stored by its seq, and the later of two versions wins.

import { Problem } from "./client/index.js";
import { backoff, sleep } from "./pauses.js";
import { Reactions } from "./reactions.js";

const PAGE = 60;
const REFRESH_PAGE = 200;
const LIST_MS = 40_000; // for so long the list of rooms is asked for
const WINDOW_MAX = 600;
const RECENT_MAX = { looked: 400, other: 30 };
const HELPED_BY_STREAM_MS = 600;

/** The later of two versions of a message. */
export function later(one, other) {
  if (!one) return other;
  if (one.deleted !== other.deleted) return one.deleted ? one : other;
  if (one.edited_at !== other.edited_at) return (one.edited_at ?? "") > (other.edited_at ?? "") ? one : other;
  return other;
}

export class Room {
  constructor(roomId, readerId) {
    this.roomId = roomId;
    this.readerId = readerId;
    this.kind = "group";
    this.name = "";
    this.description = "";
    this.role = "member";
    this.lastSeq = 0;
    this.readSeq = 0;
    this.lastMessage = null;
    this.updatedAt = "";
    // Mentions: the number after the read mark as of ``upTo``, and those from events since.
    this.counted = { mentions: 0, upTo: 0 };
    this.mentionedAt = new Set();
    // The loaded part of the history: ascending, without a gap.
    this.messages = [];
    this.loaded = false;
    this.atTail = true; // it follows what is new; otherwise there is more after it
    this.opening = 0;
    this.recent = new Map(); // messages of events, for pages that do not have them yet
    this.quotes = new Map();
    this.threads = new Map(); // by the seq of their root
    this.parent = null; // of a thread: the room and the seq of its root
    this.follows = false;
    this.reactions = this.#noReactions();
    this.members = null;
    this.membersStale = true;
    this.membersLoading = null;
    this.seen = 0;
    this.marking = false;
  }

  /** Without the reader's own and deleted messages, as far as they are known here. */
  get unread() {
    const after = Math.max(0, this.lastSeq - this.readSeq);
    if (!after) return 0;
    const loaded = this.messages.slice(Math.max(0, this.readSeq + 1 - this.first));
    const others = [...this.recent.values()];
    if (this.lastMessage && !this.recent.has(this.lastMessage.seq)) others.push(this.lastMessage);
    const unseen = others.filter(({ seq }) => seq > this.readSeq && !this.message(seq));
    return after - [...loaded, ...unseen].filter(({ author_id, deleted }) => deleted || author_id === this.readerId).length;
  }

  get mentions() {
    const { mentions, upTo } = this.counted;
    let sum = this.readSeq < upTo ? mentions : 0;
    for (const seq of this.mentionedAt) if (seq > upTo && seq > this.readSeq) sum++;
    return sum;
  }

  get first() {
    return this.messages[0]?.seq ?? 0;
  }

  get last() {
    return this.messages.at(-1)?.seq ?? 0;
  }

  get hasBefore() {
    return this.first > 1;
  }

  #noReactions() {
    return new Reactions(this.readerId, (seq) => this.message(seq) !== undefined);
  }

  message(seq) {
    return this.messages.length && seq >= this.first ? this.messages[seq - this.first] : undefined;
  }

  /** Stores these messages where they belong. */
  place(messages) {
    for (const message of messages) {
      this.recent.set(message.seq, later(this.recent.get(message.seq), message));
      const here = this.message(message.seq);
      if (here) this.messages[message.seq - this.first] = later(here, message);
    }
    for (const seq of this.recent.keys()) {
      if (this.recent.size <= (this.loaded ? RECENT_MAX.looked : RECENT_MAX.other)) break;
      this.recent.delete(seq);
    }
  }

  /** Appends messages from events, up to the first gap. */
  extend() {
    if (!this.loaded || !this.atTail) return;
    for (let next = this.last + 1; this.recent.has(next); next++) this.messages.push(this.recent.get(next));
  }

  /** Takes the reactions of a page, and returns its messages, each in its latest known version. */
  read(messages) {
    this.reactions.read(messages);
    for (const { seq, thread } of messages) if (thread) this.threadIs(seq, thread);
    return messages.map((message) => later(message, this.recent.get(message.seq) ?? message));
  }

  /** A thread has grown. Events and pages come in any order. */
  threadIs(seq, thread) {
    const known = this.threads.get(seq);
    if (!known || thread.last_seq >= known.last_seq) this.threads.set(seq, { ...known, ...thread });
  }

  forget() {
    this.messages = [];
    this.reactions = this.#noReactions();
    this.loaded = false;
    this.atTail = true;
    this.opening++;
  }
}

export class Chat extends EventTarget {
  #following = new Map();
  #refreshing = null;
  #asked = new Map(); // by account: the request for its name. It stays, so that no name is asked for twice.

  constructor(falcon, me) {
    super();
    this.falcon = falcon;
    this.me = me;
    this.rooms = new Map();
    this.people = new Map([[me.account_id, me.name]]);
    this.online = new Set();
    this.ready = false;
    this.openId = null;
    this.threadId = null; // of the open thread
    this.unreadThreads = 0;
  }

  nameOf(accountId) {
    return this.people.get(accountId) || `#${accountId}`;
  }

  /** All rooms, the most recently active first. */
  sorted() {
    return [...this.rooms.values()].filter(({ kind }) => kind !== "thread").sort((a, b) =>
      a.updatedAt === b.updatedAt ? b.roomId - a.roomId : a.updatedAt < b.updatedAt ? 1 : -1,
    );
  }

  #tell(type, detail = {}) {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }

  #changed(room) {
    this.#tell("room", { roomId: room.roomId });
  }

  /** An account that is watched has another name. Direct rooms are called by it. */
  #renamed({ account_id, name }) {
    this.people.set(account_id, name);
    for (const room of this.rooms.values()) {
      const member = room.members?.get(account_id);
      if (member) member.name = name;
      if (room.peerId === account_id) room.name = name;
    }
    this.#tell("members");
    this.#tell("rooms");
  }

  // --- events -------------------------------------------------------------------------------------------------------

  take(name, data) {
    if (["hello", "caught_up", "catch_up"].includes(name)) this.online.clear(); // presence is sent again after these
    switch (name) {
      case "hello":
        return this.#hello(data);
      case "typing":
        return this.#tell("typing", data);
      case "presence":
        this.online[data.online ? "add" : "delete"](data.account_id);
        return this.#tell("members");
      case "account":
        return this.#renamed(data);
      case "catch_up":
        for (const { room_id, last_seq } of data.rooms) {
          const room = this.rooms.get(room_id);
          if (room) room.lastSeq = Math.max(room.lastSeq, last_seq);
        }
        return void this.resync();
      case "message.posted":
        return this.#posted(data);
      case "message.edited":
      case "message.deleted":
        return this.#altered(data);
      case "reaction.added":
      case "reaction.removed":
        return this.#reacted(data, name === "reaction.added");
      case "thread.started":
        return this.#threadMoved(data, { room_id: data.thread_id, last_seq: 0, last_at: null });
      case "thread.changed":
        return this.#threadChanged(data);
      case "room.created":
      case "room.changed":
        return this.#roomEvent(data);
      case "room.deleted":
        return this.#gone(data.room_id, true);
      case "member.joined":
      case "member.changed":
      case "member.left":
        return this.#memberEvent(name, data);
      case "read.moved": {
        const room = this.rooms.get(data.room_id);
        if (room) this.#readState(room, data);
        if (!room || room.parent) this.#countThreads();
        return undefined;
      }
      default:
        return this.#tell(name, data); // caught_up, what a part of the page hears by itself, and what later servers may tell
    }
  }

  #hello({ rooms, truncated, unread_threads = 0 }) {
    const here = new Set(rooms.map((room) => room.room_id));
    if (!truncated) for (const { roomId } of this.sorted()) if (!here.has(roomId)) this.#gone(roomId);
    this.unreadThreads = unread_threads;
    for (const summary of rooms) {
      this.#room(summary.room_id).readSeq = 0; // a mark may also have been put back
      this.#summary(summary);
    }
    const again = this.ready;
    this.ready = true;
    if (again) this.#reread();
    if (truncated) void this.refreshRooms();
    this.#tell("rooms");
  }

  /** Reads the missed messages, which the stream does not send. */
  async resync() {
    this.#reread();
    await this.refreshRooms();
  }

  /** Reads the visible room again. The others are read when they are opened. */
  #reread() {
    for (const room of this.rooms.values()) {
      room.membersStale = true;
      room.recent.clear();
      room.reactions.settle();
      if (![this.openId, this.threadId].includes(room.roomId)) room.forget();
    }
    const thread = this.rooms.get(this.threadId);
    if (thread?.loaded) void this.#readAgain(thread);
    const open = this.rooms.get(this.openId);
    if (open?.loaded) void this.#readAgain(open);
    if (open) void this.loadMembers(open);
  }

  /** Reads the whole list, page by page. Rooms on no page no longer exist. */
  async refreshRooms() {
    this.#refreshing ??= this.#readRooms().finally(() => (this.#refreshing = null));
    return this.#refreshing;
  }

  async #readRooms() {
    for (let failures = 0; ; ) {
      try {
        return await this.#readList();
      } catch (error) {
        console.warn("the list of rooms could not be read", error);
        if (error instanceof Problem) return undefined;
        await sleep(backoff(failures++));
      }
    }
  }

  async #readList() {
    const before = new Set(this.sorted().map(({ roomId }) => roomId));
    let cursor = null;
    do {
      const page = await this.falcon.rooms({ limit: 200, cursor, timeoutMs: LIST_MS });
      for (const summary of page.rooms) {
        before.delete(summary.room_id);
        this.#summary(summary);
      }
      cursor = page.next_cursor;
      this.#tell("rooms");
    } while (cursor);
    // A room that moved up while the pages were read may be on none: ask for each missing room.
    for (const roomId of before) await this.#look(roomId);
    this.#tell("rooms");
  }

  async #look(roomId) {
    try {
      this.#roomFields(this.#room(roomId), await this.falcon.room(roomId));
    } catch (error) {
      if (error instanceof Problem && error.status === 404) this.#gone(roomId);
    }
  }

  #room(roomId) {
    let room = this.rooms.get(roomId);
    if (!room) this.rooms.set(roomId, (room = new Room(roomId, this.me.account_id)));
    return room;
  }

  #roomFields(room, data) {
    room.kind = data.kind;
    room.name = data.name;
    room.peerId = data.peer_id;
    room.open = data.open;
    room.isDefault = data.default;
    room.description = data.description;
    room.role = data.role;
    room.parent = data.parent ?? null;
    room.follows = data.follows ?? false;
    room.lastSeq = Math.max(room.lastSeq, data.last_seq);
    if (!room.updatedAt) room.updatedAt = data.created_at;
  }

  #summary(data) {
    const room = this.#room(data.room_id);
    this.#roomFields(room, data);
    if (data.updated_at > room.updatedAt) room.updatedAt = data.updated_at;
    const marked = room.readSeq;
    this.#readState(room, data);
    room.readSeq = Math.max(marked, data.read_seq); // the tables may not show yet what was marked here
    if (data.last_message) this.#lastMessage(room, data.last_message);
    if (room.loaded) this.#follow(room);
    this.#changed(room);
  }

  #readState(room, { read_seq, unread, mentions }) {
    room.readSeq = read_seq;
    room.counted = { mentions, upTo: read_seq + unread };
    for (const seq of room.mentionedAt) if (seq <= room.counted.upTo) room.mentionedAt.delete(seq);
    this.#changed(room);
    this.#tell("rooms");
  }

  #lastMessage(room, message) {
    if (!room.lastMessage || message.seq > room.lastMessage.seq) room.lastMessage = message;
    else if (message.seq === room.lastMessage.seq) room.lastMessage = later(room.lastMessage, message);
  }

  #posted(message) {
    const room = this.rooms.get(message.room_id);
    const parent = room ? room.parent : this.#parentOf(message.room_id);
    if (parent) this.#threadMoved(parent, { room_id: message.room_id, last_seq: message.seq, last_at: message.posted_at });
    if (!room || room.parent) this.#countThreads(); // of a followed thread, or of a room that was left since
    if (!room) return;
    if (room.parent) room.follows = true; // others get thread.changed
    const fresh = message.seq > room.lastSeq;
    this.#learn(room, message);
    if (message.author_id === this.me.account_id) {
      // The author's mark moves if nothing before was unread. No event says so.
      if (room.readSeq === message.seq - 1) room.readSeq = message.seq;
    }
    if (message.mentions.includes(this.me.account_id)) room.mentionedAt.add(message.seq);
    this.#tell("posted", { room, message, fresh });
  }

  /** Takes a message from an event or an answer. */
  #learn(room, message) {
    room.lastSeq = Math.max(room.lastSeq, message.seq);
    if (message.posted_at > room.updatedAt) room.updatedAt = message.posted_at;
    room.place([message]);
    this.#lastMessage(room, message);
    if (room.loaded) {
      this.#follow(room);
      void this.#meet(room, [message]);
    }
    this.#changed(room);
    this.#tell("rooms");
  }

  #altered(message) {
    const room = this.rooms.get(message.room_id);
    if (!room) return;
    const { mentions, upTo } = room.counted;
    const mine = message.mentions.includes(this.me.account_id);
    room.place([message]);
    this.#lastMessage(room, message);
    if (room.quotes.has(message.seq)) room.quotes.set(message.seq, message);
    if (message.seq > upTo) {
      if (mine) room.mentionedAt.add(message.seq);
      else room.mentionedAt.delete(message.seq);
    } else if (message.seq > room.readSeq && (mine || mentions > 0)) {
      void this.#recount();
    }
    this.#changed(room);
    this.#tell("rooms");
  }

  /** Counts mentions again: an edit may have added or removed one. */
  async #recount() {
    await sleep(500);
    await this.refreshRooms();
  }

  /** Takes the answer to a command of this page. Its event may come before or after it. */
  posted(message) {
    const room = this.rooms.get(message.room_id);
    if (room) this.#learn(room, message);
  }

  altered(message) {
    this.#altered(message);
  }

  #reacted(reaction, added) {
    const room = this.rooms.get(reaction.room_id);
    if (!room) return;
    room.reactions.heard(reaction, added);
    if (room.loaded) void this.#name(room, [reaction.account_id]);
    this.#changed(room);
  }

  /** Adds this account's reaction, or removes it if it is there. Throws as FalconClient does. */
  async react(room, seq, emoji) {
    const { mine } = room.reactions.find(seq, emoji);
    const answer = await this.falcon[mine ? "removeReaction" : "addReaction"](room.roomId, seq, emoji);
    const now = room.reactions.find(seq, emoji);
    if (now.mine !== mine) return; // its event has come before the answer
    const count = answer?.count ?? now.count - 1;
    this.#reacted({ room_id: room.roomId, seq, account_id: this.me.account_id, emoji, count }, !mine);
  }

  #roomEvent(data) {
    const room = this.#room(data.room_id);
    this.#roomFields(room, data);
    this.#changed(room);
    this.#tell("rooms");
  }

  /** Takes a room that was created or opened here. */
  made(data) {
    this.#roomEvent(data);
    return this.rooms.get(data.room_id);
  }

  #memberEvent(name, { room_id, account_id, role }) {
    if (account_id === this.me.account_id) {
      if (name === "member.left") return this.#gone(room_id);
      if (name === "member.joined" && !this.rooms.has(room_id)) return void this.#joined(room_id);
      const mine = this.rooms.get(room_id);
      if (mine) mine.role = role;
    }
    const room = this.rooms.get(room_id);
    if (!room) return undefined;
    room.membersStale = true;
    if (room.members) {
      if (name === "member.left") room.members.delete(account_id);
      else if (room.members.has(account_id)) room.members.get(account_id).role = role;
    }
    if (name === "member.joined" && room.roomId === this.openId) void this.loadMembers(room);
    this.#changed(room);
    this.#tell("members", { roomId: room_id });
    return undefined;
  }

  /** Reads the room, because the event has neither its name nor the read mark. */
  async #joined(roomId) {
    try {
      const [data, mark, page] = await Promise.all([
        this.falcon.room(roomId),
        this.falcon.markRead(roomId, 0),
        this.falcon.messages(roomId, { limit: 1 }),
      ]);
      const room = this.#room(roomId);
      this.#roomFields(room, data);
      this.#readState(room, mark);
      room.updatedAt = page.messages.at(-1)?.posted_at ?? data.created_at;
      if (page.messages.length) this.#lastMessage(room, page.messages.at(-1));
      this.#changed(room);
      this.#tell("rooms");
    } catch (error) {
      if (!(error instanceof Problem && error.status === 404)) await this.refreshRooms();
    }
  }

  #gone(roomId, deleted = false) {
    const room = this.rooms.get(roomId);
    if (!room) return;
    this.rooms.delete(roomId);
    for (const each of [...this.rooms.values()]) if (each.parent?.room_id === roomId) this.rooms.delete(each.roomId);
    room.forget();
    this.#tell("gone", { roomId, name: room.name, deleted });
    this.#tell("rooms");
  }

  // --- threads ------------------------------------------------------------------------------------------------------

  #threadMoved({ room_id, seq }, thread) {
    const room = this.rooms.get(room_id);
    if (!room) return;
    room.threadIs(seq, thread);
    this.#changed(room);
  }

  /** A message in a thread that one does not follow, and may read nevertheless. */
  #threadChanged({ room_id, seq, thread_id, last_seq, last_at }) {
    const thread = this.rooms.get(thread_id);
    if (thread) {
      thread.follows = false;
      thread.lastSeq = Math.max(thread.lastSeq, last_seq);
      if (thread.loaded) this.#follow(thread);
    }
    this.#threadMoved({ room_id, seq }, { room_id: thread_id, last_seq, last_at });
  }

  /** The place of a thread's root, if it is in a page that was read. */
  #parentOf(threadId) {
    for (const { roomId, threads } of this.rooms.values()) {
      for (const [seq, { room_id }] of threads) if (room_id === threadId) return { room_id: roomId, seq };
    }
    return null;
  }

  /** Finds the thread of a message, which may be deleted, or starts one. Throws as FalconClient does. */
  async openThread(parent, seq) {
    const known = parent.threads.get(seq) ?? (parent.message(seq) ? null : (await this.falcon.message(parent.roomId, seq)).thread);
    const data = known ? await this.falcon.room(known.room_id) : await this.falcon.thread(parent.roomId, seq);
    const room = this.#room(data.room_id);
    this.#roomFields(room, data);
    this.#threadMoved({ room_id: parent.roomId, seq }, { room_id: data.room_id, last_seq: data.last_seq, last_at: null });
    return room;
  }

  /** Throws as FalconClient does. */
  async follow(thread, follows) {
    await this.falcon[follows ? "follow" : "unfollow"](thread.roomId);
    thread.follows = follows;
  }

  #counting = null;

  /** Counts the unread threads again, once for all messages of a second. */
  #countThreads() {
    this.#counting ??= sleep(1_000).then(async () => {
      this.#counting = null;
      try {
        this.unreadThreads = (await this.falcon.threads({ unread: true, limit: 50 })).threads.length;
        this.#tell("rooms");
      } catch (error) {
        console.info("the unread threads were not counted", error);
      }
    });
  }

  // --- history ------------------------------------------------------------------------------------------------------

  /** Reads a room around a message, or its newest messages. Throws as FalconClient does. */
  async open(room, around = null) {
    const mine = ++room.opening;
    const page = await this.falcon.messages(room.roomId, { limit: PAGE, around });
    if (mine !== room.opening) return;
    room.messages = room.read(page.messages);
    room.lastSeq = Math.max(room.lastSeq, room.last);
    room.loaded = true;
    room.atTail = !page.has_after;
    void this.#meet(room, page.messages);
    this.#follow(room);
    this.#changed(room);
  }

  async before(room) {
    const { opening, first } = room;
    const page = await this.falcon.messages(room.roomId, { limit: PAGE, before: first });
    if (opening !== room.opening || first !== room.first) return;
    room.messages = [...room.read(page.messages), ...room.messages];
    if (room.messages.length > WINDOW_MAX) {
      room.messages.length = WINDOW_MAX;
      room.atTail = false;
    }
    void this.#meet(room, page.messages);
    this.#changed(room);
  }

  async after(room) {
    const { opening, last } = room;
    const page = await this.falcon.messages(room.roomId, { limit: PAGE, after: last });
    if (opening !== room.opening || last !== room.last) return;
    room.messages = [...room.messages, ...room.read(page.messages)].slice(-WINDOW_MAX);
    room.lastSeq = Math.max(room.lastSeq, room.last);
    room.atTail = !page.has_after && room.last >= room.lastSeq;
    void this.#meet(room, page.messages);
    this.#follow(room);
    this.#changed(room);
  }

  /** Drops the oldest messages while the newest are visible, so that a page that is open for days stays small. */
  trim(room) {
    if (!room.atTail || room.messages.length <= WINDOW_MAX) return;
    room.messages = room.messages.slice(-WINDOW_MAX / 2);
    room.reactions.trim();
  }

  /** Reads the gap between the loaded messages and the newest. */
  #follow(room) {
    room.extend();
    if (!room.atTail || room.last >= room.lastSeq || this.#following.has(room.roomId)) return;
    const reading = this.#readOn(room).finally(() => this.#following.delete(room.roomId));
    this.#following.set(room.roomId, reading);
  }

  async #readOn(room) {
    await sleep(HELPED_BY_STREAM_MS); // an own message's answer may have overtaken the events before it
    const { opening } = room;
    for (let failures = 0; ; ) {
      room.extend();
      if (opening !== room.opening || !room.loaded || !room.atTail || room.last >= room.lastSeq) break;
      try {
        const page = await this.falcon.messages(room.roomId, { limit: REFRESH_PAGE, after: room.last });
        if (opening !== room.opening) break;
        const more = room.read(page.messages).filter((message) => message.seq > room.last);
        failures = more.length ? 0 : failures + 1; // the tables may be behind the events
        room.messages.push(...more);
        void this.#meet(room, more);
      } catch (error) {
        if (error instanceof Problem) break;
        failures++;
      }
      this.#changed(room);
      if (failures) await sleep(backoff(failures));
    }
    this.#changed(room);
  }

  /** Reads the loaded part of a room again. */
  async #readAgain(room) {
    const { opening, first, last } = room;
    for (let failures = 0, at = first - 1; at < last && opening === room.opening; ) {
      try {
        const page = await this.falcon.messages(room.roomId, { limit: REFRESH_PAGE, after: at });
        if (opening !== room.opening || !page.messages.length) break;
        for (const message of room.read(page.messages)) {
          const here = room.message(message.seq);
          if (here) room.messages[message.seq - room.first] = later(here, message);
        }
        at = page.messages.at(-1).seq;
        failures = 0;
      } catch (error) {
        if (error instanceof Problem) return;
        await sleep(backoff(++failures));
      }
    }
    this.#follow(room);
    this.#changed(room);
  }

  /** The message that another one replies to; undefined until it is loaded. */
  quote(room, seq) {
    const here = room.message(seq) ?? room.recent.get(seq) ?? room.quotes.get(seq);
    if (!here && !room.quotes.has(seq)) {
      room.quotes.set(seq, undefined);
      this.falcon.message(room.roomId, seq).then(
        (message) => {
          room.quotes.set(seq, message);
          void this.#meet(room, [message]);
          this.#changed(room);
        },
        () => room.quotes.set(seq, null),
      );
    }
    return here;
  }

  // --- people -------------------------------------------------------------------------------------------------------

  /** Resolves when the account's name is known, or the server has none. */
  async learnName(room, accountId) {
    if (!this.people.has(accountId)) await this.#lookUp(room, [accountId]);
  }

  /** Looks up the names of people in these messages who are no longer members. */
  async #meet(room, messages) {
    const reacted = (reactions = []) => reactions.flatMap(({ accounts }) => accounts);
    await this.#name(room, messages.flatMap(({ author_id, mentions, reactions }) => [author_id, ...mentions, ...reacted(reactions)]));
  }

  async #name(room, accountIds) {
    await room.membersLoading; // it knows most of them
    await this.#lookUp(room, accountIds);
  }

  async #lookUp(room, accountIds) {
    const unknown = [...new Set(accountIds)].filter((id) => id && !this.people.has(id));
    const first = unknown.filter((id) => !this.#asked.has(id));
    if (first.length) {
      const answer = this.#askNames(room, first);
      for (const id of first) this.#asked.set(id, answer);
    }
    await Promise.all(unknown.map((id) => this.#asked.get(id)));
  }

  async #askNames(room, accountIds) {
    try {
      for (const { account_id, name } of await this.falcon.authors(room.roomId, accountIds)) this.people.set(account_id, name);
    } catch (error) {
      for (const id of accountIds) this.#asked.delete(id); // asked again when the room is next read
      console.warn("names could not be read", error);
    }
    this.#changed(room);
  }

  // --- members ------------------------------------------------------------------------------------------------------

  async loadMembers(room) {
    if (room.membersLoading || !room.membersStale) return room.membersLoading;
    room.membersStale = false;
    room.membersLoading = this.#readMembers(room).finally(() => {
      room.membersLoading = null;
      this.#changed(room);
      this.#tell("members", { roomId: room.roomId });
      if (room.membersStale && room.roomId === this.openId) void this.loadMembers(room);
    });
    return room.membersLoading;
  }

  async #readMembers(room) {
    const members = new Map();
    let cursor = null;
    try {
      do {
        const page = await this.falcon.members(room.roomId, { limit: 200, cursor });
        for (const member of page.members) {
          members.set(member.account_id, member);
          this.people.set(member.account_id, member.name);
        }
        cursor = page.next_cursor;
        if (cursor) this.#changed(room); // names that are known already
      } while (cursor);
      room.members = members;
    } catch (error) {
      console.warn("the members could not be read", error);
    }
  }

  // --- read marks ---------------------------------------------------------------------------------------------------

  /** Puts the mark back before a message. */
  async markUnread(room, seq) {
    const mark = await this.falcon.markRead(room.roomId, seq - 1, { force: true });
    room.seen = 0;
    this.#readState(room, mark);
  }

  /** Marks messages as seen. */
  async markRead(room, seq) {
    room.seen = Math.max(room.seen, seq);
    if (room.marking) return;
    room.marking = true;
    try {
      while (room.seen > room.readSeq && this.rooms.get(room.roomId) === room) {
        const seen = Math.min(room.seen, room.lastSeq);
        const mark = await this.falcon.markRead(room.roomId, seen);
        // read.moved, which comes in the order of the other events, has the number of mentions that are left.
        room.readSeq = Math.max(room.readSeq, mark.read_seq);
        this.#changed(room);
        this.#tell("rooms");
      }
    } catch (error) {
      room.seen = 0; // looked at again when something moves
      if (!(error instanceof Problem)) console.info("the read mark was not moved", error);
    } finally {
      room.marking = false;
    }
  }
}
