import { Problem, Unreachable } from "./client/index.js";
import { h, icon, iconButton } from "./dom.js";
import { PeoplePicker } from "./people.js";
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
            error.textContent = reason(failure);
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

function field(id, label, input, hint = null) {
  return [
    h("label", { for: id }, label),
    Object.assign(input, { id }),
    hint ? h("small", { class: "quiet" }, hint) : null,
  ];
}

const check = (input, label) => h("label", { class: "check" }, input, h("span", {}, label));

export function newRoom(chat, opened) {
  const name = h("input", { required: true, maxlength: 255, autocomplete: "off" });
  const description = h("input", { maxlength: 4096, autocomplete: "off" });
  const members = new PeoplePicker(chat, "new-members", { many: true });
  form(
    t("new.title"),
    [
      field("new-name", t("new.name"), name),
      field("new-description", t("new.description"), description),
      h("label", { for: "new-members" }, t("new.members")),
      members.element,
    ],
    t("new.make"),
    async () => {
      const room = await chat.falcon.createRoom(name.value, {
        description: description.value,
        members: members.chosen.map(({ account_id }) => ({ account_id, role: "member" })),
      });
      opened(chat.made(room));
    },
  );
}

export function newDirect(chat, opened) {
  const person = new PeoplePicker(chat, "direct-account");
  form(t("direct.title"), [h("label", { for: "direct-account" }, t("direct.account")), person.element], t("direct.open"), async () => {
    opened(await openDirect(chat, theOne(person).account_id));
  });
}

/** The person who was chosen. Throws a Problem if it is nobody. */
function theOne(picker) {
  const [person] = picker.chosen;
  if (!person) throw new Problem(422, "nobody", "");
  return person;
}

export async function openDirect(chat, accountId) {
  return chat.made(await chat.falcon.directRoom(accountId));
}

export function addMember(chat, room, added) {
  const person = new PeoplePicker(chat, "add-account");
  const role = h(
    "select",
    {},
    ["member", "admin", "readonly"].map((each) => h("option", { value: each }, t(`role.${each}`))),
  );
  form(
    t("members.add"),
    [h("label", { for: "add-account" }, t("members.account")), person.element, field("add-role", t("members.role"), role)],
    t("members.add"),
    async () => {
      const member = await chat.falcon.putMember(room.roomId, theOne(person).account_id, role.value);
      chat.people.set(member.account_id, member.name);
      added(member);
    },
  );
}

/** The settings of a room for its admins: name, description, deletion. */
export function roomSettings(chat, room) {
  const name = h("input", { required: true, maxlength: 255, autocomplete: "off", value: room.name });
  const description = h("textarea", { maxlength: 4096, rows: 3, value: room.description });
  const open = h("input", { type: "checkbox", checked: room.open });
  const newcomers = h("input", { type: "checkbox", checked: room.isDefault });
  const end = h("button", { type: "button", class: "danger", on: { click: () => void deleteRoom(chat, room, dialog) } }, icon("bin"), t("settings.delete"));
  const dialog = form(
    t("settings.title"),
    [field("room-name", t("new.name"), name), field("room-description", t("new.description"), description), check(open, t("settings.open")), chat.me.is_admin ? check(newcomers, t("settings.default")) : null, h("div", { class: "end" }, end)],
    t("settings.save"),
    async () => {
      const changes = { name: name.value, description: description.value, open: open.checked };
      if (chat.me.is_admin && newcomers.checked !== room.isDefault) changes.default = newcomers.checked;
      chat.made(await chat.falcon.changeRoom(room.roomId, changes));
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
