// Reads the formatting of a message's text: a small part of Markdown. docs/formatting.json has examples for other clients.
//
// The text stays the truth: all of it but the marks is in the tree, in its order. Nothing here looks at a character more
// often than a few times, since the text is somebody else's.

const QUOTES_MAX = 4; // quotes within quotes; further marks are text
const LEVEL_MAX = 3;
export const URL_PATTERN = String.raw`https?://[^\s<>"「」『』（）、。]+`;
const TRAILING = new Set(".,;:!?)]}'\"…");
// The marks, with the nodes that they make, the outer first. Longer runs of these characters, and __, are text.
const MARKS = { "*": ["italic"], "**": ["bold"], "***": ["bold", "italic"], _: ["italic"], "~~": ["strike"] };
const CODE_MARK_MAX = 3;
// A mark beside one of these is a part of a word, such as snake_case or 2*3. Scripts without spaces between words are not
// here: 次の**会議**は is bold.
const WORD = /[\p{Nd}\p{Script=Latin}\p{Script=Greek}\p{Script=Cyrillic}\\]/u;
const SPACE = /\s/u;
const FENCE = /^ {0,3}```([\w+#.-]{0,32})[ \t]*$/u;
const FENCE_END = /^ {0,3}```[ \t]*$/u;
const QUOTE = /^>(?: |$)/u;
const ITEM = /^( {0,12})(?:[-*•]|(\d{1,9})[.)]) (?=\S)/u;
export const escaped = (text) => text.replace(/[.*+?^${}()|[\]\\]/g, "\\$&");

/**
 * The blocks of a text: {type: "paragraph", children}, {type: "code_block", language, text}, {type: "quote", children:
 * blocks}, {type: "list", ordered, start, items: [{level, children}]}.
 *
 * Children are {type: "text", text}, {type: "code", text}, {type: "link", url}, {type: "mention", text}, and {type:
 * "bold" | "italic" | "strike", children}. ``names``: what mentions look like, such as "@Ben".
 */
export function parse(text, names = []) {
  const inline = inlineParser(names);
  return blocks(text.split("\n"), inline, 0);
}

/** The begin of a text without its marks, in one line, for a list or a notice. */
export function plain(text, length) {
  const flat = (node) => node.text ?? node.url ?? (node.children ?? node.items).map(flat).join(node.type === "quote" || node.type === "list" ? " " : "");
  return parse(text.slice(0, 2 * length)).map(flat).join(" ").slice(0, length); // marks are rarely half of a text
}

function blocks(lines, inline, depth) {
  const found = [];
  let plain = [];
  const end = () => {
    if (plain.length) found.push({ type: "paragraph", children: inline(plain.join("\n")) });
    plain = [];
  };
  for (let at = 0; at < lines.length; ) {
    const begin = at;
    const fence = FENCE.exec(lines[at]);
    const item = ITEM.exec(lines[at]);
    if (fence) {
      const code = [];
      for (at += 1; at < lines.length && !FENCE_END.test(lines[at]); at += 1) code.push(lines[at]);
      end();
      found.push({ type: "code_block", language: fence[1].toLowerCase(), text: code.join("\n") });
      at += 1;
    } else if (QUOTE.test(lines[at]) && depth < QUOTES_MAX) {
      for (; at < lines.length && QUOTE.test(lines[at]); at += 1);
      end();
      found.push({ type: "quote", children: blocks(lines.slice(begin, at).map((line) => line.slice(2)), inline, depth + 1) });
    } else if (item) {
      const ordered = item[2] !== undefined;
      const items = [];
      for (let next = item; next && (next[2] !== undefined) === ordered; next = at < lines.length ? ITEM.exec(lines[at]) : null) {
        items.push({ level: Math.min(next[1].length >> 1, LEVEL_MAX), children: inline(lines[at].slice(next[0].length)) });
        at += 1;
      }
      end();
      found.push({ type: "list", ordered, start: ordered ? Number(item[2]) : 1, items });
    } else {
      plain.push(lines[at]);
      at += 1;
    }
  }
  end();
  return found;
}

