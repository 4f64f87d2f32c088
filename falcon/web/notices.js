// Desktop notifications of mentions and direct messages, if the user asked for them on this device.

import { ICON, iconButton } from "./dom.js";
import { plain } from "./formatting.js";
import { t } from "./strings.js";

const KEPT = "falcon.notify";
const TEXT_MAX = 200;

const supported = () => "Notification" in window && window.isSecureContext;
const wanted = () => localStorage.getItem(KEPT) === "yes" && supported() && Notification.permission === "granted";

/** Switches notifications on and off. The browser asks for consent first. Null if it has no notifications. */
export function noticesButton(app) {
  if (!supported()) return null;
  const button = iconButton("bell", "", () => void toggle(app, button));
  show(button);
  return button;
}

function show(button) {
  const on = wanted();
  const label = t(on ? "notify.stop" : "notify.start");
  button.replaceChildren(iconButton(on ? "bell" : "bellOff", label, () => {}).firstChild);
  button.title = label;
  button.setAttribute("aria-label", label);
  button.setAttribute("aria-pressed", String(on));
}

async function toggle(app, button) {
  if (wanted()) {
    localStorage.removeItem(KEPT);
  } else if ((await Notification.requestPermission()) === "granted") {
    localStorage.setItem(KEPT, "yes");
  } else {
    app.toast(t("notify.denied"));
  }
  show(button);
}

/** True for a message for the user that comes while the page is not visible. */
export function isNotified({ chat: { me } }, room, message) {
  if (message.author_id === me.account_id || message.deleted || !wanted()) return false;
  if (room.kind !== "direct" && !message.mentions.includes(me.account_id)) return false;
  return document.visibilityState !== "visible" || !document.hasFocus();
}

/** Shows a desktop notification of the message. */
export function notify(app, room, message) {
  const author = app.chat.nameOf(message.author_id);
  const title = room.kind === "direct" ? room.name : t("notify.title", { name: author, room: room.name });
  let notice;
  try {
    notice = new Notification(title, { body: plain(message.text, TEXT_MAX), tag: `falcon-${room.roomId}`, icon: ICON });
  } catch (error) {
    console.info("this browser shows notifications of service workers only", error);
    return;
  }
  notice.addEventListener("click", () => {
    window.focus();
    app.go(`#/rooms/${room.roomId}/${message.seq}`);
    notice.close();
  });
}
