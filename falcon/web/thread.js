// The panel with the thread of a message: the message, its answers, and a composer of its own.

import { Composer } from "./composer.js";
import { reason } from "./dialogs.js";
import { h, iconButton } from "./dom.js";
import { richText } from "./richtext.js";
import { t } from "./strings.js";
import { Timeline } from "./timeline.js";
import { Typing } from "./typing.js";

export class ThreadPanel {
  #app;
  #parent;
  #seq;
  #thread = null;
  #inside = null; // the app as the parts of the panel see it
  #root = h("div", { class: "root", dir: "auto" });
  #shown = "";
  #follow = h("button", { type: "button", on: { click: () => void this.#toggle() } });
  #also = h("input", { type: "checkbox", id: "also-in-room" });
  #body = h("div", { class: "body-of-thread" });

  constructor(app, parent, seq) {
    this.#app = app;
    this.#parent = parent;
    this.#seq = seq;
    this.element = h(
      "aside",
      { class: "members thread", "aria-label": t("thread.title"), on: { keydown: (event) => event.key === "Escape" && this.#leave() } },
      h("header", {}, h("h2", { tabindex: "-1" }, t("thread.title")), this.#follow, iconButton("close", t("thread.close"), () => this.#leave())),
      this.#root,
      this.#body,
    );
    this.#follow.hidden = true;
    void this.#begin();
  }

  get seq() {
    return this.#seq;
  }

  get roomId() {
    return this.#thread?.roomId ?? null;
  }

  close() {
    this.#inside?.timeline.close();
  }

  focus() {
    this.element.querySelector("h2").focus();
  }

  #leave() {
    this.#app.go(`#/rooms/${this.#parent.roomId}/${this.#seq}`);
  }

  async #begin() {
    const app = this.#app;
    try {
      this.#thread = await app.chat.openThread(this.#parent, this.#seq);
    } catch (failure) {
      this.#body.replaceChildren(h("p", { class: "error", role: "alert" }, reason(failure)));
      return;
    }
    if (app.thread !== this) return;
    const inside = {
      chat: app.chat,
      outbox: {
        add: (room, text, replyTo, mentions) => app.outbox.add(room, text, replyTo, mentions, this.#also.checked),
        shown: (roomId) => app.outbox.shown(roomId),
        retry: (id) => app.outbox.retry(id),
        discard: (id) => app.outbox.discard(id),
      },
      get connection() {
        return app.connection;
      },
      pins: null,
      toast: (text) => app.toast(text),
      go: (hash) => app.go(hash),
      shows: (...given) => app.shows(...given),
      lost: () => this.#leave(),
    };
    this.#inside = inside;
    inside.timeline = new Timeline(inside, this.#thread);
    inside.typing = new Typing(inside, this.#thread);
    inside.composer = new Composer(inside, this.#thread);
    const also = h("label", { class: "also", for: "also-in-room" }, this.#also, ` ${t("thread.also", { room: this.#parent.name })}`);
    this.#body.replaceChildren(inside.timeline.element, inside.typing.element, inside.composer.element, also);
    await inside.timeline.begin(null);
    inside.composer.focus();
    this.render();
  }

  async #toggle() {
    const { chat } = this.#app;
    try {
      await chat.follow(this.#thread, !this.#thread.follows);
      this.render();
    } catch (failure) {
      this.#app.toast(reason(failure));
    }
  }

  render() {
    const { chat } = this.#app;
    const root = this.#parent.message(this.#seq) ?? chat.quote(this.#parent, this.#seq);
    const state = JSON.stringify([root && [chat.nameOf(root.author_id), root.text, root.deleted]]);
    if (root && state !== this.#shown) {
      this.#shown = state;
      this.#root.replaceChildren(h("strong", {}, chat.nameOf(root.author_id)), h("div", { class: "text" }, root.deleted ? t("message.deleted") : richText(root.text)));
    }
    if (!this.#inside) return;
    this.#follow.hidden = false;
    this.#follow.textContent = t(this.#thread.follows ? "thread.unfollow" : "thread.follow");
    this.#thread.members = this.#parent.members; // who may be mentioned
    if (!this.#thread.loaded && !this.#thread.opening) void this.#inside.timeline.begin(null);
    this.#inside.timeline.render();
    this.#inside.composer.render();
  }
}
