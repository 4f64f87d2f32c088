// The emoji that a message's actions offer as reactions.

import { open } from "./dialogs.js";
import { h } from "./dom.js";
import { t } from "./strings.js";

const COLUMNS = 6;
const MARGIN = 8; // pixels to the edge of the window

// Each key names a text of strings.js. The server accepts fully qualified emoji only.
const EMOJI = {
  thumbsup: "👍", thumbsdown: "👎", heart: "❤️", grin: "😄", joy: "😂", smile: "🙂",
  wink: "😉", love: "😍", thinking: "🤔", astonished: "😮", crying: "😢", angry: "😡",
  clapping: "👏", hooray: "🙌", thanks: "🙏", strong: "💪", wave: "👋", ok: "👌",
  party: "🎉", cake: "🎂", fire: "🔥", rocket: "🚀", star: "⭐", hundred: "💯",
  check: "✅", cross: "❌", eyes: "👀", idea: "💡", coffee: "☕", tea: "🍵",
};

/** Asks for an emoji, and returns it, or null. ``near``: an element. ``pressed``: the emoji that are chosen already. */
export function pickEmoji(near, pressed) {
  return new Promise((answer) => {
    let value = null;
    const buttons = Object.entries(EMOJI).map(([name, emoji], n) =>
      h(
        "button",
        {
          type: "button",
          tabindex: n ? "-1" : "0",
          "aria-label": t(`emoji.${name}`),
          "aria-pressed": String(pressed.has(emoji)),
          title: t(`emoji.${name}`),
          on: {
            click: () => {
              value = emoji;
              dialog.close();
            },
          },
        },
        emoji,
      ),
    );
    const { x, top, bottom } = near.getBoundingClientRect();
    const grid = h("div", { class: "emoji", role: "group", "aria-label": t("message.react"), on: { keydown: (event) => move(event, buttons) } }, buttons);
    const dialog = open(t("message.react"), grid, () => answer(value));
    dialog.classList.add("picker");
    place(dialog, x, top, bottom);
    buttons[0].focus();
  });
}

/** The arrow keys go from one button to the next, as in a grid. */
function move(event, buttons) {
  const at = buttons.indexOf(document.activeElement);
  const steps = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -COLUMNS, ArrowDown: COLUMNS, Home: -at, End: buttons.length - 1 - at };
  const to = buttons[at + steps[event.key]];
  if (!(event.key in steps)) return;
  event.preventDefault();
  if (!to) return;
  buttons[at].setAttribute("tabindex", "-1");
  to.setAttribute("tabindex", "0");
  to.focus();
}

/** Below the element, or above it if there is no space. On a phone the style puts the dialog at the bottom. */
function place(dialog, x, top, bottom) {
  const { offsetWidth, offsetHeight } = dialog;
  const below = bottom + offsetHeight + MARGIN <= window.innerHeight;
  dialog.style.setProperty("--x", `${Math.max(MARGIN, Math.min(x, window.innerWidth - offsetWidth - MARGIN))}px`);
  dialog.style.setProperty("--y", `${Math.max(MARGIN, below ? bottom : top - offsetHeight)}px`);
}
