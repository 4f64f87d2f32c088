// Colours code, in a worker that is started when the first code is shown. Some code takes the highlighter very long: it
// keeps its plain look, and nobody waits.

import { h } from "./dom.js";

const CHARS_MAX = 20_000;
const MS_MAX = 1_000;
const KEPT_MAX = 50; // a message is made again when somebody reacts to it
const LANGUAGES = new Map(
  Object.entries({
    asm: "asm",
    bash: "bash sh shell zsh console",
    c: "c h cpp c++ cc hpp",
    css: "css",
    diff: "diff patch",
    docker: "docker dockerfile",
    go: "go golang",
    html: "html svelte vue",
    ini: "ini cfg conf properties",
    java: "java kotlin scala",
    js: "js javascript jsx mjs node",
    json: "json jsonc",
    lua: "lua",
    make: "make makefile",
    pl: "pl perl",
    py: "py python python3",
    rs: "rs rust",
    sql: "sql",
    toml: "toml",
    ts: "ts typescript tsx",
    xml: "xml svg",
    yaml: "yaml yml",
  }).flatMap(([language, names]) => names.split(" ").map((name) => [name, language])),
);

const waiting = [];
const kept = new Map(); // by language and text, the newest last
let worker = null;
let job = null;
let timer;

/** Colours the text of an element, now or a moment later, if its language is known. */
export function highlight(element, name, text) {
  const language = LANGUAGES.get(name);
  if (!language || text.length > CHARS_MAX) return;
  const key = `${language} ${text}`;
  if (kept.has(key)) return colour(element, kept.get(key));
  waiting.push({ element, language, text, key });
  next();
}

function next() {
  if (job || !waiting.length) return;
  job = waiting.shift();
  worker ??= start();
  worker.postMessage({ language: job.language, text: job.text });
}

function start() {
  const made = new Worker(new URL("highlighting/worker.js", import.meta.url), { type: "module" });
  made.onmessage = ({ data }) => {
    if (data === "began") timer = setTimeout(giveUp, MS_MAX);
    else done(data);
  };
  made.onerror = giveUp;
  return made;
}

function done(tokens) {
  clearTimeout(timer);
  kept.set(job.key, tokens);
  if (kept.size > KEPT_MAX) kept.delete(kept.keys().next().value);
  colour(job.element, tokens);
  job = null;
  next();
}

function giveUp() {
  clearTimeout(timer);
  worker.terminate();
  worker = job = null;
  next();
}

function colour(element, tokens) {
  element.replaceChildren(...tokens.map(([text, type]) => (type ? h("span", { class: `code-${type}` }, text) : text)));
}
