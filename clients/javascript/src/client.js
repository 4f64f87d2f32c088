// One method for each request of the API.

import { Connection } from "./connection.js";
import { Stream } from "./stream.js";

const AUTHORS_MAX = 50; // the most that the API names at once
const PAGE_MAX = 200;

/**
 * Falcon's API for one account. ``urls`` is one address or several of the same deployment, which take turns.
 *
 * ``token`` is a token, that of a session, or a function that gives the token of now; null for signing in, and in a
 * browser for the cookie of a session.
 *
 * Every command takes ``options.key``, its idempotency key. A caller that may crash and try again gives its own and
 * stores it before; otherwise each call makes one, and its retries use it. Every method takes ``options.signal``,
 * ``options.timeoutMs`` and ``options.retry``, and throws Problem and Unreachable.
 */
export class FalconClient {
  #connection;

  constructor(urls, token, options = {}) {
    this.#connection = new Connection(urls, token, options);
  }

  /** How far this client's writes reach, as in the header Falcon-Position; empty before the first. */
  get position() {
    return String(this.#connection.positions);
  }

  /** Called with what each failed attempt met, also if it is retried. */
  get onFailure() {
    return this.#connection.onFailure;
  }

  set onFailure(listener) {
    this.#connection.onFailure = listener;
  }

  /** Abort everything that is under way. */
  close() {
    this.#connection.close();
  }

  // --- accounts and tokens

  me(options) {
    return this.#connection.query("/v1/me", {}, options);
  }

  /** Revoke the token of this client. */
  signOut(options) {
    return this.#command("DELETE", "/v1/me/token", undefined, options);
  }

  /** ``changes``: ``{ name, handle, title, about, hide_reads }``. What is left out stays; null takes a handle away. */
  changeMe(changes, options) {
    return this.#command("PATCH", "/v1/me", changes, options);
  }

  /** For admins. ``options``: ``role``, ``handle``, ``email``, ``title``, ``bot``, too. */
  createAccount(name, { role, handle, email, title, bot, ...options } = {}) {
    return this.#command("POST", "/v1/accounts", { name, role, handle, email, title, bot }, options);
  }

  /** For admins. */
  accounts({ role, deactivated, limit, cursor, ...options } = {}) {
    return this.#connection.query("/v1/accounts", { role, deactivated, limit, cursor }, options);
  }

  /** Accounts in the order of the ids, at most 200. An id that no account has is left out. */
  async accountsOf(accountIds, options) {
    const { accounts } = await this.#connection.query("/v1/accounts", { ids: [...accountIds].join(",") }, options);
    return accounts;
  }

  /** People by the beginnings of words of names and handles. Members of the room come first. */
  async searchAccounts(q, { room, limit, ...options } = {}) {
    const { accounts } = await this.#connection.query("/v1/accounts/search", { q, room, limit }, options);
    return accounts;
  }

  account(accountId, options) {
    return this.#connection.query(`/v1/accounts/${accountId}`, {}, options);
  }

  /** For admins. ``changes``: as in changeMe, and ``email``, ``role``, ``deactivated``. */
  changeAccount(accountId, changes, options) {
    return this.#command("PATCH", `/v1/accounts/${accountId}`, changes, options);
  }

  /** For admins and the account itself. ``options``: ``name``, ``scopes``, ``expires_in`` (seconds), too. */
  createToken(accountId, { name, scopes, expires_in, ...options } = {}) {
    return this.#command("POST", `/v1/accounts/${accountId}/tokens`, { name, scopes, expires_in }, options);
  }

  /** For admins and the account itself. */
  async tokens(accountId, options) {
    return (await this.#connection.query(`/v1/accounts/${accountId}/tokens`, {}, options)).tokens;
  }

  /** For admins and the account itself. */
  revokeToken(accountId, tokenId, options) {
    return this.#command("DELETE", `/v1/accounts/${accountId}/tokens/${tokenId}`, undefined, options);
  }

  // --- signing in

  waysToSignIn(options) {
    return this.#connection.query("/v1/sign-in", {}, options);
  }

  /** The browser gets a cookie; with ``bearer`` the answer has the token of the session. */
  signIn(login, password, { bearer = false, ...options } = {}) {
    return this.#command("POST", "/v1/sign-in", { login, password, bearer }, options);
  }

  setPassword(password, { current, ...options } = {}) {
    return this.#command("PUT", "/v1/me/password", { password, current }, options);
  }

  async sessions(options) {
    return (await this.#connection.query("/v1/sessions", {}, options)).sessions;
  }

  endSession(sessionId, options) {
    return this.#command("DELETE", `/v1/sessions/${sessionId}`, undefined, options);
  }

  endOtherSessions(options) {
    return this.#command("DELETE", "/v1/sessions", undefined, options);
  }

  endCurrentSession(options) {
    return this.#command("DELETE", "/v1/session", undefined, options);
  }

  /** For admins and the account itself. */
  signOutEverywhere(accountId, options) {
    return this.#command("POST", `/v1/accounts/${accountId}/sign-out`, {}, options);
  }

  /** For admins. ``mail``: send it to the account's e-mail, too. */
  createSignInLink(accountId, { mail = false, ...options } = {}) {
    return this.#command("POST", `/v1/accounts/${accountId}/sign-in-link`, { mail }, options);
  }

  signInLink(code, options) {
    return this.#connection.query(`/v1/sign-in/by-code/${encodeURIComponent(code)}`, {}, options);
  }

  /** As signIn. Without a password the account keeps its own. */
  useSignInLink(code, password = undefined, { bearer = false, ...options } = {}) {
    return this.#command("POST", `/v1/sign-in/by-code/${encodeURIComponent(code)}`, { password, bearer }, options);
  }

  // --- invitations

  /** For admins; members invite guests of rooms that they administer. ``expiresIn``: seconds. */
  createInvitation({ role, email, rooms, uses, expiresIn, ...options } = {}) {
    return this.#command("POST", "/v1/invitations", { role, email, rooms, uses, expires_in: expiresIn }, options);
  }

  invitations(options) {
    return this.#connection.query("/v1/invitations", {}, options);
  }

  deleteInvitation(invitationId, options) {
    return this.#command("DELETE", `/v1/invitations/${invitationId}`, undefined, options);
  }

  readInvitation(code, options) {
    return this.#connection.query(`/v1/invitations/by-code/${encodeURIComponent(code)}`, {}, options);
  }

  /** The browser gets a cookie; with ``bearer`` the answer has the token of the session. */
  acceptInvitation(code, name, password, { handle, email, bearer = false, ...options } = {}) {
    return this.#command("POST", `/v1/invitations/by-code/${encodeURIComponent(code)}`, { name, password, handle, email, bearer }, options);
  }

  // --- rooms and their members

  /** ``members``: ``[{ account_id, role }]``. The caller becomes admin without being named. */
  createRoom(name, { description = "", members = [], ...options } = {}) {
    return this.#command("POST", "/v1/rooms", { name, description, members }, options);
  }

  /** The room of the caller and one other account, which is always the same. */
  directRoom(accountId, options) {
    return this.#command("PUT", `/v1/direct/${accountId}`, undefined, options);
  }

  rooms({ limit, cursor, ...options } = {}) {
    return this.#connection.query("/v1/rooms", { limit, cursor }, options);
  }

  /** Rooms that you may join, by name, or by the beginnings of words of it. */
  openRooms({ q, limit, cursor, ...options } = {}) {
    return this.#connection.query("/v1/rooms/directory", { q, limit, cursor }, options);
  }

  room(roomId, options) {
    return this.#connection.query(`/v1/rooms/${roomId}`, {}, options);
  }

  /** ``changes``: ``{ name, description }``. What is left out stays as it is. */
  changeRoom(roomId, { name, description, open, default: isDefault }, options) {
    const changes = { name, description, open, default: isDefault };
    return this.#command("PATCH", `/v1/rooms/${roomId}`, changes, options);
  }

  deleteRoom(roomId, options) {
    return this.#command("DELETE", `/v1/rooms/${roomId}`, undefined, options);
  }

  members(roomId, { limit, cursor, ...options } = {}) {
    return this.#connection.query(`/v1/rooms/${roomId}/members`, { limit, cursor }, options);
  }

  /** Names for a room's messages, also of accounts that have left the room. An id that no account has is left out. */
  async authors(roomId, accountIds, options) {
    const ids = [...new Set(accountIds)];
    const found = [];
    for (let start = 0; start < ids.length; start += AUTHORS_MAX) {
      const asked = ids.slice(start, start + AUTHORS_MAX).join(",");
      found.push(...(await this.#connection.query(`/v1/rooms/${roomId}/authors`, { ids: asked }, options)).authors);
    }
    return found;
  }

  /** Bring an account in, or change its role. */
  /** With your own account and the role ``member``: join an open room. */
  putMember(roomId, accountId, role, options) {
    return this.#command("PUT", `/v1/rooms/${roomId}/members/${accountId}`, { role }, options);
  }

  /** To remove your own account is to leave. */
  removeMember(roomId, accountId, options) {
    return this.#command("DELETE", `/v1/rooms/${roomId}/members/${accountId}`, undefined, options);
  }

  // --- messages

  /** ``replyTo`` is the ``seq`` of a message of the room; ``mentions`` are account ids. ``alsoInRoom``: a message of a
   * thread is posted in the thread's room, too. */
  post(roomId, text, { replyTo, mentions = [], alsoInRoom, ...options } = {}) {
    const body = { text, reply_to: replyTo, mentions, also_in_room: alsoInRoom };
    return this.#command("POST", `/v1/rooms/${roomId}/messages`, body, options);
  }

  /** The newest messages, or those before, after or around a ``seq``; give at most one of the three. */
  messages(roomId, { limit, before, after, around, ...options } = {}) {
    return this.#connection.query(`/v1/rooms/${roomId}/messages`, { limit, before, after, around }, options);
  }

  message(roomId, seq, options) {
    return this.#connection.query(`/v1/rooms/${roomId}/messages/${seq}`, {}, options);
  }

  /** The messages after ``after``, in order, page by page. With ``upTo`` it continues until that ``seq`` has come: this is
   * how to read what a ``catch_up`` names. */
  async *history(roomId, { after = 0, upTo = null, ...options } = {}) {
    const patience = this.#connection.patience(null, options.timeoutMs);
    for (let at = after; upTo === null || at < upTo; ) {
      const page = await this.messages(roomId, { ...options, after: at, limit: PAGE_MAX });
      for (const message of page.messages) {
        if (upTo !== null && message.seq > upTo) return;
        yield message;
        at = message.seq;
      }
      if (page.messages.length) patience.renew();
      if (page.has_after) continue;
      if (upTo === null) return;
      if (!page.messages.length) await patience.wait(new Error(`room ${roomId} does not show message ${upTo} yet`), null, options.signal);
    }
  }

  /** ``mentions`` left out: the ones that the message has. */
  edit(roomId, seq, text, { mentions, ...options } = {}) {
    return this.#command("PATCH", `/v1/rooms/${roomId}/messages/${seq}`, { text, mentions }, options);
  }

  /** The message keeps its place; its text goes. */
  deleteMessage(roomId, seq, options) {
    return this.#command("DELETE", `/v1/rooms/${roomId}/messages/${seq}`, undefined, options);
  }

  /** ``emoji`` is one emoji, fully qualified. Again it is the same. */
  addReaction(roomId, seq, emoji, options) {
    return this.#command("PUT", reaction(roomId, seq, emoji), undefined, options);
  }

  /** Your own. It is fine if there is none. */
  removeReaction(roomId, seq, emoji, options) {
    return this.#command("DELETE", reaction(roomId, seq, emoji), undefined, options);
  }

  /** All reactions to a message, or those with one emoji; oldest first. */
  reactions(roomId, seq, { emoji, limit, cursor, ...options } = {}) {
    return this.#connection.query(`/v1/rooms/${roomId}/messages/${seq}/reactions`, { emoji, limit, cursor }, options);
  }

  /** Give the message's thread, which is a room. Falcon starts it if the message has none. */
  thread(roomId, seq, options) {
    return this.#command("PUT", `/v1/rooms/${roomId}/messages/${seq}/thread`, undefined, options);
  }

  follow(threadId, options) {
    return this.#command("PUT", `/v1/rooms/${threadId}/follow`, undefined, options);
  }

  unfollow(threadId, options) {
    return this.#command("DELETE", `/v1/rooms/${threadId}/follow`, undefined, options);
  }

  /** The threads that the account follows, the newest message first. */
  threads({ unread, limit, cursor, ...options } = {}) {
    return this.#connection.query("/v1/threads", { unread: unread || undefined, limit, cursor }, options);
  }

  /** Again it is the same. */
  addPin(roomId, seq, options) {
    return this.#command("PUT", `/v1/rooms/${roomId}/pins/${seq}`, undefined, options);
  }

  /** It is fine if there is none. */
  removePin(roomId, seq, options) {
    return this.#command("DELETE", `/v1/rooms/${roomId}/pins/${seq}`, undefined, options);
  }

  /** The pinned messages of a room, the newest pin first; at most 100. */
  pins(roomId, options) {
    return this.#connection.query(`/v1/rooms/${roomId}/pins`, {}, options);
  }

  /**
   * Messages that have all words, "phrases", prefix* and no -word of q, in your rooms and open ones. Times are RFC 3339.
   */
  search(q, { room, from, mentions, has, after, before, sort, limit, cursor, ...options } = {}) {
    const query = { q, room, from, mentions, has, after, before, sort, limit, cursor };
    return this.#connection.query("/v1/search", query, options);
  }

  /** Keep a message for yourself, or change its note. */
  setBookmark(roomId, seq, { note = "", ...options } = {}) {
    return this.#command("PUT", `/v1/bookmarks/${roomId}/${seq}`, { note }, options);
  }

  /** It is fine if there is none. */
  removeBookmark(roomId, seq, options) {
    return this.#command("DELETE", `/v1/bookmarks/${roomId}/${seq}`, undefined, options);
  }

  /** Your bookmarks, the newest first. ``message`` is null once you cannot read its room. */
  bookmarks({ limit, cursor, ...options } = {}) {
    return this.#connection.query("/v1/bookmarks", { limit, cursor }, options);
  }

  /** The members who have read up to a message or further, without its author and members who hide their reads. */
  readers(roomId, seq, { limit, cursor, ...options } = {}) {
    return this.#connection.query(`/v1/rooms/${roomId}/messages/${seq}/readers`, { limit, cursor }, options);
  }

  /** Read up to ``seq``. The mark moves forward only, unless ``force``; forced to 0, everything is unread. */
  markRead(roomId, seq, { force, ...options } = {}) {
    return this.#command("PUT", `/v1/rooms/${roomId}/read`, { seq, force }, options);
  }

  // --- what happens

  /** Again every few seconds while it is so. More than once a second is held back. */
  sayTyping(roomId, options) {
    return this.#command("POST", `/v1/rooms/${roomId}/typing`, undefined, options);
  }

  /**
   * What happens in these rooms, or in all rooms of the account, the ones that it joins later included.
   *
   * It continues for as long as you iterate: over lost connections, restarts of the server and all addresses. It gives
   * each event ``{ type, data, id }`` once, in order. Only a refusal ends it (Problem: the token, a room).
   *
   * To miss nothing over your own restarts, store ``event.id`` after you have processed an event, and start with
   * ``resume`` the last one that you stored. After too long an absence ``catch_up`` comes instead of the events: read
   * each room with ``history``.
   */
  stream(options) {
    return new Stream(this.#connection, options);
  }

  #command(method, path, body, options) {
    return this.#connection.command(method, path, body, options);
  }
}

function reaction(roomId, seq, emoji) {
  return `/v1/rooms/${roomId}/messages/${seq}/reactions/${encodeURIComponent(emoji)}`;
}
