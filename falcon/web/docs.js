// The page /docs: all operations, events and types, made from this server's /openapi.json and /asyncapi.json.
import { h } from "./dom.js";
import { offerForms } from "./tryit.js";

const PROBLEM = "application/problem+json";
const [api, stream] = await Promise.all(
  ["/openapi.json", "/asyncapi.json"].map((path) => fetch(path).then((answer) => answer.json())),
);
const operations = Object.entries(api.paths).flatMap(([path, methods]) =>
  Object.entries(methods).map(([method, operation]) => ({ ...operation, path, method: method.toUpperCase() })));
const headers = operations.flatMap(({ parameters }) => parameters.filter((parameter) => parameter.in === "header"));
const header = (parameter) => row(code(parameter.name), described(parameter.schema, parameter));

put("version", api.info.version);
put("address", location.origin);
put("contents", ...between(api.tags.map(({ name }) => link(anchor(name), name)), " · "));
put("operations", ...api.tags.map(({ name, description }) => [
  h("h2", { id: anchor(name) }, name), h("p", {}, description),
  operations.filter(({ tags }) => tags.includes(name)).map(operation),
]).flat(2));
put("listed", ...Object.values(stream.components.messages).map(event));
for (const parameter of new Map(headers.map((each) => [each.name, each])).values())
  document.getElementById("header-rows").append(h("tr", { id: `header-${parameter.name}` }, header(parameter)));
put("permission-rows", ...operations.map((each) => h("tr", {}, row(code(`${each.method} ${each.path}`), each["x-permission"]))));
put("schemas", ...Object.entries(api.components.schemas).sort(([a], [b]) => (a < b ? -1 : 1)).map(schema));
offerForms(operations);

function put(id, ...children) {
  document.getElementById(id).replaceChildren(...children);
}

// --- parts of the page ------------------------------------------------------------------------------------------------

function operation({ operationId, method, path, summary, description, parameters, requestBody, responses, ...rest }) {
  const own = parameters.filter((parameter) => parameter.in !== "header");
  const named = parameters.filter((parameter) => parameter.in === "header").map(({ name }) => link(`header-${name}`, name));
  return h("details", { id: operationId, data: { operation: operationId } },
    h("summary", {}, h("span", { class: "m" }, method), " ", code(path), ` — ${summary}`),
    h("p", {}, marked(description)), h("p", {}, `Who may: ${rest["x-permission"]}.`),
    own.length > 0 && h("table", {}, own.map((each) => h("tr", {}, row(code(each.name), each.in, described(each.schema, each))))),
    named.length > 0 && h("p", {}, "Headers: ", between(named, ", ")),
    Object.entries(requestBody?.content ?? {}).map(([mediaType, content]) =>
      [h("p", {}, "Body, ", code(mediaType), ": ", rule(content.schema)), example(content)]),
    h("table", { class: "answers" }, Object.entries(responses).map(([status, each]) => h("tr", {}, row(status, answer(each))))));
}

/** Problems say which codes they have. */
function answer({ description, content = {} }) {
  const [[mediaType, found] = [PROBLEM]] = Object.entries(content);
  return mediaType === PROBLEM ? marked(description) : [code(mediaType), " ", rule(found.schema), example(found)];
}

function event({ name, summary, tags, payload }) {
  const fields = stream.components.schemas[payload.$ref.split("/").pop()].properties;
  return h("details", {}, h("summary", {}, code(name), tags.length > 0 && " (signal)", ` — ${summary}`),
    h("table", {}, Object.entries(fields).map(([field, each]) => h("tr", {}, row(code(field), described(inlined(each)))))));
}

/** The rule with the types that only events have put in: the page lists those of the operations. */
function inlined(value) {
  if (typeof value !== "object" || value === null) return value;
  if (Array.isArray(value)) return value.map(inlined);
  const name = value.$ref?.split("/").pop();
  if (name && !(name in api.components.schemas)) return inlined(stream.components.schemas[name]);
  return Object.fromEntries(Object.entries(value).map(([key, each]) => [key, inlined(each)]));
}

function schema([name, { description, properties = {}, required = [] }]) {
  return h("section", { id: name }, h("h3", {}, name), description && h("p", {}, description),
    h("table", {}, Object.entries(properties).map(([field, each]) =>
      h("tr", {}, row([code(field), !required.includes(field) && " (optional)"], described(each))))));
}

// --- words ------------------------------------------------------------------------------------------------------------

/** A rule with what is said about it. */
function described(schema, more = {}) {
  const said = more.description || schema.description;
  const [shown] = schema.examples ?? [];
  return [rule(schema), shown !== undefined && [", such as ", code(String(shown))],
    (schema.default ?? null) !== null && `, by default ${JSON.stringify(schema.default)}`, said && `. ${said}`];
}

/** A schema in a few words: a link to its type if it has a name. */
function rule(schema) {
  if (schema.$ref) return link(schema.$ref.split("/").pop(), schema.$ref.split("/").pop());
  if (schema.anyOf) return between(schema.anyOf.map(rule), " or ");
  if (schema.enum) return between(schema.enum.map((value) => code(JSON.stringify(value))), " or ");
  switch (schema.type) {
    case "integer": case "number": return schema.type + bounds(schema.minimum, schema.maximum);
    case "string": return ["text", bounds(schema.minLength, schema.maxLength, " characters"), schema.pattern && [", matches ", code(schema.pattern)]];
    case "array":
      if (schema.prefixItems) return ["list [", between(schema.prefixItems.map(rule), ", "), "]"];
      return ["list of ", rule(schema.items), bounds(undefined, schema.maxItems)];
    case "object":
      if (schema.properties) return ["object of ", between(Object.keys(schema.properties).map(code), ", ")];
      if (typeof schema.additionalProperties === "object") return ["object whose values are ", rule(schema.additionalProperties)];
  }
  return String(schema.type);
}

/** Bounds in words; the largest integer that JSON has everywhere is none. */
function bounds(least, most, of = "") {
  const shown = (number) => number.toLocaleString("en");
  const bounded = most !== undefined && most < Number.MAX_SAFE_INTEGER;
  if (least !== undefined && bounded) return `, ${shown(least)} to ${shown(most)}${of}`;
  if (bounded) return `, at most ${shown(most)}${of}`;
  return least === undefined ? "" : `, at least ${shown(least)}${of}`;
}

/** Text in backquotes is code, and a paragraph is a line. */
function marked(text) {
  return between(text.split("\n\n").map((line) => line.split("`").map((part, n) => (n % 2 ? code(part) : part))), () => h("br"));
}

function example({ example }) {
  return example !== undefined && h("pre", {}, typeof example === "string" ? example : JSON.stringify(example, null, 2));
}

function between(parts, separator) {
  return parts.flatMap((part, n) => (n ? [typeof separator === "function" ? separator() : separator, part] : [part]));
}

function row(...cells) {
  return cells.map((cell) => h("td", {}, cell));
}

function code(text) {
  return h("code", {}, text);
}

function link(id, text) {
  return h("a", { href: `#${id}` }, text);
}

function anchor(name) {
  return `group-${name.toLowerCase().replaceAll(" ", "-")}`;
}
