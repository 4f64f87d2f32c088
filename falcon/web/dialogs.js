import { Problem, Unreachable } from "./client/index.js";
import { h, icon, iconButton } from "./dom.js";
import { has, t } from "./strings.js";

/** The reason of a failure, for people. */
export function reason(failure) {
  const error = failure instanceof Unreachable ? failure.last : failure;
  if (!(error instanceof Problem)) return t("error.unreachable");
  if (error.code === "invalid" && error.errors.length) return error.errors.map(brokenRule).join(" ");
  if (has(`error.${error.code}`)) return t(`error.${error.code}`);
  return t(error.status >= 500 ? "error.unavailable" : "error.unexpected", { code: error.code });
}

// Rules that a person can break here. Others are shown as the server says them.
const RULES = [
  [/^must not be empty$/, "rule.empty"],
  [/^must have (?:at most|1 to) (?<n>[\d,]+) characters$/, "rule.longest"],
  [/^must have no control characters/, "rule.controls"],
  [/^must have a character that can be seen$/, "rule.invisible"],
];
const TOO_MANY_EMOJI = /^a message has at most (?<n>[\d,]+) different emoji$/;

/** A sentence with the field and the rule that it breaks. */
function brokenRule({ field, rule }) {
  const many = TOO_MANY_EMOJI.exec(rule);
  if (many) return t("rule.emoji", many.groups);
  const name = `field.${field.split(/[.[]/)[0]}`;
  const [pattern, text] = RULES.find(([each]) => each.test(rule)) ?? [];
  const shown = pattern ? t(text, pattern.exec(rule).groups) : rule;
  return t("error.field", { field: has(name) ? t(name) : field, rule: shown });
}

let opened = 0;

/** A dialog with a title, which is closed by its button, by Escape and by a click beside it. */
export function open(title, content, onClose = () => {}) {
  const id = `dialog-title-${++opened}`; // a question may stand above a form
  const dialog = h("dialog", { "aria-labelledby": id });
  dialog.append(
    h("header", {}, h("h2", { id }, title), iconButton("close", t("cancel"), () => dialog.close())),
    content,
  );
  dialog.addEventListener("close", () => {
    dialog.remove();
    onClose();
  });
  dialog.addEventListener("click", (event) => {
    if (event.target === dialog) dialog.close(); // beside it
  });
  document.body.append(dialog);
  dialog.showModal();
  return dialog;
}

/** Asks, and returns the value of the pressed button, or null. ``choices``: [value, text, class]. */
export function ask(title, text, choices) {
  return new Promise((answer) => {
    let value = null;
    const choose = (chosen) => () => {
      value = chosen;
      dialog.close();
    };
    const buttons = [
      h("button", { type: "button", on: { click: choose(null) } }, t("cancel")),
      ...choices.map(([chosen, label, kind]) => h("button", { type: "button", class: kind, on: { click: choose(chosen) } }, label)),
    ];
    const dialog = open(title, h("div", { class: "body" }, text ? h("p", {}, text) : null, h("div", { class: "buttons" }, buttons)), () =>
      answer(value),
    );
    buttons.at(-1).focus();
  });
}

/** A form that stays open and shows the error until ``send(values)`` succeeds. */
function form(title, fields, label, send) {
  const error = h("p", { class: "error", role: "alert" });
  const submit = h("button", { type: "submit", class: "primary" }, label);
  const content = h(
    "form",
    {
      class: "body",
      on: {
        submit: async (event) => {
          event.preventDefault();
          submit.disabled = true;
          error.textContent = "";
          try {
            await send();
            dialog.close();
          } catch (failure) {
            error.textContent = failure instanceof Nameless ? failure.message : reason(failure);
          }
          submit.disabled = false;
        },
      },
    },
    fields,
    error,
    h("div", { class: "buttons" }, h("button", { type: "button", on: { click: () => dialog.close() } }, t("cancel")), submit),
  );
  const dialog = open(title, content);
  content.querySelector("input")?.focus();
  return dialog;
}

class Nameless extends Error {}

/** Account ids from numbers and known names, separated by commas. Throws Nameless. */
function ids(chat, text) {
  const parts = text.split(/[,、，]/).map((part) => part.trim()).filter(Boolean);
  return [...new Set(parts.map((part) => idOf(chat, part)))];
}

