import { h, ICON, iconButton, roomAvatar } from "./dom.js";
import { plain } from "./formatting.js";
import { newDirect, newRoom } from "./dialogs.js";
import { shortTime, t } from "./strings.js";

/** The rooms, the most recently active first. */
export class RoomList {
  #app;
  #items = new Map();
  #list = h("ul", { class: "room-list" });
  #heading = h("li", { class: "heading quiet", role: "presentation", hidden: true }, t("room.direct"));
  #note = h("p", { class: "quiet note" });
  #orphans = h("div", { class: "note orphans", hidden: true });
  #find = h("input", { type: "search", autocomplete: "off" });
  #threads = iconButton("reply", t("threads.title"), () => void this.#app.shows(() => import("./lists.js"), "openThreads"));

  constructor(app) {
    this.#app = app;
    this.#find.placeholder = t("rooms.find");
    this.#find.setAttribute("aria-label", t("rooms.find"));
    this.#find.addEventListener("input", () => this.render());
    this.#list.addEventListener("keydown", (event) => this.#key(event));
    const go = (room) => app.go(`#/rooms/${room.roomId}`);
    this.element = h(
      "nav",
      { class: "rooms", "aria-label": t("rooms.title") },
      h(
        "header",
        {},
        h("img", { src: ICON, alt: "", width: "28", height: "28" }),
        h("h1", {}, t("app.name")),
        iconButton("find", t("directory.title"), () => app.find()),
        iconButton("chat", t("direct.title"), () => newDirect(app.chat, go)),
        iconButton("plus", t("rooms.new"), () => newRoom(app.chat, go)),
      ),
      h("div", { class: "find" }, this.#find,
        iconButton("words", t("search.title"), () => app.search()),
        this.#threads,
        iconButton("bookmark", t("bookmarks.title"), () => void app.shows(() => import("./lists.js"), "openBookmarks")),
      ),
      h("div", { class: "scroll" }, this.#orphans, this.#note, this.#list),
    );
  }

  #key(event) {
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (!step) return;
    const links = [...this.#list.querySelectorAll("a")];
    const to = links[links.indexOf(document.activeElement) + step];
    if (to) {
      event.preventDefault();
      to.focus();
    }
  }

  /** How many of the followed threads are unread. */
  #renderThreads() {
    const { unreadThreads: n } = this.#app.chat;
    if (this.#threads.dataset.n === String(n)) return;
    this.#threads.dataset.n = n;
    this.#threads.querySelector(".badge")?.remove();
    if (n) this.#threads.append(h("span", { class: "badge", "aria-hidden": "true" }, String(n)));
    const label = n ? `${t("threads.title")}, ${t("threads.unread", { n })}` : t("threads.title");
    this.#threads.setAttribute("aria-label", label);
  }

  /** Shows unsent messages to rooms that no longer exist. */
  #renderOrphans() {
    const { chat, outbox } = this.#app;
    const orphans = chat.ready ? outbox.all().filter((entry) => entry.state === "failed" && !chat.rooms.has(entry.room_id)) : [];
    if (String(orphans.length) === this.#orphans.dataset.n) return;
    this.#orphans.dataset.n = orphans.length;
    this.#orphans.hidden = !orphans.length;
    this.#orphans.replaceChildren(
      h("p", { class: "error" }, t("rooms.orphans", { n: orphans.length })),
      h("ul", {}, orphans.map(({ text }) => h("li", { class: "quiet", dir: "auto" }, text.slice(0, 300)))),
      h("button", { type: "button", on: { click: () => orphans.forEach(({ id }) => outbox.discard(id)) } }, t("message.discard")),
    );
  }

  render() {
    const { chat, outbox, roomId } = this.#app;
    this.#renderThreads();
    this.#renderOrphans();
    const wanted = this.#find.value.trim().toLocaleLowerCase();
    const rooms = chat.sorted().filter((room) => room.name.toLocaleLowerCase().includes(wanted));
    const failed = new Set(outbox.all().filter((entry) => entry.state === "failed").map((entry) => entry.room_id));
    this.#find.hidden = chat.rooms.size < 8 && !wanted;
    this.#note.textContent = !chat.ready || rooms.length ? "" : t(wanted ? "rooms.none" : "rooms.empty");
    this.#note.hidden = !this.#note.textContent;

    const kept = new Set();
    const direct = rooms.filter((room) => room.kind === "direct");
    const groups = rooms.filter((room) => room.kind !== "direct");
    this.#heading.hidden = !direct.length;
    let at = this.#list.firstElementChild;
    const focused = this.#list.contains(document.activeElement) ? document.activeElement.dataset.room : null;
    for (const room of [...groups, null, ...direct]) {
      if (room) kept.add(room.roomId);
      const item = room ? this.#item(room, failed.has(room.roomId)) : this.#heading;
      if (item === at) at = at.nextElementSibling;
      else this.#list.insertBefore(item, at);
    }
    for (const [id, { item }] of this.#items) {
      if (kept.has(id)) continue;
      item.remove();
      this.#items.delete(id);
    }
    for (const [id, { link }] of this.#items) {
      if (id === roomId) link.setAttribute("aria-current", "page");
      else link.removeAttribute("aria-current");
    }
    if (focused && document.activeElement?.dataset.room !== focused) this.#items.get(Number(focused))?.link.focus();
  }

  #item(room, failed) {
    const { chat } = this.#app;
    const last = room.lastMessage;
    const author = last && (last.author_id === chat.me.account_id || room.kind !== "direct") ? chat.people.get(last.author_id) : null;
    const text = last ? (last.deleted ? t("rooms.deleted") : plain(last.text, 120)) : t("rooms.nothing");
    const state = JSON.stringify([room.name, room.kind, author, text, room.updatedAt, room.unread, room.mentions, failed]);
    const here = this.#items.get(room.roomId);
    if (here?.state === state) return here.item;

    const badges = [
      failed ? h("span", { class: "badge failed" }, h("span", { "aria-hidden": "true" }, "!"), unseen(t("rooms.failed"))) : null,
      room.mentions
        ? h("span", { class: "badge mention" }, h("span", { "aria-hidden": "true" }, `@${short(room.mentions)}`), unseen(t("rooms.mentions", { n: room.mentions })))
        : null,
      room.unread
        ? h("span", { class: "badge" }, h("span", { "aria-hidden": "true" }, short(room.unread)), unseen(t("rooms.unread", { n: room.unread })))
        : null,
    ];
    const content = [
      roomAvatar(room),
      h("span", { class: "name", dir: "auto" }, room.name),
      h("time", { datetime: room.updatedAt }, room.updatedAt ? shortTime(room.updatedAt) : ""),
      h("span", { class: "last", dir: "auto" }, author && !last.deleted ? t("message.says", { name: author, text }) : text),
      h("span", { class: "badges" }, badges),
    ];
    const link = here?.link ?? h("a", { href: `#/rooms/${room.roomId}`, data: { room: room.roomId } });
    link.replaceChildren(...content);
    link.className = `${room.unread ? "unread" : ""} ${room.kind}`;
    const item = here?.item ?? h("li", {}, link);
    this.#items.set(room.roomId, { item, link, state });
    return item;
  }
}

const unseen = (text) => h("span", { class: "unseen" }, ` ${text}`);
const short = (count) => (count > 99 ? "99+" : String(count));
