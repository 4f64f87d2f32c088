// The first steps of a newcomer: a name and a handle, a password, and rooms to join. All of it may wait.

import { open, reason } from "./dialogs.js";
import { h, roomAvatar } from "./dom.js";
import { noteWelcomed, wasWelcomed } from "./session.js";
import { labelled } from "./settings.js";
import { t } from "./strings.js";

const ROOMS_MAX = 20; // others are in the directory

/** ``asksPassword``: the account has none, and no provider signs it in. */
export async function welcome(app, { asksPassword }) {
  const { falcon, chat } = app;
  const { me } = chat;
  if (wasWelcomed(me.account_id) && !asksPassword) return;
  const { rooms } = me.role === "guest" ? { rooms: [] } : await falcon.openRooms({ limit: ROOMS_MAX });
  const others = rooms.filter(({ joined }) => !joined);
  if (!others.length && !asksPassword && me.handle !== null) return;

  const name = h("input", { value: me.name, required: true, maxlength: 255, autocomplete: "name" });
  const handle = h("input", { value: me.handle ?? "", maxlength: 32, pattern: "[a-z0-9._\\-]{1,32}", autocomplete: "username", autocapitalize: "off", spellcheck: "false", title: t("signin.handle.hint") });
  const password = h("input", { type: "password", autocomplete: "new-password", minlength: 10, maxlength: 256 });
  // Who has neither a handle nor an e-mail cannot sign in with a password.
  password.addEventListener("input", () => (handle.required = password.value !== "" && !me.email));
  const chosen = new Set();
  const choose = (roomId) => (event) => void (event.target.checked ? chosen.add(roomId) : chosen.delete(roomId));
  const room = (each) =>
    h(
      "li",
      {},
      h(
        "label",
        { class: "row" },
        h("input", { type: "checkbox", on: { change: choose(each.room_id) } }),
        roomAvatar({ roomId: each.room_id, name: each.name, kind: "group" }),
        h("span", { class: "who" }, h("span", { class: "name", dir: "auto" }, each.name), h("small", { class: "quiet", dir: "auto" }, each.description)),
        h("small", { class: "quiet" }, t("room.members.n", { n: each.members })),
      ),
    );

  async function send() {
    if (me.handle === null || asksPassword) app.meChanged(await falcon.changeMe({ name: name.value.trim(), handle: handle.value.trim() || null }));
    for (const roomId of chosen) await falcon.putMember(roomId, me.account_id, "member");
    if (password.value) await falcon.setPassword(password.value); // the last step: another would need the present one
    dialog.close();
    const [first] = chosen;
    if (first !== undefined) app.go(`#/rooms/${first}`);
  }
  const error = h("p", { class: "error", role: "alert" });
  const button = h("button", { type: "submit", class: "primary" }, t("welcome.go"));
  const submit = async (event) => {
    event.preventDefault();
    button.disabled = true;
    error.textContent = "";
    try {
      await send();
    } catch (failure) {
      error.textContent = reason(failure);
    }
    button.disabled = false;
  };
  const form = h(
    "form",
    { class: "body settings", on: { submit } },
    h("p", { class: "quiet" }, t("welcome.text")),
    me.handle === null || asksPassword ? [labelled("welcome-name", t("signin.name"), name), labelled("welcome-handle", t("signin.handle"), handle, t("signin.handle.hint"))] : [],
    asksPassword ? labelled("welcome-password", t("signin.password.new"), password, t("welcome.password.hint")) : [],
    others.length ? [h("h3", {}, t("welcome.rooms")), h("ul", { class: "directory", "aria-label": t("welcome.rooms") }, others.map(room))] : [],
    error,
    h("div", { class: "buttons" }, h("button", { type: "button", on: { click: () => dialog.close() } }, t("welcome.later")), button),
  );
  const dialog = open(t("welcome.title", { name: me.name }), form, () => noteWelcomed(me.account_id));
  (me.handle === null ? handle : form.querySelector("input")).focus();
}
