// Who is typing in the open room. Signals are best effort, so nothing is tried again.

import { h } from "./dom.js";
import { t } from "./strings.js";

const SHOWN_MS = 6_000; // it is said again every few seconds while it is so
const SAID_MS = 3_000;
const NAMES_MAX = 3;

export class Typing {
  #app;
  #room;
  #until = new Map();
  #saidAt = -SAID_MS;
  element = h("p", { class: "typing quiet", dir: "auto" });

  constructor(app, room) {
    this.#app = app;
    this.#room = room;
  }

  said({ room_id, account_id }) {
    if (room_id !== this.#room.roomId) return;
    clearTimeout(this.#until.get(account_id));
    this.#until.set(account_id, setTimeout(() => this.ended(account_id), SHOWN_MS));
    this.#render();
  }

  /** The account has sent a message, or has stopped typing. */
  ended(accountId) {
    clearTimeout(this.#until.get(accountId));
    if (this.#until.delete(accountId)) this.#render();
  }

  /** This person is typing here. */
  mine() {
    if (performance.now() - this.#saidAt < SAID_MS) return;
    this.#saidAt = performance.now();
    this.#app.chat.falcon.sayTyping(this.#room.roomId, { retry: false }).catch(() => {});
  }

  #render() {
    const names = [...this.#until.keys()].slice(0, NAMES_MAX).map((accountId) => this.#app.chat.nameOf(accountId));
    this.element.textContent = names.length ? t("typing", { n: this.#until.size, names: names.join(", ") }) : "";
  }
}
