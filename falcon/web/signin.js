import { Problem } from "./client/index.js";
import { connect } from "./connecting.js";
import { reason } from "./dialogs.js";
import { h, ICON } from "./dom.js";
import { isOnThisMachine, keepToken, keptToken, mayHaveSession, noteSession, RETURN_TO } from "./session.js";
import { currentLanguage, LANGUAGES, setLanguage, t } from "./strings.js";

const CODE = /^[\w-]{1,100}$/; // of a link: another text is not sent

/** The page for signing in. ``offer``: what came with the address, see session.js. ``done(falcon, me, newcomer)`` is called
 * once the account is known. */
export async function signIn(root, { offer = null, note = null, done }) {
  const page = new Page(root, note, done);
  if (offer?.kind === "token") await page.offerToken(offer.value);
  else if (offer?.kind === "sign-in") await page.useLink(offer.value);
  else if (offer?.kind === "invitation") await page.acceptInvitation(offer.value);
  else await page.choose();
}

class Page {
  #root;
  #note;
  #done;
  #ways = { password: false, providers: [] };
  #shown = () => this.choose(); // shows the same again in another language

  constructor(root, note, done) {
    this.#root = root;
    this.#note = note;
    this.#done = done;
  }

  // --- ways in ------------------------------------------------------------------------------------------------------

