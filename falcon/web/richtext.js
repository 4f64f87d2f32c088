// Turns the text of a message into elements, and finds the members that a text mentions.

import { h } from "./dom.js";
import { escaped, parse, trimmed, URL_PATTERN } from "./formatting.js";
import { highlight } from "./highlight.js";

const TAGS = { bold: "strong", italic: "em", strike: "s" };

/** The elements of a formatted text. ``mentioned``: [name, true if it is the reader]. */
export function richText(text, mentioned = []) {
  const names = new Map(mentioned.filter(([name]) => name).map(([name, me]) => [`@${name}`, me]));
  const inline = (node) => {
    if (node.type === "text") return node.text;
    if (node.type === "code") return h("code", {}, node.text);
    if (node.type === "link") return link(node.url);
    if (node.type === "mention") return h("span", { class: names.get(node.text) ? "at me" : "at" }, node.text);
    return h(TAGS[node.type], {}, node.children.map(inline));
  };
  const block = (node) => {
    if (node.type === "paragraph") return h("div", {}, node.children.map(inline));
    if (node.type === "quote") return h("blockquote", {}, node.children.map(block));
    if (node.type === "code_block") return codeBlock(node);
    const items = node.items.map(({ level, children }) => h("li", { class: `level-${level}` }, children.map(inline)));
    return node.ordered ? h("ol", { start: node.start }, items) : h("ul", {}, items);
  };
  const blocks = parse(text, [...names.keys()]);
  return blocks.length === 1 && blocks[0].type === "paragraph" ? blocks[0].children.map(inline) : blocks.map(block);
}

/** A text that has links and no formatting, such as the description of a room. */
export function withLinks(text) {
  const parts = [];
  let from = 0;
  for (const match of text.matchAll(new RegExp(URL_PATTERN, "gu"))) {
    const url = trimmed(match[0]);
    parts.push(text.slice(from, match.index), link(url));
    from = match.index + url.length;
  }
  return [...parts, text.slice(from)];
}

function codeBlock({ language, text }) {
  const code = h("code", {}, text);
  highlight(code, language, text);
  return h("pre", { tabindex: "-1", dir: "ltr", data: { language } }, code);
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
  return [...new Set(found)].slice(0, 500);
}
