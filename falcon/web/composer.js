// The composer: writes messages, replies and edits, and completes names and emoji.

import { reason } from "./dialogs.js";
import { avatar, h, icon, iconButton } from "./dom.js";
import { emojiWord, findEmoji } from "./emoji.js";
import { insertCode, markLines, pastedCode, surround } from "./marking.js";
import { mentionsIn } from "./richtext.js";
import { t } from "./strings.js";

const BYTES_MAX = 65_535;
const SHOWN_MAX = 8;
const ALL = "all"; // mentions every member
const MENTIONS_MAX = 500; // that a message may have
const KEYS = { b: "**", i: "_" }; // with Ctrl or ⌘
const TOOLS = [
  ["bold", (area) => surround(area, "**")],
  ["italic", (area) => surround(area, "_")],
  ["strike", (area) => surround(area, "~~")],
  ["code", (area) => surround(area, "`")],
  ["block", (area) => insertCode(area)],
  ["quote", (area) => markLines(area, () => "> ")],
  ["list", (area) => markLines(area, () => "- ")],
  ["numbers", (area) => markLines(area, (n) => `${n}. `)],
];

export class Composer {
  #app;
  #room;
  #text;
  #about = h("div", { class: "about", hidden: true });
  #error = h("p", { class: "error", role: "alert", hidden: true });
  #list = h("ul", { class: "names", role: "listbox", id: "names", hidden: true });
  #send;
  #tools;
  #replyTo = null;
  #editing = null;
  #draft = "";
  #chosen = new Set();
  #found = [];
  #offered = null;
  #at = 0;

