// The administrators' page of people, invitations and open rooms.

import { ask, open, reason } from "./dialogs.js";
import { h } from "./dom.js";
import { person, searchWhileTyping } from "./people.js";
import { labelled, part } from "./settings.js";
import { fullTime, t } from "./strings.js";

const PAGE = 50;
const ROLES = ["owner", "admin", "member", "guest"];
const RANK = { owner: 4, admin: 3, member: 2, bot: 2, guest: 1 };

export function managePeople(app) {
  const dialog = open(t("admin.title"), h("div", { class: "body settings" }, invite(app), people(app), rooms(app)));
  dialog.classList.add("large");
}

function invite(app) {
  const { falcon } = app;
  const role = roleSelect(app.chat.me.role, "member");
  const email = h("input", { type: "email", maxlength: 320 });
  const mine = app.chat.sorted().filter((room) => room.kind === "group" && room.role === "admin");
  const rooms = h("select", { multiple: true, size: Math.min(mine.length, 4) }, mine.map((room) => h("option", { value: room.roomId }, room.name)));
  const uses = h("input", { type: "number", min: 1, max: 1000, value: 1, required: true });
  const made = h("p", { class: "made", role: "status" });
  const list = h("ul", { class: "sessions" });
  const fields = [
    labelled("invite-role", t("members.role"), role),
    labelled("invite-email", t("signin.email"), email, t("admin.invite.email.hint")),
    mine.length ? labelled("invite-rooms", t("admin.invite.rooms"), rooms, t("admin.invite.rooms.hint")) : [],
    labelled("invite-uses", t("admin.invite.uses"), uses),
  ];
  const form = part(t("admin.invite"), fields, t("admin.invite.make"), async () => {
    const invitation = await falcon.createInvitation({ role: role.value, email: email.value.trim() || undefined, rooms: [...rooms.selectedOptions].map(({ value }) => Number(value)), uses: Number(uses.value) });
    made.replaceChildren(shownOnce(invitation.url));
    await load();
    return invitation.mailed ? t("admin.mailed", { email: email.value.trim() }) : t("admin.invite.made");
  });
  async function load() {
    try {
      const { invitations } = await falcon.invitations();
      list.replaceChildren(
        ...invitations.map((each) =>
          h(
            "li",
            {},
            h("span", { class: "who" }, h("span", { class: "name" }, t(`account.role.${each.role}`)), h("small", { class: "quiet" }, t("admin.invite.left", { n: each.uses_left, until: fullTime(each.expires_at) }))),
            h("button", { type: "button", class: "danger", on: { click: async () => { await attempt(app, () => falcon.deleteInvitation(each.invitation_id)); await load(); } } }, t("admin.invite.end")),
          ),
        ),
      );
    } catch (failure) {
      app.toast(reason(failure));
    }
  }
  void load();
  form.append(made, list);
  return form;
}

/** A link that is shown this once, to copy. */
function shownOnce(url) {
  const input = h("input", { readonly: true, value: url, "aria-label": t("admin.link") });
  return h("span", { class: "once" }, input, h("button", { type: "button", on: { click: () => void navigator.clipboard?.writeText(url).then(() => input.select(), () => input.select()) } }, t("message.link")));
}

function people(app) {
  const { falcon } = app;
  const find = h("input", { type: "search", class: "wide", autocomplete: "off", "aria-label": t("admin.find"), placeholder: t("admin.find") });
  const list = h("ul", { class: "sessions people" });
  const more = h("button", { type: "button", hidden: true, on: { click: () => void load() } }, t("admin.more"));
  let cursor;
  async function load() {
    await attempt(app, async () => {
      const page = await falcon.accounts({ limit: PAGE, cursor });
      list.append(...page.accounts.map((account) => row(app, account)));
      cursor = page.next_cursor ?? undefined;
      more.hidden = !cursor;
    });
  }
  function show(found) {
    list.replaceChildren(...(found ?? []).map((account) => row(app, account)));
    more.hidden = true;
    cursor = undefined;
    if (!found) void load();
  }
  searchWhileTyping(find, (q) => falcon.searchAccounts(q, { limit: 20 }), show, (failure) => app.toast(reason(failure)));
  void load();
  return h("div", { class: "part" }, h("h3", {}, t("admin.people")), find, list, more);
}