function idOf(chat, part) {
  const number = /^#?([1-9]\d{0,15})$/.exec(part);
  if (number) return Number(number[1]);
  const called = [...chat.people].filter(([, name]) => name.toLocaleLowerCase() === part.toLocaleLowerCase());
  if (called.length === 1) return called[0][0];
  const numbers = called.map(([accountId]) => accountId).join(", ");
  throw new Nameless(called.length ? t("error.ambiguous", { name: part, ids: numbers }) : t("error.nameless", { name: part }));
}

function field(id, label, input, hint = null) {
  return [
    h("label", { for: id }, label),
    Object.assign(input, { id }),
    hint ? h("small", { class: "quiet" }, hint) : null,
  ];
}

/** An input for the number or name of an account, which suggests known people. */
export function accountInput(chat, id) {
  const list = h(
    "datalist",
    { id: `${id}-known` },
    [...chat.people]
      .filter(([accountId]) => accountId !== chat.me.account_id)
      .map(([accountId, name]) => h("option", { value: accountId, label: name })),
  );
  const input = h("input", { list: list.id, autocomplete: "off", required: true });
  return { input, list };
}

export function newRoom(chat, opened) {
  const name = h("input", { required: true, maxlength: 255, autocomplete: "off" });
  const description = h("input", { maxlength: 4096, autocomplete: "off" });
  const members = h("input", { autocomplete: "off", inputmode: "text" });
  form(
    t("new.title"),
    [
      field("new-name", t("new.name"), name),
      field("new-description", t("new.description"), description),
      field("new-members", t("new.members"), members, t("new.members.hint")),
    ],
    t("new.make"),
    async () => {
      const invited = ids(chat, members.value).filter((each) => each !== chat.me.account_id);
      const room = await chat.falcon.createRoom(name.value, {
        description: description.value,
        members: invited.map((accountId) => ({ account_id: accountId, role: "member" })),
      });
      opened(chat.made(room));
    },
  );
}

export function newDirect(chat, opened) {
  const { input, list } = accountInput(chat, "direct-account");
  form(t("direct.title"), [field("direct-account", t("direct.account"), input), list], t("direct.open"), async () => {
    const [accountId] = ids(chat, input.value);
    opened(await openDirect(chat, accountId));
  });
}

export async function openDirect(chat, accountId) {
  return chat.made(await chat.falcon.directRoom(accountId));
}

export function addMember(chat, room, added) {
  const { input, list } = accountInput(chat, "add-account");
  const role = h(
    "select",
    {},
    ["member", "admin", "readonly"].map((each) => h("option", { value: each }, t(`role.${each}`))),
  );
  form(
    t("members.add"),
    [field("add-account", t("members.account"), input), list, field("add-role", t("members.role"), role)],
    t("members.add"),
    async () => {
      const [accountId] = ids(chat, input.value);
      const member = await chat.falcon.putMember(room.roomId, accountId, role.value);
      chat.people.set(member.account_id, member.name);
      added(member);
    },
  );
}

/** The settings of a room for its admins: name, description, deletion. */
export function roomSettings(chat, room) {
  const name = h("input", { required: true, maxlength: 255, autocomplete: "off", value: room.name });
  const description = h("textarea", { maxlength: 4096, rows: 3, value: room.description });
  const end = h("button", { type: "button", class: "danger", on: { click: () => void deleteRoom(chat, room, dialog) } }, icon("bin"), t("settings.delete"));
  const dialog = form(
    t("settings.title"),
    [field("room-name", t("new.name"), name), field("room-description", t("new.description"), description), h("div", { class: "end" }, end)],
    t("settings.save"),
    async () => {
      chat.made(await chat.falcon.changeRoom(room.roomId, { name: name.value, description: description.value }));
    },
  );
}

async function deleteRoom(chat, room, dialog) {
  const sure = await ask(t("settings.delete.ask", { room: room.name }), t("settings.delete.text"), [[true, t("settings.delete"), "danger"]]);
  if (!sure) return;
  const error = dialog.querySelector(".error");
  try {
    await chat.falcon.deleteRoom(room.roomId);
    dialog.close();
  } catch (failure) {
    error.textContent = reason(failure);
  }
}