  constructor(app, room) {
    this.#app = app;
    this.#room = room;
    this.#list.setAttribute("aria-label", t("compose.mention"));
    this.#text = h("textarea", {
      id: "composer",
      rows: "1",
      placeholder: t("compose.hint", { room: room.name }),
      "aria-label": t("compose.label", { room: room.name }),
      "aria-describedby": "composer-keys",
      "aria-autocomplete": "list",
      "aria-controls": "names",
      dir: "auto",
      enterkeyhint: "send",
      on: {
        input: () => this.#typed(),
        keydown: (event) => this.#key(event),
        click: () => this.#complete(),
        paste: (event) => this.#paste(event),
        blur: () => setTimeout(() => this.#hideNames(), 150),
      },
    });
    this.#send = h("button", { type: "submit", class: "send", "aria-label": t("compose.send"), title: t("compose.send") }, icon("send"));
    this.#tools = TOOLS.map(([name, use]) => iconButton(name, t(`compose.${name}`), () => use(this.#text)));
    this.element = h(
      "form",
      {
        class: "composer",
        on: {
          submit: (event) => {
            event.preventDefault();
            void this.#submit();
          },
        },
      },
      this.#list,
      this.#about,
      this.#error,
      h(
        "div",
        { class: "box" },
        h("div", { class: "row" }, this.#text, this.#send),
        // Shown above the text, and reached by the Tab key after it.
        h("div", { class: "tools", role: "toolbar", "aria-label": t("compose.format") }, this.#tools),
      ),
      h("p", { id: "composer-keys", class: "unseen" }, t("compose.keys")),
    );
    this.#text.value = sessionStorage.getItem(this.#draftKey) ?? "";
    this.render();
    requestAnimationFrame(() => this.#grow());
  }

  get #draftKey() {
    return `falcon.draft.${this.#app.chat.me.account_id}.${this.#room.roomId}`;
  }

  render() {
    const readonly = this.#room.role === "readonly";
    this.#text.disabled = readonly;
    this.#send.disabled = readonly;
    for (const tool of this.#tools) tool.disabled = readonly;
    this.#text.placeholder = readonly ? t("compose.readonly") : t("compose.hint", { room: this.#room.name });
    this.#text.setAttribute("aria-label", t("compose.label", { room: this.#room.name }));
    if (this.#offered === this.#room.members) return;
    this.#offered = this.#room.members; // they have come while a name was being written
    if (document.activeElement === this.#text) this.#complete();
  }

  focus() {
    this.#text.focus();
  }

  reply(message) {
    this.#cancel();
    this.#replyTo = message.seq;
    this.#say(t("compose.replying", { name: this.#app.chat.nameOf(message.author_id) }), message.text);
    this.focus();
  }

  edit(message) {
    if (!this.#editing) this.#draft = this.#text.value;
    this.#cancel(false);
    this.#editing = message;
    this.#chosen = new Set(message.mentions);
    this.#say(t("compose.editing"), message.text);
    this.#text.value = message.text;
    this.#label(t("compose.save"));
    this.#grow();
    this.focus();
  }

  #say(title, text) {
    this.#about.replaceChildren(
      h("span", { class: "what" }, h("strong", {}, title), " ", h("span", { dir: "auto" }, text.slice(0, 200))),
      iconButton("close", t("compose.cancel"), () => {
        this.#cancel();
        this.focus();
      }),
    );
    this.#about.hidden = false;
  }

  #label(text) {
    this.#send.setAttribute("aria-label", text);
    this.#send.title = text;
  }

  #cancel(restore = true) {
    if (this.#editing && restore) this.#text.value = this.#draft;
    this.#replyTo = null;
    this.#editing = null;
    this.#chosen = new Set();
    this.#about.hidden = true;
    this.#complain(null);
    this.#label(t("compose.send"));
    this.#grow();
  }

  #complain(text) {
    this.#error.textContent = text ?? "";
    this.#error.hidden = !text;
  }

  #typed() {
    this.#grow();
    this.#complete();
    this.#complain(null);
    if (this.#text.value) this.#app.typing?.mine();
    if (!this.#editing) sessionStorage.setItem(this.#draftKey, this.#text.value);
  }

  #grow() {
    const { style } = this.#text;
    style.height = "auto";
    style.height = `${Math.min(this.#text.scrollHeight + 2, window.innerHeight / 3)}px`;
  }

  #key(event) {
    if (event.isComposing || event.keyCode === 229) return; // the Enter that ends a conversion sends nothing
    if (!this.#list.hidden && this.#namesKey(event)) {
      event.preventDefault();
      event.stopPropagation();
      return;
    }
    const mark = (event.ctrlKey || event.metaKey) && !event.shiftKey && !event.altKey ? KEYS[event.key.toLowerCase()] : undefined;
    if (mark) {
      event.preventDefault();
      return surround(this.#text, mark);
    }
    const touch = matchMedia("(pointer: coarse)").matches;
    if (event.key === "Enter" && !event.shiftKey && !touch) {
      event.preventDefault();
      void this.#submit();
    } else if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) {
      event.preventDefault();
      void this.#submit();
    } else if (event.key === "Escape" && !this.#about.hidden) {
      event.stopPropagation();
      this.#cancel();
    } else if (event.key === "ArrowUp" && !this.#text.value) {
      event.preventDefault();
      this.#app.timeline.editLast();
    }
  }

