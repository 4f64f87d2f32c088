// The page: the account, the open room, and the rendering of changes.

import { Problem } from "./client/index.js";
import { Chat } from "./chat.js";
import { Composer } from "./composer.js";
import { connect } from "./connecting.js";
import { ask, roomSettings } from "./dialogs.js";
import { avatar, h, ICON, iconButton, roomAvatar } from "./dom.js";
import { Listening } from "./listening.js";
import { Members } from "./members.js";
import { isNotified, notify, noticesButton } from "./notices.js";
import { Outbox } from "./outbox.js";
import { Pins } from "./pins.js";
import { withLinks } from "./richtext.js";
import { RoomList } from "./roomlist.js";
import { forget, hasReturned, isOffer, keptToken, mayHaveSession, noteSession, onForgotten, takeOffer } from "./session.js";
import { signIn } from "./signin.js";
import { chosenLanguage, currentLanguage, LANGUAGES, setLanguage, t } from "./strings.js";
import { showTheme } from "./theme.js";
import { Timeline } from "./timeline.js";
import { Typing } from "./typing.js";
import { Watching } from "./watching.js";

const root = document.getElementById("app");
const FIRST_MS = 4_000; // after so long it is said that Falcon cannot be reached
const PATIENCE_MS = 1_500; // a connection that is back by then was hardly away

class App {
  roomId = null;
  timeline = null;
  composer = null;
  typing = null;
  members = null;
  pins = null;
  connection = { state: "connecting" };
  #scheduled = false;
  #since = Date.now();
  #listeners = new AbortController();

