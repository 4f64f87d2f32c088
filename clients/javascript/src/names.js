// Names for the account ids in messages and events.

/** Remembers the names that it has asked for, also of accounts that have left the room. */
export class Names {
  #falcon;
  #known = new Map();

  constructor(falcon) {
    this.#falcon = falcon;
  }

  /** Ask for all authors of these messages of one room at once. */
  async learn(roomId, messages) {
    await this.#ask(roomId, messages.map((message) => message.author_id));
  }

  /** ``roomId``: a room of the caller in which the account has written. */
  async of(roomId, accountId) {
    await this.#ask(roomId, [accountId]);
    return this.#known.get(accountId) || `account ${accountId}`;
  }

  async #ask(roomId, accountIds) {
    const unknown = [...new Set(accountIds)].filter((id) => id !== 0 && !this.#known.has(id)); // 0 wrote what cannot be shown
    if (!unknown.length) return;
    for (const { account_id, name } of await this.#falcon.authors(roomId, unknown)) this.#known.set(account_id, name);
  }
}