/** A function that reads the marks within lines. No mark goes on over the end of a line. */
function inlineParser(names) {
  const patterns = [...names].sort((a, b) => b.length - a.length).map(escaped);
  const tokens = new RegExp([...patterns, URL_PATTERN, "`+", String.raw`\*+|_+|~+`, "\n"].join("|"), "gu");
  const mentions = new Set(names);
  return (text) => {
    const open = [{ children: [] }]; // the marks that are open, the outermost first, below a root
    const missing = new Map(); // lengths of runs of backquotes, each with the end of the line that has no other one
    const top = () => open.at(-1);
    let from = 0;
    const put = (node) => void top().children.push(node);
    const say = (until) => {
      if (until > from) put({ type: "text", text: text.slice(from, until) });
      from = until;
    };
    const drop = () => {
      const { mark, children } = open.pop(); // it was no mark after all
      top().children.push({ type: "text", text: mark }, ...children);
    };
    tokens.lastIndex = 0;
    for (let match = tokens.exec(text); match; match = tokens.exec(text)) {
      const { 0: token, index } = match;
      if (mentions.has(token)) {
        say(index);
        put({ type: "mention", text: token });
        from = tokens.lastIndex;
      } else if (token.startsWith("http")) {
        say(index);
        const url = trimmed(token, open.map(({ mark }) => mark?.[0]));
        put({ type: "link", url });
        from = tokens.lastIndex = index + url.length;
      } else if (token[0] === "`" && token.length <= CODE_MARK_MAX) {
        const after = index + token.length;
        const close = missing.get(token.length) > index ? -1 : closing(text, token, after);
        if (close < 0) missing.set(token.length, -close);
        else if (close > after) {
          say(index);
          put({ type: "code", text: text.slice(after, close) });
          from = tokens.lastIndex = close + token.length;
        }
      } else if (token === "\n") {
        say(index);
        while (open.length > 1) drop();
      } else if (MARKS[token]) {
        const [before, after] = [text[index - 1] ?? " ", charAt(text, tokens.lastIndex)];
        const place = open.findLastIndex(({ mark }) => mark === token);
        if (place > 0 && !SPACE.test(before) && !WORD.test(after) && index > open[place].from) {
          say(index);
          while (open.length > place + 1) drop();
          const { children } = open.pop();
          put(MARKS[token].reduceRight((inner, type) => [{ type, children: inner }], joined(children))[0]);
          from = tokens.lastIndex;
        } else if (place < 0 && !WORD.test(before) && !SPACE.test(after)) {
          say(index);
          open.push({ mark: token, children: [], from: tokens.lastIndex });
          from = tokens.lastIndex;
        }
      }
    }
    say(text.length);
    while (open.length > 1) drop();
    return joined(top().children);
  };
}

/** Where a run of backquotes is closed by one of the same length on its line. Otherwise the end of the line, negative. */
function closing(text, run, from) {
  const lineEnd = text.indexOf("\n", from);
  const end = lineEnd < 0 ? text.length : lineEnd;
  for (let at = text.indexOf(run, from); at >= 0 && at < end; ) {
    let until = at;
    while (text[until] === "`") until += 1;
    if (until - at === run.length) return at;
    at = text.indexOf(run, until);
  }
  return -end - 1;
}

/** The character at a place; a space at the end of the text. */
const charAt = (text, at) => (at < text.length ? String.fromCodePoint(text.codePointAt(at)) : " ");

/** The address without the signs that end a sentence. ``marks``: characters that end it, too, since they are open. */
export function trimmed(url, marks = []) {
  let end = url.length;
  while (TRAILING.has(url[end - 1]) || marks.includes(url[end - 1])) end -= 1;
  return url.slice(0, end);
}

/** Neighbouring texts become one. */
function joined(nodes) {
  const found = [];
  for (const node of nodes) {
    const last = found.at(-1);
    if (node.type === "text" && last?.type === "text") last.text += node.text;
    else found.push({ ...node });
  }
  return found;
}