  constructor(falcon, me) {
    this.falcon = falcon;
    this.hasSession = keptToken() === null; // then a cookie says who it is
    this.chat = new Chat(falcon, me);
    this.outbox = new Outbox(this.chat);
    this.stream = new Listening(falcon, {
      onEvent: (type, data) => this.chat.take(type, data),
      onState: (connection) => this.#connectionIs(connection),
      onRestarted: () => location.reload(), // Falcon was restored from a copy; drafts and unsent messages are kept
      onUnauthenticated: () => this.#unauthenticated(),
    });
    this.watching = new Watching(this.stream);
    falcon.onFailure = (failure) => {
      if (!(failure instanceof Problem)) this.stream.doubt();
      else if (failure.status === 401) this.#unauthenticated();
    };
    const soon = () => this.schedule();
    for (const type of ["rooms", "room", "members"]) this.chat.addEventListener(type, soon);
    this.chat.addEventListener("gone", (event) => this.#gone(event.detail));
    for (const type of ["pin.added", "pin.removed"]) this.chat.addEventListener(type, ({ detail }) => detail.room_id === this.roomId && void this.pins?.load());
    this.chat.addEventListener("typing", ({ detail }) => this.typing?.said(detail));
    this.chat.addEventListener("posted", ({ detail }) => {
      if (detail.room.roomId === this.roomId) this.typing?.ended(detail.message.author_id);
      if (detail.fresh) void this.#tell(detail.room, detail.message);
    });
    this.outbox.addEventListener("change", soon);
    const { signal } = this.#listeners;
    window.addEventListener("hashchange", () => this.#route(), { signal });
    window.addEventListener("keydown", (event) => this.#key(event), { signal });
    window.addEventListener("dragover", keepPage, { signal });
    window.addEventListener("online", () => this.#nudge(), { signal });
    window.addEventListener("offline", () => this.stream.doubt(), { signal });
    window.addEventListener("pageshow", () => this.#nudge(), { signal });
    document.addEventListener("visibilitychange", () => this.#visibility(), { signal });
    this.#build();
    this.stream.start();
  }

  // --- the frame ----------------------------------------------------------------------------------------------------

  #build() {
    this.list = new RoomList(this);
    this.state = h("div", { class: "state", role: "status" });
    this.list.element.append(h("footer", {}, h("div", { class: "row" }, this.state, this.#languages()), this.#account()));
    this.main = h("main", { id: "main" });
    this.toasts = h("div", { class: "toasts", role: "alert" });
    this.frame = h("div", { class: "app", data: { pane: "rooms" } }, this.list.element, this.main);
    root.replaceChildren(this.frame, this.toasts);
    this.#showState();
    this.roomId = undefined;
    this.#route();
  }

  #languages() {
    return h(
      "select",
      { class: "language", "aria-label": t("account.language"), on: { change: (event) => this.speak(event.target.value) } },
      Object.entries(LANGUAGES).map(([name, title]) => h("option", { value: name, lang: name, selected: name === currentLanguage() }, title)),
    );
  }

  #account() {
    const { me } = this.chat;
    return h(
      "div",
      { class: "account", role: "group", "aria-label": t("account.menu") },
      avatar(me.name),
      h("span", { class: "name" }, h("span", { dir: "auto" }, me.name), h("small", { class: "quiet" }, me.handle ? `@${me.handle}` : t(`account.role.${me.role}`))),
      me.is_admin ? iconButton("people", t("admin.title"), () => void this.shows(() => import("./admin.js"), "managePeople")) : null,
      iconButton("settings", t("account.settings"), () => void this.shows(() => import("./settings.js"), "accountSettings")),
      noticesButton(this),
      iconButton("out", t("account.out"), () => void this.#signOut()),
    );
  }

  find() {
    void this.shows(() => import("./directory.js"), "openDirectory");
  }

  search() {
    void this.shows(() => import("./lists.js"), "openSearch");
  }

  /** Opens what is seldom needed, and loaded when it is. */
  async shows(load, name, ...given) {
    try {
      await (await load())[name](this, ...given);
    } catch {
      this.toast(t("signin.unreachable"));
    }
  }

  /** One's own profile was changed here. */
  meChanged(me) {
    Object.assign(this.chat.me, me);
    this.chat.people.set(me.account_id, me.name);
    this.list.element.querySelector(".account").replaceWith(this.#account());
    this.schedule();
  }

  speak(name) {
    setLanguage(name, true);
    this.timeline?.close();
    this.#build();
    this.list.element.querySelector("select.language").focus();
  }

  toast(text) {
    const toast = h("p", {}, text);
    this.toasts.append(toast);
    setTimeout(() => toast.remove(), 6_000);
  }

  /** Tells the user of a new message, as it now stands, once its author's name is known. */
  async #tell(room, { seq, author_id }) {
    const isOpen = () => room.roomId === this.roomId;
    const latest = () => room.recent.get(seq);
    if (!isOpen() && !isNotified(this, room, latest())) return;
    await this.chat.learnName(room, author_id);
    const message = latest();
    if (app !== this || !message || message.deleted) return;
    if (isOpen()) this.timeline?.announce(message);
    if (isNotified(this, room, message)) notify(this, room, message);
  }

  // --- the connection -----------------------------------------------------------------------------------------------

  #connectionIs(connection) {
    const before = this.connection;
    this.connection = connection;
    if (connection.state !== before.state && (connection.state === "connected" || before.state === "connected")) {
      this.#since = Date.now();
      setTimeout(() => this.#showState(), PATIENCE_MS + 50);
    }
    if (connection.state === "connected") {
      this.outbox.nudge();
      this.timeline?.visibilityChanged();
      void this.pins?.load();
    }
    if (connection.state === "offline") this.lastWhy = connection.why;
    this.#showState();
    this.schedule();
  }

  #showState() {
    const { state } = this.connection;
    // Keep the reason between attempts, and do not report a short interruption.
    const shown = state === "connecting" && this.lastWhy ? "offline" : state;
    const calm = shown !== "connected" && this.lastWhy && Date.now() - this.#since < PATIENCE_MS ? "connecting" : shown;
    if (state === "connected") this.lastWhy = null;
    const key = `${calm} ${this.lastWhy} ${currentLanguage()}`;
    if (this.state.dataset.key === key) return;
    this.state.dataset.key = key;
    this.state.dataset.state = calm;
    this.frame.dataset.connection = calm;
    const text = h("span", { class: "what" }, t(`state.${calm}`));
    if (calm === "offline") text.append(h("small", {}, t(`state.why.${this.lastWhy}`)));
    this.state.replaceChildren(
      h("span", { class: "dot", "aria-hidden": "true" }),
      text,
      calm === "offline" ? h("button", { type: "button", on: { click: () => this.#nudge() } }, t("state.again")) : "",
    );
    this.#showBanner();
  }

  /** On a phone the foot of the list is not visible while a room is open. */
  #showBanner() {
    if (!this.banner) return;
    const offline = this.state.dataset.state === "offline";
    this.banner.hidden = !offline;
    this.banner.textContent = offline ? `${t("state.offline")} – ${t(`state.why.${this.lastWhy}`)}` : "";
  }

  #nudge() {
    this.stream.nudge();
    this.outbox.nudge();
  }

  #visibility() {
    if (document.visibilityState === "visible") {
      this.#nudge();
      this.schedule();
    }
    this.timeline?.visibilityChanged();
  }

  #key(event) {
    if (document.querySelector("dialog[open]")) return;
    const held = event.ctrlKey || event.metaKey;
    const isWriting = event.target.matches?.("input, textarea, select");
    if (held && event.key.toLowerCase() === "k") this.find();
    else if (held && event.shiftKey && event.key.toLowerCase() === "f") this.search();
    else if (!held && event.key === "?" && !isWriting) void this.shows(() => import("./keys.js"), "helpOnKeys");
    else return;
    event.preventDefault();
  }

  // --- which room is open -------------------------------------------------------------------------------------------------

  go(hash) {
    if (location.hash === hash) this.#route();
    else location.hash = hash;
  }

  #route() {
    if (isOffer()) return begin();
    const match = /^#\/rooms\/(\d{1,16})(?:\/(\d{1,16})(\/thread)?)?$/.exec(location.hash);
    const roomId = match ? Number(match[1]) : null;
    const seq = match?.[2] ? Number(match[2]) : null;
    const inThread = Boolean(match?.[3]);
    if (roomId !== null && roomId === this.roomId && this.timeline) {
      if (inThread) void this.#showThread(seq);
      else if (this.thread) this.#closeThread();
      else if (seq !== null) void this.timeline.show(seq);
      return undefined;
    }
    this.#closeThread();
    this.timeline?.close();
    this.timeline = this.composer = this.typing = this.pins = this.banner = null;
    this.showMembers(false, false);
    this.roomId = roomId;
    this.chat.openId = roomId;
    this.frame.dataset.pane = roomId === null ? "rooms" : "room";
    if (roomId === null) this.main.replaceChildren(h("p", { class: "choose quiet" }, h("img", { src: ICON, alt: "", width: "56", height: "56" }), t("room.choose")));
    else this.#enter(seq, inThread);
    this.schedule();
    return undefined;
  }

  #enter(seq, inThread) {
    const room = this.chat.rooms.get(this.roomId);
    if (!room) {
      // The rooms are unknown before the first state arrives.
      const unknown = this.chat.ready ? t("room.gone") : t("signin.checking");
      this.main.replaceChildren(h("header", {}, this.#back()), h("p", { class: "choose quiet" }, unknown));
      this.#waiting = { roomId: this.roomId, seq, inThread };
      return;
    }
    this.#waiting = null;
    if (room.parent) return void this.go(`#/rooms/${room.parent.room_id}/${room.parent.seq}/thread`);
    this.title = h("h2", { dir: "auto" }, room.name);
    this.count = h("small", { class: "quiet", dir: "auto" });
    this.picture = roomAvatar(room);
    this.settingsButton = iconButton("settings", t("settings.title"), () => roomSettings(this.chat, room));
    this.membersButton = iconButton("people", t("room.members"), () => this.showMembers(!this.members), { "aria-expanded": "false" });
    this.banner = h("p", { class: "banner", hidden: true });
    this.pins = new Pins(this, room);
    this.timeline = new Timeline(this, room);
    this.typing = new Typing(this, room);
    this.composer = new Composer(this, room);
    this.main.replaceChildren(
      h("header", {}, this.#back(), this.picture, h("div", { class: "titles" }, this.title, this.count), this.settingsButton, this.membersButton),
      this.banner,
      this.pins.element,
      this.timeline.element,
      this.typing.element,
      this.composer.element,
    );
    this.#showBanner();
    void this.timeline.begin(seq);
    void this.chat.loadMembers(room);
    if (inThread) void this.#showThread(seq);
    if (seq === null && !matchMedia("(pointer: coarse)").matches) this.composer.focus();
  }

  #waiting = null;

  /** An address may name a thread by its own number, as a message does that a search has found. */
  async #findThread(roomId) {
    try {
      const { parent } = await this.falcon.room(roomId);
      if (parent && this.roomId === roomId) this.go(`#/rooms/${parent.room_id}/${parent.seq}/thread`);
    } catch {
      // the page says that there is no such room
    }
  }

  async #showThread(seq) {
    if (this.thread?.seq === seq) return;
    const { hash } = location;
    const { ThreadPanel } = await import("./thread.js");
    if (location.hash !== hash) return; // another place was opened meanwhile
    this.#closeThread();
    this.showMembers(false, false);
    this.thread = new ThreadPanel(this, this.chat.rooms.get(this.roomId), seq);
    this.frame.append(this.thread.element);
    this.frame.dataset.pane = "members";
    this.thread.focus();
  }

  #closeThread() {
    if (!this.thread) return;
    this.thread.close();
    this.thread.element.remove();
    this.thread = null;
    this.frame.dataset.pane = this.roomId === null ? "rooms" : "room";
  }

  #back() {
    return h("a", { class: "icon-button back", href: "#/", "aria-label": t("room.back"), title: t("room.back") }, iconButton("back", "", () => {}).firstChild);
  }

  showMembers(shown, focus = true) {
    this.members?.element.remove();
    this.members = null;
    const room = this.chat.rooms.get(this.roomId);
    if (shown && this.thread) this.#closeThread();
    if (shown && room) {
      this.members = new Members(this, room);
      this.frame.append(this.members.element);
      this.members.focus();
    } else if (focus) {
      this.membersButton?.focus();
    }
    this.membersButton?.setAttribute("aria-expanded", String(Boolean(this.members)));
    this.frame.dataset.pane = this.members ? "members" : this.roomId === null ? "rooms" : "room";
  }

  /** A room of which you are not a member. */
  lost(room) {
    this.#gone({ roomId: room.roomId, name: room.name });
  }

  #gone({ roomId, name, deleted = false }) {
    if (roomId !== this.roomId) return;
    this.toast(t(deleted ? "room.deleted" : "room.left", { room: name }));
    this.go("#/");
  }

  // --- showing ------------------------------------------------------------------------------------------------------

  /** Shows all changes together with the next frame. */
  schedule() {
    if (this.#scheduled) return;
    this.#scheduled = true;
    const show = () => {
      this.#scheduled = false;
      this.#show();
    };
    if (document.hidden) setTimeout(show, 200);
    else requestAnimationFrame(show);
  }

  #show() {
    if (this.#waiting && (this.chat.rooms.has(this.#waiting.roomId) || this.chat.ready)) {
      const { seq, inThread } = this.#waiting;
      if (this.chat.rooms.has(this.roomId)) this.#enter(seq, inThread);
      else {
        this.main.querySelector(".choose").textContent = t("room.gone");
        if (!this.#waiting.asked) void this.#findThread(this.roomId);
        this.#waiting.asked = true;
      }
    }
    this.list.render();
    const room = this.chat.rooms.get(this.roomId);
    if (room && this.timeline) {
      if (this.title.textContent !== room.name) {
        this.title.textContent = room.name;
        const picture = roomAvatar(room);
        this.picture.replaceWith(picture);
        this.picture = picture;
      }
      this.settingsButton.hidden = room.kind !== "group" || room.role !== "admin";
      const count = room.kind === "direct" ? this.#direct(room) : room.members ? t("room.members.n", { n: room.members.size }) : "";
      const about = [count, room.description].filter(Boolean).join(" · ");
      if (this.count.textContent !== about) this.count.replaceChildren(...withLinks(about)); // a link keeps its focus
      this.count.title = room.description;
      this.timeline.render();
      this.composer.render();
      this.pins.render();
      this.members?.render();
      this.thread?.render();
      this.chat.threadId = this.thread?.roomId ?? null;
    }
    const unread = this.chat.sorted().filter((each) => each.unread).length;
    document.title = `${unread ? `(${unread}) ` : ""}${room ? `${room.name} — ` : ""}${t("app.name")}`;
  }

  /** A direct room shows in its head whether the other person is online. */
  #direct(room) {
    const others = [...(room.members?.keys() ?? [])].filter((accountId) => accountId !== this.chat.me.account_id);
    this.watching.see(others);
    const online = others.some((accountId) => this.chat.online.has(accountId));
    return online ? `${t("room.direct")} · ${t("members.online")}` : t("room.direct");
  }

  // --- the end ------------------------------------------------------------------------------------------------------

  async #signOut() {
    const ways = this.hasSession
      ? [["end", t("account.out"), "primary"]]
      : [["end", t("account.out.end"), "danger"], ["here", t("account.out.here"), "primary"]];
    const way = await ask(t("account.out.ask"), t(this.hasSession ? "account.out.session" : "account.out.text"), ways);
    if (way === null) return;
    const unsent = this.outbox.all().length;
    if (unsent) {
      const choice = await ask(t("account.unsent.ask"), t("account.unsent.text", { n: unsent }), [
        ["discard", t("account.unsent.discard"), "danger"],
        ["keep", t("account.unsent.keep"), "primary"],
      ]);
      if (choice === null) return;
      if (choice === "discard") this.outbox.discardAll();
    }
    this.#end(way === "end" ? await this.#endToken() : null, true);
  }