  #paste(event) {
    const code = pastedCode(this.#text, event.clipboardData);
    if (!code) return;
    event.preventDefault();
    insertCode(this.#text, code.text, code.language);
  }

  async #submit() {
    const text = this.#text.value;
    const bytes = new TextEncoder().encode(text).length;
    if (!text.trim()) return;
    if (bytes > BYTES_MAX) return void this.#complain(t("compose.long", { n: bytes, max: BYTES_MAX }));
    const mentions = this.#mentions(text);
    if (this.#editing) return void (await this.#save(this.#editing, text, mentions));
    this.#app.outbox.add(this.#room, text, this.#replyTo, mentions);
    this.#cancel();
    this.#text.value = "";
    sessionStorage.removeItem(this.#draftKey);
    this.#grow();
    this.#hideNames();
    await this.#app.timeline.toLatest();
  }

  /** The members whom the text mentions; with @all every other member. */
  #mentions(text) {
    const members = [...(this.#room.members?.values() ?? [])];
    const all = this.#mayMentionAll && /(?:^|[\s(（「、。])[@＠]all(?![\p{L}\p{N}])/u.test(text);
    if (all) return members.map(({ account_id }) => account_id).filter((id) => id !== this.#app.chat.me.account_id);
    return mentionsIn(text, members, this.#chosen);
  }

  async #save(message, text, mentions) {
    if (text === message.text) return void this.#cancel();
    this.#send.disabled = true;
    try {
      const saved = await this.#app.chat.falcon.edit(this.#room.roomId, message.seq, text, { mentions });
      this.#app.chat.altered(saved);
      if (this.#editing === message) this.#cancel();
    } catch (error) {
      this.#complain(reason(error));
    }
    this.#send.disabled = false;
  }

  // --- names --------------------------------------------------------------------------------------------------------

  /** The text from an @ to the cursor; null if there is none. */
  #query() {
    const { selectionStart, selectionEnd, value } = this.#text;
    if (selectionStart !== selectionEnd) return null;
    const match = /(?:^|[\s(（「、。])[@＠]([^\s@＠][^@＠\n]{0,40}|)$/u.exec(value.slice(0, selectionStart));
    return match ? { from: selectionStart - match[1].length - 1, text: match[1] } : null;
  }

  #complete() {
    const query = this.#query();
    const word = this.#emojiWord();
    if (!query && word) return void this.#completeEmoji(word);
    const wanted = query && fold(query.text);
    const others = [...(this.#room.members?.values() ?? [])].filter(({ account_id }) => account_id !== this.#app.chat.me.account_id);
    const all = this.#mayMentionAll && "all".startsWith(wanted ?? "-") ? [{ name: ALL }] : [];
    this.#found = !query
      ? []
      : others
          .filter(({ name }) => fold(name).includes(wanted))
          .sort((a, b) => fold(b.name).startsWith(wanted) - fold(a.name).startsWith(wanted) || a.name.localeCompare(b.name))
          .slice(0, SHOWN_MAX)
          .concat(all)
          .map(({ account_id, name }) => ({
            shown: [account_id ? avatar(name) : null, h("span", { dir: "auto" }, name), h("small", { class: "quiet" }, account_id ? `#${account_id}` : t("compose.all", { n: others.length }))],
            use: () => {
              if (account_id) this.#chosen.add(account_id);
              this.#insert(query.from, `@${name} `);
            },
          }));
    this.#at = 0;
    this.#showNames();
  }

  get #mayMentionAll() {
    return this.#room.kind !== "direct" && this.#room.members?.size > 1 && this.#room.members.size <= MENTIONS_MAX;
  }

  #emojiWord() {
    const { selectionStart, selectionEnd, value } = this.#text;
    return selectionStart === selectionEnd ? emojiWord(value.slice(0, selectionStart)) : null;
  }

  async #completeEmoji(word) {
    const found = await findEmoji(word);
    if (this.#emojiWord() !== word) return; // more was typed meanwhile
    this.#found = found.map(([emoji, name]) => ({
      shown: [h("span", {}, emoji), h("span", {}, `:${name}:`)],
      use: () => this.#insert(this.#text.selectionStart - word.length - 1, `${emoji} `),
    }));
    this.#at = 0;
    this.#showNames();
  }

  #insert(from, text) {
    this.#text.setRangeText(text, from, this.#text.selectionStart, "end");
    this.#hideNames();
    this.#typed();
    this.#hideNames();
  }

  #showNames() {
    if (!this.#found.length) return this.#hideNames();
    this.#list.replaceChildren(
      ...this.#found.map(({ shown }, n) =>
        h(
          "li",
          {
            role: "option",
            id: `name-${n}`,
            "aria-selected": n === this.#at ? "true" : "false",
            on: {
              pointerdown: (event) => {
                event.preventDefault(); // or the text would lose its focus
                this.#at = n;
                this.#choose();
              },
            },
          },
          shown,
        ),
      ),
    );
    this.#list.hidden = false;
    this.#text.setAttribute("aria-activedescendant", `name-${this.#at}`);
    return undefined;
  }

  #hideNames() {
    this.#found = [];
    this.#list.hidden = true;
    this.#text.removeAttribute("aria-activedescendant");
  }

  #namesKey(event) {
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (step) {
      this.#at = (this.#at + step + this.#found.length) % this.#found.length;
      this.#showNames();
    } else if (event.key === "Enter" || event.key === "Tab") this.#choose();
    else if (event.key === "Escape") this.#hideNames();
    else return false;
    return true;
  }

  #choose() {
    this.#found[this.#at]?.use();
  }
}

const fold = (text) => text.normalize("NFKC").toLocaleLowerCase();
