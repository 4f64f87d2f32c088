// Lists of messages: one's bookmarks, and what a search has found. And the readers of a message.

import { open, reason } from "./dialogs.js";
import { h, iconButton } from "./dom.js";
import { plain } from "./formatting.js";
import { person, searchWhileTyping } from "./people.js";
import { shortTime, t } from "./strings.js";

const TEXT_MAX = 300; // characters of a message in a list

/** A message of any room as a link to its place there. ``text``: what is shown of it. ``names``: of other rooms. */
function entry(app, dialog, { room_id, seq, author_id, posted_at }, names, text, ...more) {
  const { chat } = app;
  const where = `${chat.rooms.get(room_id)?.name || names.get(room_id) || t("thread.title")} · ${shortTime(posted_at)}`;
  const link = h(
    "a",
    { class: "row", href: `#/rooms/${room_id}/${seq}`, on: { click: () => dialog.close() } },
    h("span", { class: "who" }, h("small", { class: "quiet", dir: "auto" }, where), h("span", { dir: "auto" }, h("strong", {}, chat.nameOf(author_id)), " ", text)),
  );
  return h("li", {}, link, ...more);
}

/** The names of authors, also of rooms that the page does not show. Gives the names of these rooms; threads have none. */
async function learnNames(chat, messages) {
  const unknown = new Set(messages.map(({ author_id }) => author_id).filter((id) => id && !chat.people.has(id)));
  const elsewhere = new Set(messages.map(({ room_id }) => room_id).filter((id) => !chat.rooms.has(id)));
  const names = new Map();
  try {
    if (unknown.size) for (const { account_id, name } of await chat.falcon.accountsOf(unknown)) chat.people.set(account_id, name);
    for (const { room_id, name } of await Promise.all([...elsewhere].map((id) => chat.falcon.room(id)))) names.set(room_id, name);
  } catch (failure) {
    console.warn("names could not be read", failure);
  }
  return names;
}

/** Fills a list page by page. ``read(cursor)`` gives the next items and the next cursor. */
function pages(list, note, read) {
  const more = h("button", { type: "button" }, t("list.more"));
  let reading = 0;
  async function next(cursor, mine) {
    more.remove();
    try {
      const { items, cursor: after } = await read(cursor);
      if (mine !== reading) return;
      list.append(...items);
      note.textContent = list.childElementCount ? "" : t("list.none");
      more.onclick = () => void next(after, mine);
      if (after !== null) list.after(more);
    } catch (failure) {
      if (mine === reading) note.textContent = reason(failure);
    }
  }
  return () => {
    list.replaceChildren();
    return next(undefined, ++reading);
  };
}

/** One's own bookmarks, the newest first. */
export function openBookmarks(app) {
  const { chat } = app;
  const list = h("ul", { class: "directory messages", "aria-label": t("bookmarks.title") });
  const note = h("p", { class: "quiet", role: "status" });
  const dialog = open(t("bookmarks.title"), h("div", { class: "body" }, note, list));
  const remove = async ({ room_id, seq }, button) => {
    try {
      await chat.falcon.removeBookmark(room_id, seq);
      button.closest("li").remove();
    } catch (failure) {
      note.textContent = reason(failure);
    }
  };
  const item = (mark, names) => {
    const button = iconButton("close", t("bookmark.remove"), (event) => void remove(mark, event.currentTarget));
    const { message } = mark;
    const marked = mark.note ? h("small", { class: "quiet", dir: "auto" }, mark.note) : null;
    if (!message) return h("li", {}, h("span", { class: "row quiet" }, t("bookmark.unreadable"), marked), button);
    return entry(app, dialog, message, names, message.deleted ? t("message.deleted") : plain(message.text, TEXT_MAX), marked, button);
  };
  return pages(list, note, async (cursor) => {
    const { bookmarks, next_cursor } = await chat.falcon.bookmarks({ limit: 50, cursor });
    const names = await learnNames(chat, bookmarks.map(({ message }) => message).filter(Boolean));
    return { items: bookmarks.map((mark) => item(mark, names)), cursor: next_cursor };
  })();
}