  /** Ends the session, or revokes the token. Shows a note if that failed. */
  async #endToken() {
    this.stream.stop();
    this.falcon.onFailure = null;
    try {
      await (this.hasSession ? this.falcon.endCurrentSession() : this.falcon.signOut());
    } catch (failure) {
      if (failure instanceof Problem && failure.status === 401) return null; // it is ended
      return t(failure instanceof Problem && failure.status === 409 ? "signin.kept" : "signin.unended");
    }
    return null;
  }

  #end(note, leaving = false) {
    this.leave();
    forget();
    if (leaving) {
      for (const key of Object.keys(sessionStorage)) if (key.startsWith("falcon.draft.")) sessionStorage.removeItem(key);
      history.replaceState(null, "", location.pathname);
    }
    begin(note);
  }

  #unauthenticated() {
    this.#end(t(this.hasSession ? "signin.session.ended" : "signin.ended"));
  }

  leave() {
    this.stream.stop();
    this.falcon.onFailure = null;
    this.outbox.stop();
    this.timeline?.close();
    this.#listeners.abort();
    for (const dialog of document.querySelectorAll("dialog")) dialog.close();
    if (app === this) app = null;
  }
}

/** A file that is dropped on the page would replace it: the page takes none. */
function keepPage(event) {
  if (!event.dataTransfer.types.includes("Files")) return;
  event.preventDefault();
  event.dataTransfer.dropEffect = "none";
}

