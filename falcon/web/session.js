// How this browser is signed in: by the cookie of a session, which no script can read, or by a token that is stored for
// this tab or on this device.

const KEPT = "falcon.token";
const SESSION = "falcon.session"; // says that there is a cookie, and tells other tabs when it ends; it is no secret
const WELCOMED = "falcon.welcomed";
const RETURNED = "?signed_in"; // in the address to which a provider sends the browser back
const OFFERS = ["token", "sign-in", "invitation"];

export function keptToken() {
  return sessionStorage.getItem(KEPT) ?? localStorage.getItem(KEPT);
}

export function keepToken(token, stay) {
  forget();
  (stay ? localStorage : sessionStorage).setItem(KEPT, token);
}

export function noteSession() {
  forget();
  localStorage.setItem(SESSION, "yes");
}

/** Where a provider sends the browser back to. */
export const RETURN_TO = `/${RETURNED}`;

/** Whether a provider has just sent the browser back. */
export const hasReturned = () => location.search === RETURNED;

/** Whether a cookie may say who this is. Without one a page that asks would only be refused. */
export function mayHaveSession() {
  if (!hasReturned()) return localStorage.getItem(SESSION) !== null;
  history.replaceState(null, "", location.pathname + location.hash);
  return true;
}

/** Whether this device has shown the first steps to this account. */
export const wasWelcomed = (accountId) => localStorage.getItem(WELCOMED) === String(accountId);

export const noteWelcomed = (accountId) => localStorage.setItem(WELCOMED, accountId);

export function forget() {
  sessionStorage.removeItem(KEPT);
  localStorage.removeItem(KEPT);
  localStorage.removeItem(SESSION);
}

/** Whether the address offers a way in. */
export const isOffer = () => OFFERS.some((kind) => location.hash.startsWith(`#${kind}=`));

/** The token or code in the address, as { kind, value }, which is removed from there at once. A token, which any account
 * can make, does not sign in by itself: a link must not choose the account. */
export function takeOffer() {
  const kind = OFFERS.find((each) => location.hash.startsWith(`#${each}=`));
  if (!kind) return null;
  const value = location.hash.slice(kind.length + 2);
  history.replaceState(null, "", location.pathname + location.search);
  return { kind, value };
}

/** Whether Falcon is on the machine of this browser. */
export const isOnThisMachine = () => /^(localhost|127\.0\.0\.1|\[::1\])$/.test(location.hostname);

/** Calls the listener when another tab signs out. */
export function onForgotten(listener) {
  window.addEventListener("storage", (event) => {
    if ((event.key === KEPT || event.key === SESSION) && event.newValue === null && keptToken() === null) listener();
  });
}