/** The threads that one follows, the newest answer first. */
export function openThreads(app) {
  const { chat } = app;
  const list = h("ul", { class: "directory messages", "aria-label": t("threads.title") });
  const note = h("p", { class: "quiet", role: "status" });
  const dialog = open(t("threads.title"), h("div", { class: "body" }, note, list));
  const item = ({ parent, root, unread }, names) => {
    const text = root.deleted ? t("message.deleted") : plain(root.text, TEXT_MAX);
    const li = entry(app, dialog, root, names, text, unread ? h("small", { class: "badge", role: "img", "aria-label": t("rooms.unread", { n: unread }) }, String(unread)) : null);
    li.querySelector("a").href = `#/rooms/${parent.room_id}/${parent.seq}/thread`;
    return li;
  };
  return pages(list, note, async (cursor) => {
    const { threads, next_cursor } = await chat.falcon.threads({ limit: 50, cursor });
    const names = await learnNames(chat, threads.map(({ root }) => root));
    return { items: threads.map((thread) => item(thread, names)), cursor: next_cursor };
  })();
}

/** Keeps a message for oneself. */
export async function keep(app, room, seq) {
  try {
    await app.chat.falcon.setBookmark(room.roomId, seq);
    app.toast(t("bookmark.kept"));
  } catch (failure) {
    app.toast(reason(failure));
  }
}

/** Who has read a message. */
export function openReaders(app, room, seq) {
  const list = h("ul", { class: "directory", "aria-label": t("readers.title") });
  const note = h("p", { class: "quiet", role: "status" });
  open(t("readers.title"), h("div", { class: "body" }, note, list));
  return pages(list, note, async (cursor) => {
    const { readers, next_cursor } = await app.chat.falcon.readers(room.roomId, seq, { limit: 200, cursor });
    return { items: readers.map((reader) => h("li", { class: "row" }, person(reader))), cursor: next_cursor };
  })();
}

/** The end of a day, or of one some days later, as a time; undefined without a day. */
function dayEnds(day, later) {
  if (!day) return undefined;
  const [year, month, number] = day.split("-").map(Number);
  return new Date(year, month - 1, number + later, 23, 59, 59, 999).toISOString();
}

/** Messages by their words, in all rooms or in the open one. */
export function openSearch(app) {
  const { chat } = app;
  const here = chat.rooms.get(app.roomId);
  const input = h("input", { type: "search", class: "wide", autocomplete: "off", "aria-label": t("search.find"), placeholder: t("search.find"), maxlength: "200" });
  const where = h("select", { "aria-label": t("search.where") }, h("option", { value: "" }, t("search.everywhere")), here ? h("option", { value: here.roomId }, here.name) : null);
  const sort = h("select", { "aria-label": t("search.sort") }, ["newest", "relevance"].map((value) => h("option", { value }, t(`search.sort.${value}`))));
  const about = h("select", { "aria-label": t("search.only") }, [["", "search.all"], ["link", "search.links"], ["me", "search.mentions"]].map(([value, text]) => h("option", { value }, t(text))));
  const known = [...chat.people].sort(([, one], [, other]) => one.localeCompare(other));
  const from = h("select", { "aria-label": t("search.from") }, h("option", { value: "" }, t("search.everyone")), known.map(([id, name]) => h("option", { value: id }, name)));
  const [after, before] = ["after", "before"].map((name) => h("input", { type: "date", "aria-label": t(`search.${name}`), title: t(`search.${name}`) }));
  const list = h("ul", { class: "directory messages", "aria-label": t("search.title") });
  const note = h("p", { class: "quiet", role: "status" });
  const dialog = open(t("search.title"), h("div", { class: "body" }, input, h("div", { class: "filters" }, where, from, about, after, before, sort), note, list));

  const asked = () => ({
    room: where.value || undefined,
    from: from.value || undefined,
    after: dayEnds(after.value, -1),
    before: dayEnds(before.value, 0),
    sort: sort.value,
    has: about.value === "link" ? "link" : undefined,
    mentions: about.value === "me" ? "me" : undefined,
  });
  const marked = (snippet) => snippet.map(([text, hit]) => (hit ? h("mark", {}, text) : text));
  const again = (text) =>
    pages(list, note, async (cursor) => {
      const { hits, next_cursor } = await chat.falcon.search(text, { ...asked(), limit: 20, cursor });
      const names = await learnNames(chat, hits.map(({ message }) => message));
      return { items: hits.map(({ message, snippet }) => entry(app, dialog, message, names, marked(snippet))), cursor: next_cursor };
    })();
  const look = searchWhileTyping(input, async (text) => text, (text) => (text ? void again(text) : list.replaceChildren()), () => {});
  for (const filter of [where, from, about, after, before, sort]) filter.addEventListener("change", () => void look());
  dialog.addEventListener("keydown", (event) => {
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (!step || event.target.matches("select, [type=date]")) return;
    event.preventDefault();
    const places = [input, ...list.querySelectorAll("a.row")];
    places[Math.min(Math.max(places.indexOf(document.activeElement) + step, 0), places.length - 1)].focus();
  });
  input.focus();
}
