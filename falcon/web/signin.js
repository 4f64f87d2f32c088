import { Problem } from "./client/index.js";
import { connect } from "./connecting.js";
import { h, ICON } from "./dom.js";
import { keepToken } from "./session.js";
import { currentLanguage, LANGUAGES, setLanguage, t } from "./strings.js";

/** The page for signing in. ``offered``: a token that came with the address. ``done(falcon, me)`` is called once its account is known. */
export function signIn(root, { offered = null, note = null, done }) {
  const again = (changes) => signIn(root, { offered, note, done, ...changes });
  const error = h("p", { class: "error", role: "alert" }, note);
  const stay = h("input", { type: "checkbox", id: "stay", "aria-describedby": "stay-hint" });
  const button = h("button", { class: "primary", type: "submit" }, offered ? t("signin.checking") : t("signin.go"));
  const token = h("input", {
    id: "token",
    type: "password",
    autocomplete: "current-password",
    spellcheck: "false",
    autocapitalize: "off",
    required: true,
    "aria-describedby": "token-intro",
  });

  async function submit(event) {
    event.preventDefault();
    const value = (offered ?? token.value).trim();
    button.disabled = true;
    error.textContent = "";
    try {
      if (!/^[\w-]+$/.test(value)) throw new Problem(401, "unauthenticated", ""); // a header cannot have such a value
      const falcon = connect(value);
      const me = await falcon.me();
      keepToken(value, stay.checked);
      done(falcon, me);
    } catch (failure) {
      button.disabled = false;
      error.textContent = t(failure instanceof Problem && failure.status === 401 ? "signin.wrong" : "signin.unreachable");
      token.focus();
    }
  }

  const language = h(
    "select",
    {
      "aria-label": t("account.language"),
      on: {
        change: (event) => {
          setLanguage(event.target.value, true);
          again({ note: null });
        },
      },
    },
    Object.entries(LANGUAGES).map(([name, title]) =>
      h("option", { value: name, lang: name, selected: name === currentLanguage() }, title),
    ),
  );

  const form = h(
    "form",
    { class: "card", on: { submit } },
    h("img", { src: ICON, alt: "", width: "56", height: "56" }),
    h("h1", {}, t("app.name")),
    h("p", { id: "token-intro", class: "quiet" }, t(offered ? "signin.as.intro" : "signin.intro")),
    offered ? null : [h("label", { for: "token" }, t("signin.token")), token],
    h("label", { class: "check" }, stay, h("span", {}, t("signin.stay"), h("small", { id: "stay-hint" }, t("signin.stay.hint")))),
    error,
    button,
    offered ? h("button", { type: "button", on: { click: () => again({ offered: null }) } }, t("signin.other")) : null,
  );
  root.replaceChildren(
    h("main", { class: "signin" }, form, h("p", { class: "below" }, language, h("a", { href: "/docs" }, t("signin.docs")))),
  );
  document.title = `${t("signin.title")} — ${t("app.name")}`;

  if (!offered) {
    token.focus();
    return;
  }
  button.disabled = true;
  connect(offered).me().then(
    (me) => {
      button.textContent = t("signin.as", { name: me.name });
      button.disabled = false;
      button.focus();
    },
    (failure) => {
      const wrong = failure instanceof Problem && failure.status === 401;
      again({ offered: wrong ? null : offered, note: t(wrong ? "signin.wrong" : "signin.unreachable") });
    },
  );
}
