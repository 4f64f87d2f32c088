// The token, stored for this tab or on this device.

const KEPT = "falcon.token";
const OFFER = "#token=";

export function keptToken() {
  return sessionStorage.getItem(KEPT) ?? localStorage.getItem(KEPT);
}

export function keepToken(token, stay) {
  forgetToken();
  (stay ? localStorage : sessionStorage).setItem(KEPT, token);
}

export function forgetToken() {
  sessionStorage.removeItem(KEPT);
  localStorage.removeItem(KEPT);
}

/** A token in the address, which is removed from there at once. It does not sign in by itself: a link must not choose
 * the account. */
export function offeredToken() {
  if (!location.hash.startsWith(OFFER)) return null;
  const token = location.hash.slice(OFFER.length);
  history.replaceState(null, "", location.pathname + location.search);
  return token;
}

/** Calls the listener when another tab signs out. */
export function onForgotten(listener) {
  window.addEventListener("storage", (event) => {
    if (event.key === KEPT && event.newValue === null && keptToken() === null) listener();
  });
}
