// One's own account: profile, password, sessions, and how the page looks.

import { open, reason } from "./dialogs.js";
import { h } from "./dom.js";
import { currentLanguage, fullTime, LANGUAGES, t } from "./strings.js";
import { chosenTheme, setTheme, THEMES } from "./theme.js";

export async function accountSettings(app) {
  const { falcon, me } = app.chat;
  const body = h("div", { class: "body settings" }, profile(app), me.role === "bot" ? "" : password(app), sessions(falcon), looks(app));
  open(t("account.settings"), body).classList.add("large");
}

/** A part of the page that sends by itself and says how it went. */
export function part(title, fields, label, send) {
  const note = h("p", { role: "status" });
  const button = label ? h("button", { type: "submit", class: "primary" }, label) : "";
  const submit = async (event) => {
    event.preventDefault();
    button.disabled = true;
    note.className = "quiet";
    note.textContent = "";
    try {
      note.textContent = (await send()) ?? t("account.saved");
    } catch (failure) {
      note.className = "error";
      note.textContent = reason(failure);
    }
    button.disabled = false;
  };
  return h("form", { class: "part", on: { submit } }, h("h3", {}, title), fields, h("div", { class: "buttons" }, note, button));
}

export const labelled = (id, label, input, hint = null) => [h("label", { for: id }, label), Object.assign(input, { id }), hint ? h("small", { class: "quiet" }, hint) : null];

function profile(app) {
  const { falcon, me } = app.chat;
  const name = h("input", { value: me.name, required: true, maxlength: 255, autocomplete: "name" });
  const handle = h("input", { value: me.handle ?? "", maxlength: 32, pattern: "[a-z0-9._\\-]{1,32}", autocapitalize: "off", spellcheck: "false", title: t("signin.handle.hint") });
  const title = h("input", { value: me.title, maxlength: 100 });
  const about = h("textarea", { value: me.about, maxlength: 500, rows: 3 });
  const fields = [
    labelled("my-name", t("signin.name"), name),
    labelled("my-handle", t("signin.handle"), handle, t("signin.handle.hint")),
    labelled("my-title", t("profile.about.title"), title),
    labelled("my-about", t("profile.about"), about),
  ];
  return part(t("profile.own"), fields, t("settings.save"), async () => {
    const changed = await falcon.changeMe({ name: name.value.trim(), handle: handle.value.trim() || null, title: title.value.trim(), about: about.value.trim() });
    app.meChanged(changed);
  });
}

function password(app) {
  const current = h("input", { type: "password", autocomplete: "current-password", maxlength: 256 });
  const next = h("input", { type: "password", autocomplete: "new-password", minlength: 10, maxlength: 256, required: true });
  const fields = [labelled("my-current", t("password.current"), current, t("password.current.hint")), labelled("my-next", t("signin.password.new"), next)];
  return part(t("password.title"), fields, t("password.change"), async () => {
    await app.falcon.setPassword(next.value, { current: current.value || undefined });
    current.value = next.value = "";
    return t("password.changed");
  });
}

function sessions(falcon) {
  const list = h("ul", { class: "sessions" });
  const note = h("p", { role: "status", class: "quiet" });
  async function load() {
    try {
      const found = await falcon.sessions();
      list.replaceChildren(
        ...found.map((session) =>
          h(
            "li",
            {},
            h("span", { class: "who" }, h("span", { class: "name" }, deviceOf(session.user_agent)), h("small", { class: "quiet" }, `${session.address} · ${fullTime(session.created_at)}`)),
            session.current ? h("small", { class: "online" }, t("sessions.this")) : h("button", { type: "button", on: { click: () => void end(session) } }, t("sessions.end")),
          ),
        ),
      );
      note.textContent = found.length ? "" : t("sessions.none");
    } catch (failure) {
      note.textContent = reason(failure);
    }
  }
  async function end(session) {
    try {
      await falcon.endSession(session.session_id);
    } catch (failure) {
      note.textContent = reason(failure);
    }
    await load();
  }
  async function endOthers() {
    try {
      await falcon.endOtherSessions();
    } catch (failure) {
      note.textContent = reason(failure);
    }
    await load();
  }
  void load();
  return h("div", { class: "part" }, h("h3", {}, t("sessions.title")), list, note, h("div", { class: "buttons" }, h("button", { type: "button", on: { click: () => void endOthers() } }, t("sessions.end.others"))));
}

/** Browser and system in a few words, from what the browser says of itself. */
function deviceOf(agent) {
  const browser = /(Edg|OPR|Firefox|Chrome|Safari)\//.exec(agent)?.[1] ?? "";
  const system = /(Windows|Android|iPhone|iPad|Mac OS X|Linux)/.exec(agent)?.[1] ?? "";
  const called = { Edg: "Edge", OPR: "Opera", "Mac OS X": "macOS" };
  return [browser, system].filter(Boolean).map((name) => called[name] ?? name).join(" · ") || agent || t("sessions.unknown");
}

function looks(app) {
  const speak = (event) => {
    event.target.closest("dialog").close();
    app.speak(event.target.value);
  };
  const languages = Object.entries(LANGUAGES).map(([name, title]) => h("option", { value: name, lang: name, selected: name === currentLanguage() }, title));
  const select = h("select", { id: "theme", on: { change: () => setTheme(select.value) } }, THEMES.map((theme) => h("option", { value: theme, selected: theme === chosenTheme() }, t(`theme.${theme}`))));
  return h("div", { class: "part" }, h("h3", {}, t("theme.title")), select, labelled("language", t("account.language"), h("select", { on: { change: speak } }, languages)));
}
