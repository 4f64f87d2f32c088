// Ctrl-K: people and rooms by name. One's own rooms are found at once; others come from the directory.

import { open, openDirect, reason } from "./dialogs.js";
import { h, roomAvatar } from "./dom.js";
import { person, searchWhileTyping } from "./people.js";
import { t } from "./strings.js";

const OWN_MAX = 6;

export function openDirectory(app) {
  const { chat } = app;
  const input = h("input", { type: "search", class: "wide", autocomplete: "off", "aria-label": t("directory.find"), placeholder: t("directory.find") });
  const list = h("ul", { class: "directory", "aria-label": t("directory.title") });
  const note = h("p", { class: "quiet", role: "status" });
  const dialog = open(t("directory.title"), h("div", { class: "body" }, input, note, list));
  const enter = (roomId) => {
    dialog.close();
    app.go(`#/rooms/${roomId}`);
  };
  const attempt = (work) => async () => {
    try {
      await work();
    } catch (failure) {
      note.textContent = reason(failure);
    }
  };
  const item = (content, act) => h("li", {}, h("button", { type: "button", class: "row", on: { click: attempt(act) } }, content));
  const ownRoom = (room) => item([roomAvatar(room), h("span", { class: "name", dir: "auto" }, room.name)], () => enter(room.roomId));
  const openRoom = (room) =>
    item(
      [
        roomAvatar({ roomId: room.room_id, name: room.name, kind: "group" }),
        h("span", { class: "who" }, h("span", { class: "name", dir: "auto" }, room.name), h("small", { class: "quiet", dir: "auto" }, room.description)),
        h("small", { class: "quiet" }, t("room.members.n", { n: room.members })),
      ],
      async () => {
        await chat.falcon.putMember(room.room_id, chat.me.account_id, "member");
        enter(room.room_id);
      },
    );
  const someone = (account) => item(person(account), async () => enter((await openDirect(chat, account.account_id)).roomId));

  const own = (text) => chat.sorted().filter((room) => room.name.toLocaleLowerCase().includes(text.toLocaleLowerCase())).slice(0, OWN_MAX);
  async function search(text) {
    const guest = chat.me.role === "guest";
    const [people, rooms] = await Promise.all([
      chat.falcon.searchAccounts(text, { limit: 10 }),
      guest ? { rooms: [] } : chat.falcon.openRooms({ q: text, limit: 10 }),
    ]);
    return { text, people, rooms: rooms.rooms.filter(({ room_id }) => !chat.rooms.has(room_id)) };
  }
  function show(found) {
    const text = input.value.trim();
    const mine = own(text).map(ownRoom);
    const people = (found?.people ?? []).filter(({ account_id }) => account_id !== chat.me.account_id).map(someone);
    const rooms = (found?.rooms ?? []).map(openRoom);
    const part = (title, items) => (items.length ? [h("li", { class: "heading quiet", role: "presentation" }, t(title)), ...items] : []);
    list.replaceChildren(...part("directory.own", mine), ...part("directory.people", people), ...part("directory.open", rooms));
    note.textContent = text && found && !list.childElementCount ? t("directory.none") : "";
  }
  searchWhileTyping(input, search, show, (failure) => (note.textContent = reason(failure)));
  input.addEventListener("input", () => show(null));
  dialog.addEventListener("keydown", (event) => {
    if (event.isComposing || event.keyCode === 229) return; // the Enter that ends a conversion chooses nothing
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    const places = [input, ...list.querySelectorAll("button")];
    if (step) {
      event.preventDefault();
      places[Math.min(Math.max(places.indexOf(document.activeElement) + step, 0), places.length - 1)].focus();
    } else if (event.key === "Enter" && document.activeElement === input) {
      event.preventDefault();
      places[1]?.click();
    } else if (event.key === "Escape") {
      dialog.close(); // a search box takes the first Escape to empty itself
    }
  });
  show(null);
  input.focus();
}
