// Whose token it is, and how long it is kept: for this tab, or on this device.

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

/** A token in the address, which goes from there at once. It signs nobody in by itself: a link must not decide who one
 * is. */
export function offeredToken() {
  if (!location.hash.startsWith(OFFER)) return null;
  const token = location.hash.slice(OFFER.length);
  history.replaceState(null, "", location.pathname + location.search);
  return token;
}

/** Told when another tab signs out. */
export function onForgotten(listener) {
  window.addEventListener("storage", (event) => {
    if (event.key === KEPT && event.newValue === null && keptToken() === null) listener();
  });
}
