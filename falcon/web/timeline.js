// The messages of a room. Visible messages keep their place when others are added before or after them.

import { Problem } from "./client/index.js";
import { ask, reason } from "./dialogs.js";
import { announce, avatar, h, icon, iconButton, roomAvatar } from "./dom.js";
import { profileCard } from "./people.js";
import { plain } from "./formatting.js";
import { pickEmoji } from "./picker.js";
import { richText, withLinks } from "./richtext.js";
import { day, fullTime, listed, t, time } from "./strings.js";

const LISTS = () => import("./lists.js");
const NEAR = 700; // pixels from an end at which more is read
const BOTTOM = 60;
const TOGETHER_MS = 5 * 60_000;
const NAMED_MAX = 10; // accounts in the title of a reaction

export class Timeline {
  #app;
  #room;
  #items = new Map(); // by seq, or by the id of what is on its way
  #stuck = true; // to the newest
  #newFrom;
  #moving = { before: false, after: false };
  #log;
  #top = h("div", { class: "top" });
  #latest;
  #actions;
  #active = null;
  #ready = false;
  #resized;
  #settling = null;
  #reacting = new Set();

  constructor(app, room) {
    this.#app = app;
    this.#room = room;
    this.#newFrom = room.unread ? room.readSeq + 1 : Infinity;
    this.#log = h("div", { class: "log", role: "log", "aria-live": "off", "aria-label": t("room.messages") });
    this.#latest = h("button", { type: "button", class: "latest", hidden: true, on: { click: () => void this.toLatest() } });
    this.scroller = h("div", { class: "scroller" }, this.#top, this.#log);
    this.element = h("div", { class: "timeline" }, this.scroller, this.#latest);
    this.#actions = h("div", { class: "actions", role: "toolbar", "aria-label": t("message.actions") });
    this.scroller.addEventListener("scroll", () => this.#scrolled(), { passive: true });
    this.#log.addEventListener("pointerover", (event) => {
      // A touch focuses the message first: buttons that came below the finger would be pressed by the same touch.
      if (event.pointerType !== "touch") this.#point(event.target.closest("article"));
    });
    this.#log.addEventListener("focusin", (event) => this.#point(event.target.closest("article")));
    this.#log.addEventListener("keydown", (event) => this.#key(event));
    this.#resized = new ResizeObserver(() => {
      if (this.#stuck) this.#toBottom();
      this.#look();
    });
    this.#resized.observe(this.scroller);
  }