let app = null;

/** Signs in by the cookie of a session, by the stored token, by what the address offers, or by hand. */
async function begin(note = null) {
  app?.leave();
  const offer = takeOffer();
  const kept = keptToken();
  const enter = (falcon, me, newcomer = null) => {
    app = new App(falcon, me);
    if (newcomer) void app.shows(() => import("./welcome.js"), "welcome", newcomer);
  };
  const newcomer = hasReturned() ? { asksPassword: false } : null; // the provider signs in
  if (offer && offer.value !== kept) return void signIn(root, { offer, note, done: enter });
  if (kept === null && !mayHaveSession()) return void signIn(root, { note, done: enter });
  root.replaceChildren(h("p", { class: "choose quiet", role: "status" }, t("signin.checking")));
  const falcon = connect(kept);
  for (;;) {
    try {
      const me = await falcon.me({ timeoutMs: FIRST_MS });
      if (kept === null) noteSession();
      return void enter(falcon, me, newcomer);
    } catch (error) {
      if (error instanceof Problem && error.status === 401) {
        forget();
        return void signIn(root, { note: kept === null ? null : t("signin.ended"), done: enter });
      }
      root.firstElementChild.textContent = t("signin.unreachable");
      await new Promise((done) => setTimeout(done, 2_000));
    }
  }
}

setLanguage(chosenLanguage());
showTheme();
onForgotten(() => void begin());
window.addEventListener("hashchange", () => {
  if (!app && isOffer()) void begin();
});
void begin();
