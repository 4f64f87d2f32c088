// People by name and handle: finding them, choosing them, and their cards.

import { open, openDirect, reason } from "./dialogs.js";
import { avatar, h, icon } from "./dom.js";
import { withLinks } from "./richtext.js";
import { t } from "./strings.js";

const PAUSE_MS = 150; // between the last letter and the search
const FOUND_MAX = 8;

/** A person in a list: avatar, name and handle. */
export function person({ name, handle }, ...more) {
  return [avatar(name), h("span", { class: "who" }, h("span", { class: "name", dir: "auto" }, name), handle ? h("small", { class: "quiet" }, `@${handle}`) : null), ...more];
}

/** Calls ``found(result)`` with what ``search(text)`` gives for the text of the input, and never for an older text. */
export function searchWhileTyping(input, search, found, failed) {
  let timer = null;
  let asked = 0;
  const look = async () => {
    const mine = ++asked;
    const text = input.value.trim();
    try {
      const result = text ? await search(text) : null;
      if (mine === asked) found(result);
    } catch (failure) {
      if (mine === asked) failed(failure);
    }
  };
  input.addEventListener("input", () => {
    clearTimeout(timer);
    timer = setTimeout(look, PAUSE_MS);
  });
  return look;
}

/** An input that finds people while one types. ``chosen``: the accounts, in the order in which they were chosen. */
export class PeoplePicker {
  chosen = [];
  #chat;
  #many;
  #found = [];
  #at = -1;
  #chips = h("span", { class: "chips" });
  #list;

  constructor(chat, id, { many = false, roomId = undefined } = {}) {
    this.#chat = chat;
    this.#many = many;
    this.#list = h("ul", { class: "found", role: "listbox", id: `${id}-found`, hidden: true, "aria-label": t("people.found") });
    this.input = h("input", { id, type: "text", autocomplete: "off", autocapitalize: "off", spellcheck: "false", role: "combobox", "aria-expanded": "false", "aria-controls": this.#list.id, "aria-autocomplete": "list" });
    this.element = h("div", { class: "picker-of-people" }, this.#chips, this.input, this.#list);
    const search = (q) => chat.falcon.searchAccounts(q, { room: roomId, limit: FOUND_MAX });
    searchWhileTyping(this.input, search, (found) => this.#show(found), (failure) => this.#say(reason(failure)));
    this.input.addEventListener("keydown", (event) => this.#key(event));
  }

  #show(accounts) {
    const others = (accounts ?? []).filter(({ account_id }) => account_id !== this.#chat.me.account_id && !this.chosen.some((each) => each.account_id === account_id));
    this.#found = others;
    this.#at = others.length ? 0 : -1;
    if (accounts && !others.length) return void this.#say(t("people.none"));
    this.#list.replaceChildren(
      ...others.map((account, n) =>
        h("li", { role: "option", id: `${this.input.id}-${n}`, "aria-selected": String(n === this.#at), on: { mousedown: (event) => { event.preventDefault(); this.#choose(account); } } }, person(account)),
      ),
    );
    this.#opened(others.length > 0);
  }

  #say(text) {
    this.#list.replaceChildren(h("li", { class: "quiet", role: "presentation" }, text));
    this.#opened(true);
  }

  #opened(shown) {
    this.#list.hidden = !shown;
    this.input.setAttribute("aria-expanded", String(shown));
    if (shown && this.#at >= 0) this.input.setAttribute("aria-activedescendant", `${this.input.id}-${this.#at}`);
    else this.input.removeAttribute("aria-activedescendant");
  }

  #key(event) {
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (step && this.#found.length) {
      event.preventDefault();
      this.#at = (this.#at + step + this.#found.length) % this.#found.length;
      [...this.#list.children].forEach((item, n) => item.setAttribute("aria-selected", String(n === this.#at)));
      this.#opened(true);
    } else if (event.key === "Enter" && !this.#list.hidden && this.#at >= 0) {
      event.preventDefault();
      this.#choose(this.#found[this.#at]);
    } else if (event.key === "Escape" && !this.#list.hidden) {
      event.preventDefault();
      event.stopPropagation();
      this.#opened(false);
    } else if (event.key === "Backspace" && !this.input.value && this.chosen.length) {
      this.chosen.pop();
      this.#showChosen();
    }
  }

  #choose(account) {
    this.chosen = this.#many ? [...this.chosen, account] : [account];
    this.#chat.people.set(account.account_id, account.name);
    this.input.value = "";
    this.#show(null);
    this.#showChosen();
    this.input.focus();
  }

  #showChosen() {
    const drop = (account) => () => {
      this.chosen = this.chosen.filter((each) => each !== account);
      this.#showChosen();
      this.input.focus();
    };
    this.#chips.replaceChildren(
      ...this.chosen.map((account) =>
        h("button", { type: "button", class: "chip", "aria-label": t("people.drop", { name: account.name }), on: { click: drop(account) } }, h("span", { dir: "auto" }, account.name), " ×"),
      ),
    );
  }
}

/** The card of an account: who it is, and a way to talk. */
export async function profileCard(app, accountId) {
  const { chat } = app;
  const body = h("div", { class: "body profile" }, h("p", { class: "quiet", role: "status" }, t("signin.checking")));
  const dialog = open(t("profile.title"), body);
  try {
    const account = await chat.falcon.account(accountId);
    const talk = async () => {
      try {
        const room = await openDirect(chat, accountId);
        dialog.close();
        app.go(`#/rooms/${room.roomId}`);
      } catch (failure) {
        app.toast(reason(failure));
      }
    };
    body.replaceChildren(
      h("div", { class: "head" }, person(account)),
      account.title ? h("p", { dir: "auto" }, account.title) : "",
      account.about ? h("p", { class: "about", dir: "auto" }, withLinks(account.about)) : "",
      h("p", { class: "quiet" }, [account.deactivated ? t("profile.deactivated") : t(`account.role.${account.role}`), account.email].filter(Boolean).join(" · ")),
      account.account_id === chat.me.account_id || account.deactivated
        ? ""
        : h("div", { class: "buttons" }, h("button", { type: "button", class: "primary", on: { click: () => void talk() } }, icon("chat"), t("direct.with", { name: account.name }))),
    );
  } catch (failure) {
    body.replaceChildren(h("p", { class: "error", role: "alert" }, reason(failure)));
  }
}
