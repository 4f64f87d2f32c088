// The pinned messages of a room: a line above its messages that opens into their list.

import { reason } from "./dialogs.js";
import { h, iconButton } from "./dom.js";
import { t } from "./strings.js";

export class Pins {
  #app;
  #room;
  #pins = [];
  #asked = 0;
  #state = "";
  #title = h("summary");
  #list = h("ul");

  constructor(app, room) {
    this.#app = app;
    this.#room = room;
    this.element = h("details", { class: "pins", hidden: true }, this.#title, this.#list);
    void this.load();
  }

  has(seq) {
    return this.#pins.some(({ message }) => message.seq === seq);
  }

  /** Reads the list again. An answer that a later request has overtaken is dropped. */
  async load() {
    const asked = ++this.#asked;
    const { chat } = this.#app;
    try {
      const { pins } = await chat.falcon.pins(this.#room.roomId);
      for (const { message } of pins) await chat.learnName(this.#room, message.author_id);
      if (asked !== this.#asked) return;
      this.#pins = pins;
      this.render();
    } catch (error) {
      console.warn("the pins could not be read", error);
    }
  }

  /** Pins the message, or unpins it. */
  async toggle(seq) {
    try {
      await this.#app.chat.falcon[this.has(seq) ? "removePin" : "addPin"](this.#room.roomId, seq);
      await this.load();
    } catch (error) {
      this.#app.toast(reason(error));
    }
  }

  render() {
    const { chat } = this.#app;
    const writable = this.#room.role !== "readonly";
    // What is loaded is newer than the list: an event has told of the edit.
    const shown = this.#pins.map(({ message }) => this.#room.message(message.seq) ?? message).filter(({ deleted }) => !deleted);
    const state = JSON.stringify([writable, shown.map(({ seq, author_id, text }) => [seq, chat.nameOf(author_id), text])]);
    if (state === this.#state) return;
    this.#state = state;
    this.element.hidden = !shown.length;
    this.#title.textContent = t("pins.n", { n: shown.length });
    this.#list.replaceChildren(
      ...shown.map(({ seq, author_id, text }) =>
        h(
          "li",
          {},
          h("a", { href: `#/rooms/${this.#room.roomId}/${seq}`, dir: "auto" }, h("strong", {}, chat.nameOf(author_id)), ` ${text.slice(0, 200)}`),
          writable ? iconButton("close", t("message.unpin"), () => void this.toggle(seq)) : null,
        ),
      ),
    );
  }
}
