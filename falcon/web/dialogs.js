import { Problem } from "./api.js";
import { h, iconButton } from "./dom.js";
import { has, t } from "./strings.js";

/** What went wrong, for people. */
export function reason(error) {
  if (!(error instanceof Problem)) return t("error.unreachable");
  if (has(`error.${error.code}`)) return t(`error.${error.code}`);
  return error.detail || error.message;
}

function open(title, content, onClose = () => {}) {
  const dialog = h("dialog", { "aria-labelledby": "dialog-title" });
  dialog.append(
    h("header", {}, h("h2", { id: "dialog-title" }, title), iconButton("close", t("cancel"), () => dialog.close())),
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

/** Asks; gives the value of the button that was pressed, or null. ``choices``: [value, text, class]. */
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

/** A form that stays open, with its error, until ``send(values)`` has succeeded. */
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
            error.textContent = failure instanceof WrongIds ? t("error.ids") : reason(failure);
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
}

class WrongIds extends Error {}

function ids(text) {
  const parts = text.split(/[\s,、，]+/).filter(Boolean).map((part) => part.replace(/^#/, ""));
  if (parts.some((part) => !/^[1-9]\d{0,15}$/.test(part))) throw new WrongIds();
  return [...new Set(parts.map(Number))];
}

function field(id, label, input, hint = null) {
  return [
    h("label", { for: id }, label),
    Object.assign(input, { id }),
    hint ? h("small", { class: "quiet" }, hint) : null,
  ];
}

/** An input for an account's number, which offers those that are known. */
export function accountInput(chat, id) {
  const list = h(
    "datalist",
    { id: `${id}-known` },
    [...chat.people]
      .filter(([accountId]) => accountId !== chat.me.account_id)
      .map(([accountId, name]) => h("option", { value: accountId, label: name })),
  );
  const input = h("input", { list: list.id, inputmode: "numeric", autocomplete: "off", required: true });
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
      const invited = ids(members.value).filter((each) => each !== chat.me.account_id);
      const room = await chat.api.command("POST", "/v1/rooms", {
        name: name.value,
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
    const [accountId] = ids(input.value);
    opened(await openDirect(chat, accountId));
  });
}

export async function openDirect(chat, accountId) {
  return chat.made(await chat.api.command("PUT", `/v1/direct/${accountId}`));
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
      const [accountId] = ids(input.value);
      const member = await chat.api.command("PUT", room.path(`/members/${accountId}`), { role: role.value });
      chat.people.set(member.account_id, member.name);
      added(member);
    },
  );
}