/** The open rooms, by name. Administrators say which of them newcomers join, also in rooms that they are not in. */
function rooms(app) {
  const { falcon } = app;
  const list = h("ul", { class: "sessions rooms-of-all" });
  const more = h("button", { type: "button", hidden: true, on: { click: () => void load() } }, t("admin.more"));
  let cursor;
  const item = ({ room_id, name, members }, isDefault) => {
    const newcomers = h("input", { type: "checkbox", checked: isDefault });
    newcomers.addEventListener("change", () => attempt(app, () => falcon.changeRoom(room_id, { default: newcomers.checked })));
    return h(
      "li",
      {},
      h("span", { class: "who" }, h("span", { class: "name", dir: "auto" }, name), h("small", { class: "quiet" }, t("room.members.n", { n: members }))),
      h("label", {}, newcomers, ` ${t("settings.default")}`),
    );
  };
  async function load() {
    await attempt(app, async () => {
      const page = await falcon.openRooms({ limit: PAGE, cursor });
      const found = await Promise.all(page.rooms.map(({ room_id }) => falcon.room(room_id)));
      list.append(...page.rooms.map((room, n) => item(room, found[n].default)));
      cursor = page.next_cursor ?? undefined;
      more.hidden = !cursor;
    });
  }
  void load();
  return h("div", { class: "part" }, h("h3", {}, t("admin.rooms")), list, more);
}

function row(app, account) {
  const { falcon, chat } = app;
  const item = h("li");
  const isMe = account.account_id === chat.me.account_id;
  const mayChange = !isMe && RANK[account.role] <= RANK[chat.me.role];
  const change = (changes) =>
    attempt(app, async () => {
      account = await falcon.changeAccount(account.account_id, changes);
    }).then(render);
  async function link() {
    await attempt(app, async () => {
      const made = await falcon.createSignInLink(account.account_id, { mail: Boolean(account.email) });
      const mailed = made.mailed ? h("span", { role: "status" }, t("admin.mailed", { email: account.email })) : "";
      item.append(h("p", { class: "made" }, mailed, t("admin.link.once", { until: fullTime(made.expires_at) }), shownOnce(made.url)));
    });
  }
  async function deactivate() {
    if (await ask(t("admin.deactivate.ask", { name: account.name }), t("admin.deactivate.text"), [[true, t("admin.deactivate"), "danger"]])) await change({ deactivated: true });
  }
  async function signOut() {
    if (await ask(t("admin.out.ask", { name: account.name }), t("admin.out.text"), [[true, t("admin.out"), "danger"]])) await attempt(app, () => falcon.signOutEverywhere(account.account_id));
  }
  function render() {
    const role = account.role === "bot" || !mayChange ? h("small", { class: "quiet" }, t(`account.role.${account.role}`)) : roleSelect(chat.me.role, account.role, t("members.role.of", { name: account.name }));
    role.addEventListener("change", () => void change({ role: role.value }));
    const acts = !mayChange
      ? []
      : account.deactivated
        ? [h("button", { type: "button", on: { click: () => void change({ deactivated: false }) } }, t("admin.activate"))]
        : [
            h("button", { type: "button", on: { click: () => void link() } }, t("admin.link.make")),
            h("button", { type: "button", on: { click: () => void signOut() } }, t("admin.out")),
            h("button", { type: "button", class: "danger", on: { click: () => void deactivate() } }, t("admin.deactivate")),
          ];
    item.className = account.deactivated ? "deactivated" : "";
    item.replaceChildren(...person(account, account.deactivated ? h("small", { class: "quiet" }, t("profile.deactivated")) : role), h("span", { class: "acts" }, acts));
  }
  render();
  return item;
}

function roleSelect(own, chosen, label = null) {
  const roles = ROLES.filter((role) => RANK[role] <= RANK[own]);
  return h("select", { "aria-label": label }, roles.map((role) => h("option", { value: role, selected: role === chosen }, t(`account.role.${role}`))));
}

/** Does it, and says what went wrong. */
async function attempt(app, work) {
  try {
    await work();
  } catch (failure) {
    app.toast(reason(failure));
  }
}
