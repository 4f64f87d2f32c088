// Makes elements from plain values. Text always stays text: HTML cannot be passed in.

/** The address of the icon, beside this module. */
export const ICON = new URL("icon.svg", import.meta.url).href;

export function h(tag, props = {}, ...children) {
  return fill(document.createElement(tag), props, children);
}

const SVG = "http://www.w3.org/2000/svg";
const PATHS = {
  back: "M15 5l-7 7 7 7",
  plus: "M12 5v14M5 12h14",
  send: "M4 12l16-8-5 16-4-6z M11 14l9-10",
  people: "M9 11a3.500 3.500 0 1 0 0-7 3.500 3.500 0 0 0 0 7zM2.500 20c.5-4 3-6 6.500-6s6 2 6.500 6M16 4.500a3.500 3.500 0 0 1 0 6.500M18 14.500c2 .8 3.200 2.600 3.500 5.500",
  reply: "M10 7L4 12l6 5M4.500 12H14c4 0 6 2 6 6",
  edit: "M4 20l1-4L16 5l3 3L8 19zM14 7l3 3",
  bin: "M5 7h14M10 7V4h4v3M7 7l1 13h8l1-13M10.500 11v5M13.500 11v5",
  react: "M12 21a9 9 0 1 0 0-18 9 9 0 0 0 0 18zM8 14.500c1 1.500 2.300 2.200 4 2.200s3-.7 4-2.200M9 9.300v.7M15 9.300v.7",
  pin: "M9 4h6l-1 6 3 3H7l3-3zM12 13v7",
  bookmark: "M7 4h10v16l-5-4-5 4z",
  unread: "M4 6h16v12H4zM4 7l8 6 8-6M19 4.500h.01",
  eye: "M3 12c2.500-4.500 5.500-6.500 9-6.500s6.500 2 9 6.500c-2.500 4.500-5.500 6.500-9 6.500s-6.500-2-9-6.500zM12 15a3 3 0 1 0 0-6 3 3 0 0 0 0 6z",
  words: "M4 6h9M4 11h6M4 16h4M15 10a4.500 4.500 0 1 0 0 9 4.500 4.500 0 0 0 0-9zM18.500 18l3 3",
  link: "M10 14a4 4 0 0 0 6 .5l3-3a4 4 0 0 0-6-6l-1 1M14 10a4 4 0 0 0-6-.5l-3 3a4 4 0 0 0 6 6l1-1",
  close: "M6 6l12 12M18 6L6 18",
  down: "M12 5v14M6 13l6 6 6-6",
  chat: "M5 5h14a1 1 0 0 1 1 1v9a1 1 0 0 1-1 1h-8l-5 4v-4H5a1 1 0 0 1-1-1V6a1 1 0 0 1 1-1z",
  bell: "M6 16V11a6 6 0 0 1 12 0v5l2 2H4zM10 21h4",
  bellOff: "M6 16V11a6 6 0 0 1 12 0v5l2 2H4zM10 21h4M4 4l16 16",
  settings: "M4 7h9M19 7h1M4 17h1M11 17h9M16 7m-2.500 0a2.500 2.500 0 1 0 5 0a2.500 2.500 0 1 0-5 0M8 17m-2.500 0a2.500 2.500 0 1 0 5 0a2.500 2.500 0 1 0-5 0",
  bold: "M7 5h6a3.500 3.500 0 0 1 0 7H7zM7 12h7a3.500 3.500 0 0 1 0 7H7z",
  italic: "M10 5h8M6 19h8M14 5l-4 14",
  strike: "M4 12h16M16 7.500c-.7-1.600-2.200-2.500-4-2.500-2.400 0-4 1.300-4 3.200M8 16c.6 1.900 2.200 3 4.200 3 2.300 0 4-1.200 4-3.200",
  code: "M8 7l-5 5 5 5M16 7l5 5-5 5",
  block: "M4 5h16v14H4zM10 9l-3 3 3 3M14 9l3 3-3 3",
  quote: "M5 5v14M10 8h9M10 12h9M10 16h6",
  list: "M9 6h11M9 12h11M9 18h11M4.500 6h.01M4.500 12h.01M4.500 18h.01",
  numbers: "M10 6h10M10 12h10M10 18h10M4 5l1.500-1v5M3.500 14.500c1-1 3-.6 2.500.8L3.500 18.500h3",
  find: "M11 4a7 7 0 1 0 0 14 7 7 0 0 0 0-14zM16 16l5 5",
  out: "M10 5H5v14h5M14 8l4 4-4 4M18 12H9",
};

export function icon(name) {
  const svg = document.createElementNS(SVG, "svg");
  const path = document.createElementNS(SVG, "path");
  svg.setAttribute("viewBox", "0 0 24 24");
  svg.setAttribute("aria-hidden", "true");
  svg.setAttribute("class", "icon");
  path.setAttribute("d", PATHS[name]);
  svg.append(path);
  return svg;
}

/** A button with an icon and an accessible name. */
export function iconButton(name, label, click, props = {}) {
  return h("button", { type: "button", class: "icon-button", "aria-label": label, title: label, on: { click }, ...props }, icon(name));
}

function fill(element, props, children) {
  for (const [name, value] of Object.entries(props)) {
    if (value === undefined || value === null || value === false) continue;
    if (name === "on") for (const [type, listener] of Object.entries(value)) element.addEventListener(type, listener);
    else if (name === "data") Object.assign(element.dataset, value);
    else if (name === "value") element.value = value;
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

/** Announces a text to screen readers. */
export function announce(text) {
  const announcer = document.getElementById("announcer");
  announcer.append(h("p", {}, text));
  while (announcer.childElementCount > 3) announcer.firstElementChild.remove();
}

/** A circle with the initials of a person, in the colour of the name. A direct room has the same name and colour. */
export const avatar = (name, shape = "") => circle(name, shape, hueOf(name));

/** The avatar of a room. A direct room has that of the other person; a group keeps its colour when it is renamed. */
export function roomAvatar({ roomId, name, kind }) {
  if (kind === "direct") return avatar(name, kind);
  return circle(name, kind, Math.floor(((roomId * 0.618034) % 1) * HUES)); // ids of rooms lie some fixed steps apart
}

const HUES = 8;

function circle(name, shape, hue) {
  return h("span", { class: `avatar hue-${hue} ${shape}`, "aria-hidden": "true" }, initials(name));
}

/** Two letters, or one kanji or kana, tell more people apart than one letter. */
function initials(name) {
  const words = (name || "?").trim().split(/[\s._-]+/).filter(Boolean);
  const letters = [words[0], words.length > 1 ? words.at(-1) : ""].map((word) => [...(word ?? "")][0] ?? "");
  const both = /^[\p{Script=Latin}\p{Script=Cyrillic}\p{Script=Greek}]{2}$/u.test(letters.join(""));
  return (both ? letters.join("") : letters[0]).toUpperCase();
}

/** FNV-1a, folded, so that names that differ in one letter mostly differ in colour. */
function hueOf(name) {
  let hash = 0x811c9dc5;
  for (let n = 0; n < name.length; n++) hash = Math.imul(hash ^ name.charCodeAt(n), 0x01000193);
  return ((hash >>> 16) ^ (hash & 0xffff)) % HUES;
}
