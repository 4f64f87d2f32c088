// Help on keys.

import { open } from "./dialogs.js";
import { h } from "./dom.js";
import { t } from "./strings.js";

const KEYS = [
  ["Ctrl K", "keys.directory"],
  ["Ctrl Shift F", "keys.search"],
  ["Enter", "keys.send"],
  ["Shift Enter", "keys.line"],
  ["↑", "keys.last"],
  ["Ctrl B, Ctrl I", "keys.format"],
  ["@", "keys.mention"],
  [":", "keys.emoji"],
  ["↑ ↓ Home End", "keys.move"],
  ["+ R E T Delete", "keys.message"],
  ["Esc", "keys.escape"],
  ["?", "keys.help"],
];

export function helpOnKeys() {
  const rows = KEYS.map(([keys, text]) => [h("dt", {}, h("kbd", {}, keys)), h("dd", {}, t(text))]);
  open(t("keys.title"), h("div", { class: "body" }, h("dl", { class: "keys" }, rows)));
}