  close() {
    this.#resized.disconnect();
    clearTimeout(this.#settling);
  }

  get room() {
    return this.#room;
  }

  // --- position -----------------------------------------------------------------------------------------------------

  /** Starts at a message, at the first unread one, or at the end. */
  async begin(seq) {
    const { chat } = this.#app;
    const room = this.#room;
    const first = Number.isFinite(this.#newFrom) ? this.#newFrom : null;
    try {
      if (seq !== null) return await this.show(seq);
      if (!room.loaded || !room.atTail || (first !== null && !room.message(first))) await chat.open(room, first);
      if (this.#app.timeline !== this) return undefined;
      this.#ready = true;
      this.render();
      const item = first === null ? null : this.#items.get(first);
      if (item) this.#scrollTo(item.element.offsetTop - this.scroller.clientHeight / 4);
      else this.#toBottom();
      this.#scrolled();
    } catch (error) {
      this.#failed(error, () => this.begin(seq));
    }
    return undefined;
  }

  /** A message by its address. */
  async show(seq) {
    const { chat } = this.#app;
    const room = this.#room;
    try {
      if (!room.message(seq)) await chat.open(room, seq);
      if (this.#app.timeline !== this) return;
      this.#ready = true;
      this.#stuck = false;
      this.render();
      const item = this.#items.get(seq);
      if (!item) {
        this.#app.toast(t("room.nomessage", { seq }));
        this.#toBottom();
        return;
      }
      const { element } = item;
      this.#scrollTo(element.offsetTop - (this.scroller.clientHeight - element.offsetHeight) / 2);
      this.#focus(element);
      element.classList.remove("found");
      void element.offsetWidth; // so that it is seen to begin again
      element.classList.add("found");
      this.#scrolled();
    } catch (error) {
      this.#failed(error, () => this.show(seq));
    }
  }

  async toLatest() {
    const room = this.#room;
    try {
      if (!room.atTail) await this.#app.chat.open(room);
      this.#stuck = true;
      this.render();
      this.#toBottom();
      this.#scrolled();
    } catch (error) {
      this.#app.toast(reason(error));
    }
  }

  #failed(error, again) {
    if (this.#app.timeline !== this) return;
    if (error.status === 404) return this.#app.lost(this.#room);
    console.warn("a room could not be read", error);
    this.#top.replaceChildren(
      h("p", { class: "error", role: "alert" }, `${t("room.unreadable")} `, h("button", { type: "button", on: { click: () => void again() } }, t("room.retry"))),
    );
    return undefined;
  }

  #toBottom() {
    this.#scrollTo(this.scroller.scrollHeight);
    this.#stuck = true;
  }

  #scrollTo(top) {
    this.scroller.scrollTop = top;
  }

  #scrolled() {
    if (!this.#ready) return;
    const { scrollTop, clientHeight, scrollHeight } = this.scroller;
    this.#stuck = scrollHeight - scrollTop - clientHeight < BOTTOM && this.#room.atTail;
    if (scrollTop < NEAR && this.#room.hasBefore) void this.#more("before");
    if (scrollHeight - scrollTop - clientHeight < NEAR && !this.#room.atTail) void this.#more("after");
    this.#showLatest();
    this.#look();
  }

  async #more(where) {
    if (this.#moving[where] || !this.#room.messages.length) return;
    this.#moving[where] = true;
    this.#showTop();
    try {
      await this.#app.chat[where](this.#room);
      this.render();
    } catch (error) {
      if (error.status !== 404) {
        this.#moving[where] = false;
        this.#showTop(() => void this.#more(where));
        return;
      }
    }
    this.#moving[where] = false;
    this.#showTop();
    this.#scrolled();
  }

  #showTop(again = null) {
    const room = this.#room;
    if (again) {
      this.#top.replaceChildren(h("p", { class: "quiet" }, `${t("room.unreadable")} `, h("button", { type: "button", on: { click: again } }, t("room.retry"))));
    } else if (!room.loaded || room.hasBefore) {
      this.#top.replaceChildren(h("p", { class: "quiet" }, t("room.earlier")));
    } else if (room.kind === "thread") {
      this.#top.replaceChildren(); // its root stands above
    } else {
      this.#top.replaceChildren(
        h(
          "div",
          { class: "beginning" },
          roomAvatar(room),
          h("p", {}, t(room.kind === "direct" ? "room.begin.direct" : "room.begin", { room: room.name })),
          room.description ? h("p", { class: "quiet", dir: "auto" }, withLinks(room.description)) : null,
        ),
      );
    }
  }

  #showLatest() {
    const room = this.#room;
    const away = !this.#stuck && (!room.atTail || this.scroller.scrollHeight - this.scroller.scrollTop - this.scroller.clientHeight > 300);
    this.#latest.hidden = !away;
    if (away) this.#latest.replaceChildren(icon("down"), room.unread ? t("room.latest.n", { n: room.unread }) : t("room.latest"));
  }

  /** Marks what is on a visible screen as read. */
  #look() {
    clearTimeout(this.#settling);
    this.#settling = setTimeout(() => this.#markSeen(), 250);
  }

