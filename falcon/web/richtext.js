// Turns links and mentions in the text of a message into elements.

import { h } from "./dom.js";

const URL_PATTERN = String.raw`https?://[^\s<>"「」『』（）、。]+`;
const TRAILING = new Set(".,;:!?)]}'\"…");
const escaped = (text) => text.replace(/[.*+?^${}()|[\]\\]/g, "\\$&");

/** ``mentioned``: [name, true if it is the reader]. */
export function richText(text, mentioned = []) {
  const names = new Map(mentioned.filter(([name]) => name).map(([name, me]) => [`@${name}`, me]));
  const patterns = [...names.keys()].sort((a, b) => b.length - a.length).map(escaped);
  const parts = [];
  let from = 0;
  for (const match of text.matchAll(new RegExp([...patterns, URL_PATTERN].join("|"), "gu"))) {
    const found = names.has(match[0]) ? match[0] : trimmed(match[0]);
    parts.push(text.slice(from, match.index));
    parts.push(names.has(found) ? h("span", { class: names.get(found) ? "at me" : "at" }, found) : link(found));
    from = match.index + found.length;
  }
  parts.push(text.slice(from));
  return parts;
}

/** The address without the signs that end a sentence. A loop: a regular expression would look at each dot again and again. */
function trimmed(url) {
  let end = url.length;
  while (TRAILING.has(url[end - 1])) end -= 1;
  return url.slice(0, end);
}

const link = (url) => h("a", { href: url, target: "_blank", rel: "noopener noreferrer" }, url);

/** The members that a text mentions: chosen ones, and those whose unique name is in the text. */
export function mentionsIn(text, members, chosen) {
  const byName = new Map();
  for (const { account_id, name } of members) byName.set(name, [...(byName.get(name) ?? []), account_id]);
  const names = [...byName.keys()].filter((name) => name && text.includes(`@${name}`)).sort((a, b) => b.length - a.length);
  const found = [];
  if (names.length) {
    for (const [match] of text.matchAll(new RegExp(names.map((name) => escaped(`@${name}`)).join("|"), "gu"))) {
      const accounts = byName.get(match.slice(1));
      const meant = accounts.filter((accountId) => chosen.has(accountId));
      found.push(...(meant.length ? meant : accounts.length === 1 ? accounts : []));
    }
  }
  return [...new Set(found)].slice(0, 100);
}