  /** By password, by a provider or by a token, as Falcon offers them. */
  async choose() {
    this.#shown = () => this.choose();
    const failed = new URLSearchParams(location.search);
    if (failed.has("sign_in")) {
      const away = failed.get("sign_in") === "unavailable";
      this.#note ??= away ? t("signin.provider.away", { name: failed.get("provider") ?? "" }) : t("signin.refused");
      history.replaceState(null, "", location.pathname);
    }
    try {
      this.#ways = await connect(null).waysToSignIn({ retry: false });
    } catch {
      // A token is a way in as long as this page can be loaded.
    }
    if (this.#ways.password) this.#askPassword();
    else this.#askToken();
  }

  #askPassword() {
    this.#shown = () => this.#askPassword();
    const login = field("signin.login", { autocomplete: "username", autocapitalize: "off", spellcheck: "false", maxlength: 320 });
    const password = field("signin.password", { type: "password", autocomplete: "current-password", maxlength: 256 });
    this.#card("signin.intro.password", [login, password], {
      label: t("signin.go"),
      send: async () => {
        const falcon = connect(null);
        await falcon.signIn(login.value.trim(), password.value);
        await this.#begin(falcon);
      },
      wrong: t("signin.mistaken"),
      more: [this.#providers(), this.#other("signin.by.token", () => this.#askToken())],
    });
  }

  #askToken() {
    this.#shown = () => this.#askToken();
    const token = field("signin.token", { type: "password", autocomplete: "off", spellcheck: "false", autocapitalize: "off" });
    const stay = this.#stay();
    this.#card("signin.intro", [token], {
      label: t("signin.go"),
      below: [stay.label],
      send: () => this.#byToken(token.value.trim(), stay.input.checked),
      wrong: t("signin.wrong"),
      more: [
        this.#ways.password ? null : this.#providers(),
        this.#ways.password ? this.#other("signin.by.password", () => this.#askPassword()) : null,
      ],
    });
  }

  async offerToken(offered) {
    this.#shown = () => this.offerToken(offered);
    const stay = this.#stay();
    const button = this.#card("signin.as.intro", [], {
      label: t("signin.checking"),
      below: [stay.label],
      send: () => this.#byToken(offered, stay.input.checked),
      wrong: t("signin.wrong"),
      more: [this.#other("signin.other", () => this.choose())],
    });
    button.disabled = true;
    try {
      const me = await connect(offered).me();
      button.textContent = t("signin.as", { name: me.name });
      button.disabled = false;
      button.focus();
    } catch (failure) {
      this.#note = t(failure instanceof Problem && failure.status === 401 ? "signin.wrong" : "signin.unreachable");
      await this.choose();
    }
  }

  /** A link from an administrator lets its account choose a password, if it has one. Else it signs in, and at once if
   * Falcon is on this machine: the link is that of `falcon up`, and no program that looks at mail has opened it. */
  async useLink(code) {
    const link = await this.#opened(code, (falcon) => falcon.signInLink(code));
    if (!link) return;
    const password = link.has_password ? newPassword() : null;
    const send = async () => {
      const falcon = connect(null);
      await falcon.useSignInLink(code, password?.value);
      await this.#begin(falcon, password ? null : { asksPassword: true });
    };
    if (!password && isOnThisMachine() && !mayHaveSession() && keptToken() === null) {
      try {
        return await send();
      } catch {
        // The button says what is wrong.
      }
    }
    this.#shown = () => this.useLink(code);
    this.#card(password ? "signin.link.intro" : "signin.link.first", password ? [password] : [], {
      greeting: t("signin.hello", { name: link.name }),
      label: t(password ? "signin.link.go" : "signin.go"),
      send,
    });
  }

  async acceptInvitation(code) {
    const invitation = await this.#opened(code, (falcon) => falcon.readInvitation(code));
    if (!invitation) return;
    this.#shown = () => this.acceptInvitation(code);
    const name = field("signin.name", { autocomplete: "name", maxlength: 255 });
    const handle = field("signin.handle", { autocomplete: "username", maxlength: 32, pattern: "[a-z0-9._\\-]{1,32}", required: false, autocapitalize: "off", spellcheck: "false", title: t("signin.handle.hint") });
    const email = field("signin.email", { type: "email", autocomplete: "email", maxlength: 320, required: false, value: invitation.email ?? "" });
    const password = newPassword();
    const rooms = invitation.rooms.length ? t("signin.invited.rooms", { rooms: invitation.rooms.join(t("list.comma")) }) : "";
    this.#card("signin.invited.intro", [name, handle, email, password], {
      greeting: t("signin.invited", { name: invitation.by }),
      about: rooms,
      label: t("signin.invited.go"),
      send: async () => {
        const falcon = connect(null);
        const given = { handle: handle.value.trim() || undefined, email: email.value.trim() || undefined };
        await falcon.acceptInvitation(code, name.value.trim(), password.value, given);
        await this.#begin(falcon, { asksPassword: false });
      },
    });
  }

  // --- parts --------------------------------------------------------------------------------------------------------

  /** What a link is for; null if it is good no longer, which the page then says. */
  async #opened(code, read) {
    try {
      if (!CODE.test(code)) throw new Problem(404, "item_not_found", "");
      return await read(connect(null));
    } catch (failure) {
      this.#note = t(failure instanceof Problem && failure.status === 404 ? "signin.link.ended" : "signin.unreachable");
      await this.choose();
      return null;
    }
  }

  async #byToken(token, stay) {
    if (!/^[\w-]+$/.test(token)) throw new Problem(401, "unauthenticated", ""); // a header cannot have such a value
    const falcon = connect(token);
    const me = await falcon.me();
    keepToken(token, stay);
    this.#done(falcon, me);
  }

  /** The browser has the cookie of a session. ``newcomer``: as welcome.js takes it, for who is here for the first time. */
  async #begin(falcon, newcomer = null) {
    const me = await falcon.me();
    noteSession();
    this.#done(falcon, me, newcomer);
  }

  #stay() {
    const input = h("input", { type: "checkbox", "aria-describedby": "stay-hint" });
    return { input, label: h("label", { class: "check" }, input, h("span", {}, t("signin.stay"), h("small", { id: "stay-hint" }, t("signin.stay.hint")))) };
  }

  #providers() {
    return this.#ways.providers.map(({ provider, name }) =>
      h("a", { class: "button", href: `/v1/sign-in/${encodeURIComponent(provider)}?return_to=${encodeURIComponent(RETURN_TO)}` }, t("signin.with", { name })),
    );
  }

  #other(label, show) {
    return h("button", { type: "button", on: { click: () => { this.#note = null; void show(); } } }, t(label));
  }

  /** Shows a form. Returns its button. */
  #card(intro, fields, { greeting = null, about = "", label, below = [], send, wrong = null, more = [] }) {
    const error = h("p", { class: "error", role: "alert" }, this.#note);
    this.#note = null;
    const button = h("button", { class: "primary", type: "submit" }, label);
    const submit = async (event) => {
      event.preventDefault();
      button.disabled = true;
      error.textContent = "";
      try {
        await send();
      } catch (failure) {
        button.disabled = false;
        const mistaken = wrong && failure instanceof Problem && failure.status === 401;
        error.textContent = mistaken ? wrong : failure instanceof Problem ? reason(failure) : t("signin.unreachable");
        fields.at(-1)?.focus();
      }
    };
    const form = h(
      "form",
      { class: "card", on: { submit } },
      h("img", { src: ICON, alt: "", width: "56", height: "56" }),
      h("h1", {}, greeting ?? t("app.name")),
      h("p", { class: "quiet" }, t(intro)),
      about ? h("p", { class: "quiet", dir: "auto" }, about) : null,
      fields.map((input) => [h("label", { for: input.id }, input.dataset.label), input]),
      below,
      error,
      button,
      more,
    );
    this.#root.replaceChildren(
      h("main", { class: "signin" }, form, h("p", { class: "below" }, this.#languages(), h("a", { href: "/docs" }, t("signin.docs")))),
    );
    document.title = `${t("signin.title")} — ${t("app.name")}`;
    fields[0]?.focus();
    return button;
  }

  #languages() {
    const change = (event) => {
      setLanguage(event.target.value, true);
      void this.#shown();
    };
    return h(
      "select",
      { "aria-label": t("account.language"), on: { change } },
      Object.entries(LANGUAGES).map(([name, title]) => h("option", { value: name, lang: name, selected: name === currentLanguage() }, title)),
    );
  }
}

function field(label, props = {}) {
  return h("input", { id: label.replaceAll(".", "-"), required: true, data: { label: t(label) }, ...props });
}

const newPassword = () => field("signin.password.new", { type: "password", autocomplete: "new-password", minlength: 10, maxlength: 256 });