  #markSeen() {
    const room = this.#room;
    if (document.visibilityState !== "visible" || !this.#ready || !room.loaded || !this.element.isConnected) return;
    if (room.first > room.readSeq + 1 && !this.#stuck) return; // what lies between was not seen
    const bottom = this.scroller.scrollTop + this.scroller.clientHeight + 8;
    let seen = 0;
    for (let n = room.messages.length - 1; n >= 0 && !seen; n--) {
      const { element } = this.#items.get(room.messages[n].seq) ?? {};
      // A message that is higher than the screen counts as seen once its start was visible.
      if (element && element.offsetTop + Math.min(element.offsetHeight, this.scroller.clientHeight / 2) <= bottom) seen = room.messages[n].seq;
    }
    if (seen > room.readSeq) void this.#app.chat.markRead(room, seen);
  }

  /** Called when the page becomes visible or hidden. */
  visibilityChanged() {
    if (document.visibilityState === "visible") this.#look();
    else if (!this.#room.unread) this.#newFrom = this.#room.lastSeq + 1;
  }

  // --- rows ---------------------------------------------------------------------------------------------------------

  render() {
    const room = this.#room;
    if (!this.#ready) {
      this.#showTop();
      return;
    }
    if (!room.loaded) return; // it is being read again; what is here stays until then
    const stuck = this.#stuck;
    if (stuck) this.#app.chat.trim(room);
    const anchor = stuck ? null : this.#anchor();
    const focused = this.#log.contains(document.activeElement) ? document.activeElement.closest("article")?.dataset.key : null;
    const { emoji } = document.activeElement?.dataset ?? {};

    const wanted = this.#wanted();
    const keep = new Set(wanted.map(({ key }) => String(key)));
    for (const [key, { element }] of this.#items) {
      if (keep.has(String(key))) continue;
      element.remove();
      this.#items.delete(key);
    }
    let at = this.#log.firstElementChild;
    for (const { key, state, make } of wanted) {
      let item = this.#items.get(key);
      if (item?.state !== state) {
        const element = make();
        element.dataset.key = key;
        if (item) {
          if (at === item.element) at = element;
          if (this.#active === item.element) this.#active = null;
          item.element.replaceWith(element);
        }
        this.#items.set(key, (item = { state, element }));
      }
      if (item.element === at) at = at.nextElementSibling;
      else this.#log.insertBefore(item.element, at);
    }

    if (focused && document.activeElement?.closest("article")?.dataset.key !== focused) {
      const article = this.#log.querySelector(`article[data-key="${CSS.escape(focused)}"]`);
      const reaction = emoji && article?.querySelector(`[data-emoji="${emoji}"]`);
      (reaction || article)?.focus({ preventScroll: true });
    }
    if (!this.#log.querySelector('article[tabindex="0"]')) this.#log.querySelector("article:last-of-type")?.setAttribute("tabindex", "0");
    this.#showTop();
    if (stuck && room.atTail) this.#toBottom();
    else if (anchor) this.#restore(anchor);
    this.#showLatest();
    this.#look();
    if (this.scroller.scrollHeight <= this.scroller.clientHeight + NEAR) this.#scrolled();
  }

  /** The first visible message and its place on the screen. */
  #anchor() {
    const top = this.scroller.scrollTop;
    for (const message of this.#room.messages) {
      const { element } = this.#items.get(message.seq) ?? {};
      if (element && element.offsetTop + element.offsetHeight > top) return { seq: message.seq, from: element.offsetTop - top };
    }
    return null;
  }

  #restore({ seq, from }) {
    const { element } = this.#items.get(seq) ?? {};
    if (element) this.#scrollTo(element.offsetTop - from);
  }

  /** The rows in order: a key, the state that the look depends on, and a function that makes the element. */
  #wanted() {
    const { chat, outbox } = this.#app;
    const room = this.#room;
    const wanted = [];
    let before = null;
    for (const message of room.messages) {
      const newDay = !before || day(before.posted_at) !== day(message.posted_at);
      const isNew = message.seq === this.#newFrom && message.seq > 1;
      if (newDay) {
        const title = day(message.posted_at);
        wanted.push({ key: `day-${message.seq}`, state: title, make: () => h("div", { class: "day", role: "separator", "aria-label": title }, h("span", {}, title)) });
      }
      if (isNew) wanted.push({ key: "new", state: "", make: () => h("div", { class: "new", role: "separator", "aria-label": t("room.new") }, h("span", {}, t("room.new"))) });
      const head = newDay || isNew || !together(before, message);
      const quoted = message.reply_to === null || message.deleted ? null : (chat.quote(room, message.reply_to) ?? null);
      const quote = quoted && [chat.nameOf(quoted.author_id), quoted.deleted, plain(quoted.text, 200)];
      const names = message.mentions.map((accountId) => [chat.people.get(accountId), accountId === chat.me.account_id]);
      const name = chat.nameOf(message.author_id);
      const thread = room.threads.get(message.seq);
      const answers = thread && thread.last_seq ? thread.last_seq : 0;
      const reactions = message.deleted ? [] : room.reactions.of(message.seq).map((each) => this.#described(each));
      wanted.push({
        key: message.seq,
        state: JSON.stringify([message.edited_at, message.deleted, message.text.length, head, name, names, quote, answers, reactions, reactions.length > 0 && this.#writable]),
        make: () => this.#article(message, { head, name, names, quote, answers, reactions }),
      });
      before = message;
    }
    if (room.atTail) {
      for (const entry of outbox.shown(room.roomId)) {
        const away = this.#app.connection.state !== "connected";
        wanted.push({ key: entry.id, state: JSON.stringify([entry.state, entry.code, away]), make: () => this.#unsent(entry, away) });
      }
    }
    return wanted;
  }

  /** A reaction as it is shown, with the names of the first accounts. */
  #described({ emoji, count, accounts, mine }) {
    const { chat } = this.#app;
    const named = accounts.slice(0, NAMED_MAX).map((accountId) => (accountId === chat.me.account_id ? t("members.you") : chat.nameOf(accountId)));
    const others = count - named.length;
    return { emoji, count, mine, names: listed(others > 0 ? [...named, t("reaction.others", { n: others })] : named) };
  }

  #article(message, { head, name, names, quote, answers, reactions }) {
    const { chat } = this.#app;
    const own = message.author_id === chat.me.account_id;
    const me = names.some(([, isMe]) => isMe);
    const href = `#/rooms/${message.room_id}/${message.seq}`;
    const spoken = message.deleted ? t("message.deleted") : [message.text, ...reactions.map(({ emoji, count }) => `${emoji} ${count}`)].join(" ");
    return h(
      "article",
      {
        class: ["message", head ? "head" : "", own ? "own" : "", me ? "mentions-me" : "", message.deleted ? "deleted" : ""].join(" "),
        tabindex: "-1",
        data: { seq: message.seq },
        "aria-label": `${name}, ${time(message.posted_at)}. ${spoken}`,
      },
      head ? avatar(name) : null,
      h(
        "div",
        { class: "line" },
        head ? h("button", { type: "button", class: "author", dir: "auto", tabindex: "-1", on: { click: () => void profileCard(this.#app, message.author_id) } }, name) : null,
        h("a", { class: "time", href, title: fullTime(message.posted_at), tabindex: "-1" }, h("time", { datetime: message.posted_at }, time(message.posted_at))),
        message.edited_at && !message.deleted ? h("span", { class: "edited", title: fullTime(message.edited_at) }, t("message.edited")) : null,
      ),
      message.reply_to !== null && !message.deleted ? this.#quote(message, quote) : null,
      h("div", { class: "text", dir: "auto" }, message.deleted ? t("message.deleted") : richText(message.text, names)),
      reactions.length ? this.#reactions(message.seq, reactions) : null,
      answers ? h("a", { class: "answers", href: `${href}/thread`, tabindex: "-1" }, t("thread.answers", { n: answers })) : null,
      own && !message.deleted ? h("span", { class: "sent", title: t("message.sent") }, h("span", { "aria-hidden": "true" }, "✓"), h("span", { class: "unseen" }, t("message.sent"))) : null,
    );
  }

  #reactions(seq, reactions) {
    const buttons = reactions.map(({ emoji, count, mine, names }) =>
      h(
        "button",
        {
          type: "button",
          tabindex: "-1",
          title: names,
          "aria-label": t("reaction.label", { emoji, n: count, names }),
          "aria-pressed": String(mine),
          disabled: !this.#writable,
          data: { emoji },
          on: { click: () => void this.#react(seq, emoji) },
        },
        h("span", {}, emoji),
        h("span", {}, String(count)),
      ),
    );
    return h("div", { class: "reactions", role: "group", "aria-label": t("message.reactions") }, buttons);
  }

  #quote(message, quote) {
    const [name, deleted, text] = quote ?? ["…", false, ""];
    return h(
      "a",
      { class: "quote", href: `#/rooms/${message.room_id}/${message.reply_to}`, dir: "auto", tabindex: "-1" },
      h("span", { class: "unseen" }, t("message.replyto", { name })),
      h("strong", { "aria-hidden": "true" }, name),
      " ",
      deleted ? t("message.deleted") : text,
    );
  }

  #unsent(entry, away) {
    const { chat, outbox } = this.#app;
    const failed = entry.state === "failed";
    const why = failed ? [t("message.failed"), entry.code ? `: ${reason(refusal(entry))}` : ""].join("") : t(away ? "message.waiting" : "message.sending");
    return h(
      "article",
      { class: `message head own unsent ${entry.state}`, tabindex: "-1", data: { id: entry.id }, "aria-label": `${chat.me.name}. ${entry.text}. ${why}` },
      avatar(chat.me.name),
      h("div", { class: "line" }, h("span", { class: "author", dir: "auto" }, chat.me.name)),
      h("div", { class: "text", dir: "auto" }, richText(entry.text)),
      h(
        "div",
        { class: "outcome" },
        h("span", {}, why),
        failed ? h("button", { type: "button", on: { click: () => outbox.retry(entry.id) } }, t("message.retry")) : null,
        failed || away ? h("button", { type: "button", on: { click: () => outbox.discard(entry.id) } }, t("message.discard")) : null,
      ),
    );
  }

  /** Announces a new message to screen readers. */
  announce(message) {
    const { chat } = this.#app;
    if (message.author_id !== chat.me.account_id) announce(t("message.says", { name: chat.nameOf(message.author_id), text: plain(message.text, 500) }));
  }

  // --- actions of a message -----------------------------------------------------------------------------------------

  #point(article) {
    if (!article || article === this.#active) return;
    if (this.#active && this.#actions.contains(document.activeElement) && !article.contains(document.activeElement)) return;
    this.#active = article;
    const message = article.dataset.seq ? this.#room.message(Number(article.dataset.seq)) : null;
    for (const each of this.#log.querySelectorAll('article[tabindex="0"]')) reachable(each, "-1");
    reachable(article, "0");
    this.#actions.remove();
    if (!message || message.deleted) return;
    const { writable, mayDelete, mayEdit } = this.#rights(message);
    this.#actions.replaceChildren(
      ...[
        writable ? iconButton("react", t("message.react"), (event) => void this.#pick(message, event.currentTarget)) : null,
        writable ? iconButton("reply", t("message.reply"), () => this.#reply(message)) : null,
        this.#hasThread(message) ? iconButton("chat", t("thread.open"), () => this.#openThread(message)) : null,
        writable && this.#app.pins ? iconButton("pin", t(this.#app.pins?.has(message.seq) ? "message.unpin" : "message.pin"), () => void this.#app.pins?.toggle(message.seq)) : null,
        mayEdit ? iconButton("edit", t("message.edit"), () => this.#edit(message)) : null,
        iconButton("bookmark", t("message.bookmark"), () => void this.#app.shows(LISTS, "keep", this.#room, message.seq)),
        iconButton("eye", t("readers.title"), () => void this.#app.shows(LISTS, "openReaders", this.#room, message.seq)),
        iconButton("unread", t("message.unread"), () => void this.#markUnread(message)),
        iconButton("link", t("message.link"), () => void this.#copyLink(message)),
        mayDelete ? iconButton("bin", t("message.delete"), () => void this.#delete(message), { class: "icon-button danger" }) : null,
      ].filter(Boolean),
    );
    article.append(this.#actions);
  }

  /** The message and what comes after it is unread again, and stays so until the room is opened once more. */
  async #markUnread(message) {
    const room = this.#room;
    try {
      await this.#app.chat.markUnread(room, message.seq);
      this.#app.go("#/"); // or what is seen would be marked at once
    } catch (error) {
      this.#app.toast(reason(error));
    }
  }

  get #writable() {
    return this.#room.role !== "readonly";
  }

  #rights(message) {
    const own = message.author_id === this.#app.chat.me.account_id;
    const writable = this.#writable;
    return { writable, mayEdit: own && writable, mayDelete: (own && writable) || this.#room.role === "admin" };
  }

  /** A thread, or the right to start one. */
  #hasThread(message) {
    const { kind, threads } = this.#room;
    return kind !== "thread" && (threads.has(message.seq) || (this.#writable && !message.deleted));
  }

  #openThread(message) {
    this.#app.go(`#/rooms/${message.room_id}/${message.seq}/thread`);
  }

  #key(event) {
    const article = event.target.closest("article");
    if (!article || event.ctrlKey || event.metaKey || event.altKey) return;
    const all = [...this.#log.querySelectorAll("article")];
    const to = { ArrowUp: all[all.indexOf(article) - 1], ArrowDown: all[all.indexOf(article) + 1], Home: all[0], End: all.at(-1) }[event.key];
    if (to) {
      event.preventDefault();
      this.#focus(to);
      to.scrollIntoView({ block: "nearest" });
      return;
    }
    if (event.key === "Escape") {
      this.#app.composer?.focus();
      return;
    }
    const message = article.dataset.seq ? this.#room.message(Number(article.dataset.seq)) : null;
    if (event.target !== article || !message) return;
    if (event.key === "t" && this.#hasThread(message)) {
      event.preventDefault();
      return this.#openThread(message);
    }
    if (message.deleted) return;
    const { writable, mayDelete, mayEdit } = this.#rights(message);
    if (event.key === "+" && writable) void this.#pick(message, article);
    else if (event.key === "r" && writable) this.#reply(message);
    else if (event.key === "e" && mayEdit) this.#edit(message);
    else if (event.key === "Delete" && mayDelete) void this.#delete(message);
    else return;
    event.preventDefault();
  }

  #focus(article) {
    article.setAttribute("tabindex", "0");
    article.focus({ preventScroll: true });
  }

  async #pick(message, near) {
    const mine = this.#room.reactions.of(message.seq).filter((each) => each.mine);
    const emoji = await pickEmoji(near, new Set(mine.map((each) => each.emoji)));
    this.#items.get(message.seq)?.element.focus({ preventScroll: true });
    if (emoji) await this.#react(message.seq, emoji);
  }

  async #react(seq, emoji) {
    const key = `${seq} ${emoji}`;
    if (this.#reacting.has(key)) return; // the answer to the last click decides what the next one does
    this.#reacting.add(key);
    try {
      await this.#app.chat.react(this.#room, seq, emoji);
    } catch (error) {
      this.#app.toast(reason(error));
    }
    this.#reacting.delete(key);
  }

  #reply(message) {
    this.#app.composer.reply(message);
  }

  #edit(message) {
    this.#app.composer.edit(message);
  }

  /** The newest message of this account, which the ↑ key edits. */
  editLast() {
    const own = this.#room.messages.findLast((message) => message.author_id === this.#app.chat.me.account_id && !message.deleted);
    if (own && this.#rights(own).mayEdit) this.#edit(own);
  }

  async #copyLink(message) {
    const address = new URL(`#/rooms/${message.room_id}/${message.seq}`, location.href).href;
    try {
      await navigator.clipboard.writeText(address);
      this.#app.toast(t("message.copied"));
    } catch {
      this.#app.go(`#/rooms/${message.room_id}/${message.seq}`); // then it stands in the address bar
    }
  }

  async #delete(message) {
    const sure = await ask(t("message.delete.ask"), t("message.delete.text"), [[true, t("message.delete"), "danger"]]);
    this.#items.get(message.seq)?.element.focus({ preventScroll: true });
    if (!sure) return;
    try {
      await this.#app.chat.falcon.deleteMessage(this.#room.roomId, message.seq);
      this.#app.chat.altered({ ...message, deleted: true, text: "", mentions: [] });
    } catch (error) {
      this.#app.toast(reason(error));
    }
  }
}

function together(before, message) {
  return before && before.author_id === message.author_id && message.reply_to === null && Date.parse(message.posted_at) - Date.parse(before.posted_at) < TOGETHER_MS;
}

/** Puts a message and its reactions on the way of the Tab key, or takes them off. */
function reachable(article, tabindex) {
  for (const each of [article, ...article.querySelectorAll(".reactions button")]) each.setAttribute("tabindex", tabindex);
}

/** The text of a stored refusal. */
function refusal({ code, detail }) {
  return new Problem(0, code, detail);
}
