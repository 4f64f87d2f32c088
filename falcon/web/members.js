import { addMember, ask, openDirect, reason } from "./dialogs.js";
import { avatar, h, icon, iconButton } from "./dom.js";
import { profileCard } from "./people.js";
import { withLinks } from "./richtext.js";
import { t } from "./strings.js";

/** The panel with the members of the room. */
export class Members {
  #app;
  #room;
  #list = h("ul", { class: "member-list" });
  #about = h("p", { class: "quiet note about-room", dir: "auto" });
  #note = h("p", { class: "quiet note" });
  #add;
  #leave;
  #state = "";

  constructor(app, room) {
    this.#app = app;
    this.#room = room;
    this.#add = h("button", { type: "button", on: { click: () => addMember(app.chat, room, (member) => this.#added(member)) } }, icon("plus"), t("members.add"));
    this.#leave = h("button", { type: "button", class: "danger", on: { click: () => void this.#ask() } }, icon("out"), t("members.leave"));
    this.element = h(
      "aside",
      { class: "members", "aria-label": t("members.title", { room: room.name }), on: { keydown: (event) => event.key === "Escape" && app.showMembers(false) } },
      h("header", {}, h("h2", { tabindex: "-1" }, t("room.members")), iconButton("close", t("members.close"), () => app.showMembers(false))),
      h("div", { class: "scroll" }, this.#about, this.#note, this.#list),
      h("footer", {}, this.#add, this.#leave),
    );
    this.render();
  }

  focus() {
    this.element.querySelector("h2").focus();
  }

  render() {
    const room = this.#room;
    const { me } = this.#app.chat;
    const admin = room.role === "admin" && room.kind === "group";
    const members = [...(room.members?.values() ?? [])].sort((a, b) => a.name.localeCompare(b.name) || a.account_id - b.account_id);
    this.#app.watching.see(members.map(({ account_id }) => account_id));
    const state = JSON.stringify([admin, room.kind, room.description, members.map(({ account_id, name, role }) => [account_id, name, role, this.#app.chat.online.has(account_id)])]);
    if (state === this.#state) return;
    this.#state = state;
    this.#about.replaceChildren(...withLinks(room.description));
    this.#about.hidden = !room.description;
    this.#add.hidden = !admin;
    this.#leave.hidden = room.kind !== "group";
    this.#note.textContent = room.members ? "" : t("members.loading");
    this.#note.hidden = Boolean(room.members);
    this.#list.replaceChildren(
      ...members.map((member) => {
        const mine = member.account_id === me.account_id;
        return h(
          "li",
          { data: { account: member.account_id } },
          avatar(member.name),
          h(
            "span",
            { class: "who" },
            h("button", { type: "button", class: "name", dir: "auto", title: member.name, on: { click: () => void profileCard(this.#app, member.account_id) } }, member.name),
            mine ? h("small", { class: "quiet" }, `(${t("members.you")})`) : null,
            this.#app.chat.online.has(member.account_id) ? h("small", { class: "online" }, t("members.online")) : null,
          ),
          h("small", { class: "quiet id" }, admin && !mine ? this.#roles(member) : t(`role.${member.role}`)),
          mine ? null : iconButton("chat", t("direct.with", { name: member.name }), () => void this.#direct(member)),
          admin && !mine ? iconButton("close", t("members.remove", { name: member.name }), () => void this.#remove(member), { class: "icon-button danger" }) : null,
        );
      }),
    );
  }

  #roles(member) {
    return h(
      "select",
      { "aria-label": t("members.role.of", { name: member.name }), on: { change: (event) => void this.#setRole(member, event.target.value) } },
      ["admin", "member", "readonly"].map((role) => h("option", { value: role, selected: role === member.role }, t(`role.${role}`))),
    );
  }

  async #try(work) {
    try {
      await work();
    } catch (error) {
      this.#state = ""; // what was chosen is not so
      this.render();
      this.#app.toast(reason(error));
    }
  }

  #setRole(member, role) {
    return this.#try(() => this.#app.chat.falcon.putMember(this.#room.roomId, member.account_id, role));
  }

  #direct(member) {
    return this.#try(async () => {
      const room = await openDirect(this.#app.chat, member.account_id);
      this.#app.go(`#/rooms/${room.roomId}`);
    });
  }

  async #remove(member) {
    if (!(await ask(t("members.remove.ask", { name: member.name }), null, [[true, t("members.remove", { name: member.name }), "danger"]]))) return;
    await this.#try(async () => {
      await this.#app.chat.falcon.removeMember(this.#room.roomId, member.account_id);
      this.#room.members?.delete(member.account_id);
      this.render();
      this.focus();
    });
  }

  async #ask() {
    const room = this.#room;
    if (!(await ask(t("members.leave.ask", { room: room.name }), t("members.leave.text"), [[true, t("members.leave"), "danger"]]))) return;
    await this.#try(() => this.#app.chat.falcon.removeMember(room.roomId, this.#app.chat.me.account_id));
  }

  #added(member) {
    this.#room.members?.set(member.account_id, member);
    this.render();
    this.#app.toast(t("members.added", { name: member.name }));
  }
}
