// Reads the server’s metrics every two seconds, for as long as the page is visible.

import { flow, rate } from "./flow.js";
import { Measured, parse } from "./metrics.js";
import { Picture } from "./picture.js";

const EVERY_MS = 2_000;

const picture = new Picture(document.querySelector("#picture"));
const state = document.querySelector("#state");
const figures = document.querySelector("#figures");

let before = null;

async function look() {
  const [metrics, ready] = await Promise.all([fetched("/metrics"), fetched("/readyz")]);
  if (metrics === null) {
    say("alarm", "This server does not answer. Trying again …");
    before = null;
    return;
  }
  const now = { at: performance.now(), series: parse(await metrics.text()) };
  const seen = flow(new Measured(before?.series ?? null, now.series, before ? (now.at - before.at) / 1000 : 1));
  picture.show(seen);
  tabulate(seen);
  const version = now.series.get("falcon_build_info")?.[0]?.labels.version ?? "?";
  say(ready?.ok ? "good" : "warn", `${ready?.ok ? "Ready" : "Not ready"}. Falcon ${version}.`);
  before = now;
}

function say(kind, text) {
  if (state.textContent === text) return; // a screen reader would say it again
  state.className = kind;
  state.textContent = text;
}

function tabulate({ boxes, ways }) {
  const rows = Object.values(boxes).flatMap(({ title, figures, present, state }) =>
    present ? figures.map(([what, text]) => [title, what, text, state]) : [],
  );
  for (const [name, a_second] of Object.entries(ways)) rows.push([name.replace("-", " → "), "flow", rate(a_second), ""]);
  figures.replaceChildren(...rows.map(row));
}

function row([part, what, text, kind]) {
  const made = document.createElement("tr");
  made.className = kind;
  for (const [position, cell] of [part, what, text].entries()) {
    const each = document.createElement(position === 0 ? "th" : "td");
    if (position === 0) each.scope = "row";
    each.textContent = cell;
    made.append(each);
  }
  return made;
}

async function fetched(path) {
  try {
    const answer = await fetch(path, { cache: "no-store", headers: { Accept: "text/plain" } });
    return answer.ok || path === "/readyz" ? answer : null;
  } catch {
    return null;
  }
}

async function watch() {
  for (;;) {
    if (!document.hidden) await look();
    else before = null;
    await new Promise((done) => setTimeout(done, EVERY_MS));
  }
}

void watch();
