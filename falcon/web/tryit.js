// Forms on /docs that send an operation to this server.
import { h } from "./dom.js";

const SHOWN_MAX = 200_000; // characters of an answer
const token = h("input", { id: "token", type: "password", autocomplete: "off", spellcheck: "false", placeholder: "falcon_…" });

/** Gives each operation of the page a form when it is opened, and opens the one that the address names. */
export function offerForms(operations) {
  document.getElementById("try").replaceChildren(
    h("label", { for: "token" }, "Token for “Try it”"), token,
    h("small", {}, "It stays in this page and goes to this server only."),
  );
  for (const operation of operations) {
    const details = document.getElementById(operation.operationId);
    details.addEventListener("toggle", () => {
      if (details.open && !details.querySelector("form")) details.append(form(operation));
    });
  }
  addEventListener("hashchange", openNamed);
  openNamed();
}

function openNamed() {
  const named = document.getElementById(decodeURIComponent(location.hash.slice(1)));
  if (named?.matches("details")) named.open = true;
  named?.scrollIntoView();
}

// --- the form ---------------------------------------------------------------------------------------------------------

function form(operation) {
  const fields = operation.parameters.map((parameter) => field(operation, parameter));
  const body = bodyField(operation);
  const send = h("button", { type: "submit" }, "Send");
  const stop = h("button", { type: "button", hidden: true }, "Stop");
  const answer = h("div", { class: "answer", role: "status" });
  const made = h("form", { class: "try", "aria-label": `Try it: ${operation.summary}` },
    h("strong", {}, "Try it"), fields.map(({ row }) => row), body?.row, h("p", {}, send, " ", stop), answer);
  made.addEventListener("submit", async (event) => {
    event.preventDefault();
    const aborting = new AbortController();
    stop.onclick = () => aborting.abort();
    send.disabled = true;
    stop.hidden = false;
    try {
      await ask(request(operation, fields, body), answer, aborting.signal);
    } finally {
      send.disabled = false;
      stop.hidden = true;
    }
  });
  body?.input.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) made.requestSubmit();
  });
  return made;
}

function field(operation, parameter) {
  const id = `${operation.operationId}-${parameter.name}`;
  const input = h("input", { id, value: parameter.example ?? "", required: parameter.required, spellcheck: "false", autocomplete: "off" });
  const name = h("label", { for: id }, h("code", {}, parameter.name), parameter.required ? "" : " (optional)");
  return { ...parameter, input, row: h("p", { class: "field" }, name, input) };
}

function bodyField({ operationId, requestBody }) {
  if (!requestBody) return null;
  const [[mediaType, content]] = Object.entries(requestBody.content);
  const text = mediaType === "application/json" ? JSON.stringify(content.example, null, 2) : JSON.stringify(content.example);
  const id = `${operationId}-body`;
  const input = h("textarea", { id, rows: Math.min(12, text.split("\n").length + 1), spellcheck: "false", value: text });
  return { mediaType, input, row: h("p", { class: "field" }, h("label", { for: id }, `Body (${mediaType})`), input) };
}

function request(operation, fields, body) {
  let path = operation.path;
  const query = new URLSearchParams();
  const headers = new Headers();
  if (token.value.trim()) headers.set("Authorization", `Bearer ${token.value.trim()}`);
  for (const { name, in: place, input } of fields) {
    const value = input.value.trim();
    if (place === "path") path = path.replace(`{${name}}`, encodeURIComponent(value));
    else if (value !== "") (place === "query" ? query : headers).append(name, value);
  }
  if (body) headers.set("Content-Type", body.mediaType);
  const url = query.size ? `${path}?${query}` : path;
  return [url, { method: operation.method, headers, body: body?.input.value, cache: "no-store" }];
}

// --- the answer -------------------------------------------------------------------------------------------------------

async function ask([url, options], shown, signal) {
  const text = h("pre", { tabindex: "0", "aria-label": "Body of the answer" });
  shown.replaceChildren(h("p", {}, `${options.method} ${url} …`));
  try {
    const answer = await fetch(url, { ...options, signal });
    const headers = [...answer.headers].map(([name, value]) => `${name}: ${value}`).join("\n");
    shown.replaceChildren(
      h("p", {}, h("strong", { class: answer.ok ? "good" : "bad" }, `${answer.status} ${answer.statusText}`), ` ${options.method} ${url}`),
      h("pre", { tabindex: "0", "aria-label": "Headers of the answer" }, headers), text);
    await read(answer, text);
  } catch (error) {
    if (error.name !== "AbortError") shown.append(h("p", { class: "bad" }, `No answer: ${error.message}`));
  }
}

/** Shows the body as it comes: a stream does not end. */
async function read(answer, shown) {
  const isJson = /\bjson$/.test(answer.headers.get("content-type") ?? "") && !/ndjson/.test(answer.headers.get("content-type"));
  let text = "";
  for await (const part of parts(answer.body)) {
    text = (text + part).slice(0, SHOWN_MAX);
    shown.textContent = text;
  }
  if (isJson) shown.textContent = JSON.stringify(JSON.parse(text), null, 2);
  if (!text) shown.remove();
}

async function* parts(body) {
  if (!body) return;
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  for (let each = await reader.read(); !each.done; each = await reader.read()) yield each.value;
}
