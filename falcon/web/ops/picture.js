// The picture: boxes and arrows at fixed places, with current figures.

import { rate } from "./flow.js";

const WIDTH = 176;
const HEIGHT = 112;
const SVG = "http://www.w3.org/2000/svg";

// The middles of the boxes.
const PLACES = {
  clients: [62, 160],
  http: [250, 160],
  mailboxes: [494, 160],
  shards: [738, 160],
  journal: [982, 160],
  tables: [250, 420],
  projections: [600, 420],
  streams: [982, 420],
  listeners: [982, 540],
};

// Each arrow from one box to the next, with its corners.
const WAYS = {
  "clients-http": [[106, 160], [162, 160]],
  "http-mailboxes": [[338, 160], [406, 160]],
  "mailboxes-shards": [[582, 160], [650, 160]],
  "shards-journal": [[826, 160], [894, 160]],
  "journal-projections": [[930, 216], [930, 300], [600, 300], [600, 364]],
  "projections-tables": [[512, 420], [338, 420]],
  "tables-http": [[250, 364], [250, 216]],
  "journal-streams": [[1020, 216], [1020, 364]],
  "streams-listeners": [[982, 476], [982, 522]],
};

const LABELS = {
  "clients-http": [134, 140, "requests"],
  "http-mailboxes": [372, 140, "commands"],
  "mailboxes-shards": [616, 140, "commands"],
  "shards-journal": [860, 140, "events"],
  "journal-projections": [765, 292, "events"],
  "projections-tables": [425, 408, "applied"],
  "tables-http": [250, 294, "reads"],
  "journal-streams": [1020, 294, "events"],
  "streams-listeners": [1060, 506, "deliveries"],
};

export class Picture {
  #boxes = {};
  #ways = {};

  constructor(svg) {
    for (const [name, corners] of Object.entries(WAYS)) this.#ways[name] = new Way(svg, corners, LABELS[name]);
    for (const [name, place] of Object.entries(PLACES)) {
      if (name === "clients" || name === "listeners") plain(svg, place, name);
      else this.#boxes[name] = new Box(svg, place);
    }
  }

  show({ boxes, ways }) {
    for (const [name, box] of Object.entries(boxes)) this.#boxes[name].show(box);
    for (const [name, a_second] of Object.entries(ways)) {
      const ends = name.split("-").map((each) => boxes[each]?.present ?? true);
      this.#ways[name].show(a_second, ends.every(Boolean));
    }
  }
}

class Box {
  constructor(svg, [x, y]) {
    this.group = add(svg, "g");
    add(this.group, "rect", { class: "box", x: x - WIDTH / 2, y: y - HEIGHT / 2, width: WIDTH, height: HEIGHT, rx: 10 });
    add(this.group, "circle", { class: "mark", cx: x + WIDTH / 2 - 16, cy: y - HEIGHT / 2 + 20, r: 6, fill: "none" });
    this.title = add(this.group, "text", { class: "title", x: x - WIDTH / 2 + 12, y: y - HEIGHT / 2 + 25 });
    this.lines = [0, 1, 2].map((line) =>
      add(this.group, "text", { class: "figure", x: x - WIDTH / 2 + 12, y: y - HEIGHT / 2 + 50 + line * 22 }),
    );
  }

  show({ title, figures, state, present }) {
    this.group.setAttribute("class", present ? state : "absent");
    this.title.textContent = title;
    figures.forEach(([what, text], line) => (this.lines[line].textContent = present ? `${what}: ${text}` : ""));
  }
}

class Way {
  constructor(svg, corners, [x, y, what]) {
    this.what = what;
    this.group = add(svg, "g");
    this.path = add(this.group, "path", { class: "way", d: `M${corners.map((each) => each.join(" ")).join(" L")}` });
    const [[fromX, fromY], [toX, toY]] = corners.slice(-2);
    const turn = (Math.atan2(toY - fromY, toX - fromX) * 180) / Math.PI;
    add(this.group, "path", { class: "head", d: "M0 0 L-11 -6 L-11 6 Z", transform: `translate(${toX} ${toY}) rotate(${turn})` });
    this.label = add(this.group, "text", { class: "rate", x, y, "text-anchor": "middle" });
  }

  /** The width of an arrow grows with its rate: ten times as much is some pixels wider. */
  show(a_second, present) {
    this.group.setAttribute("class", present ? "" : "absent");
    this.path.setAttribute("class", present && a_second > 0 ? "way flowing" : "way");
    this.path.setAttribute("stroke-width", String(2 + 2 * Math.log10(1 + a_second)));
    this.label.textContent = present ? rate(a_second) : "";
    this.label.setAttribute("aria-label", this.what);
  }
}

function plain(svg, [x, y], text) {
  add(svg, "text", { x, y: y + 5, "text-anchor": "middle", class: "title" }).textContent = text;
}

function add(parent, kind, attributes = {}) {
  const made = document.createElementNS(SVG, kind);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, String(value));
  parent.append(made);
  return made;
}
