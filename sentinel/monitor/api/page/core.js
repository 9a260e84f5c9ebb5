"use strict";
// What all parts of the page share: addresses, elements, words for numbers and times, and what the address says.
// Whatever a venue or the collector sends becomes text, never markup.

const byId = (id) => document.getElementById(id);
const token = new URLSearchParams(location.search).get("token");
// below the page itself, wherever a proxy may have put it, also if it left out the last slash
const base = location.origin + location.pathname.replace(/\/*$/, "/");
const address = (path) => base + path + (token ? (path.includes("?") ? "&" : "?") + "token=" + encodeURIComponent(token) : "");

function el(tag, text, name) {
  const made = document.createElement(tag);
  if (text !== undefined) made.textContent = text;
  if (name) made.className = name;
  return made;
}

// only what has changed is touched: 400 rows a second cost next to nothing, and a screen reader is not told twice
function setText(node, text) { if (node.textContent !== text) node.textContent = text; }
function setClass(node, name) { if (node.className !== name) node.className = name; }

// made once: to make one takes longer than to use it a hundred times
const formats = new Map();
function formatted(value, most, least = most) {
  const key = most * 100 + least;
  if (!formats.has(key)) formats.set(key, new Intl.NumberFormat("en-US", { minimumFractionDigits: least, maximumFractionDigits: most }));
  return formats.get(key).format(value);
}
const count = (value) => formatted(value, 3, 0);
const size = (value) => value === 0 ? "0" : value >= 1e9 ? (value / 1e9).toFixed(1) + "G" : value >= 1e6 ? (value / 1e6).toFixed(1) + "M"
  : value >= 1000 ? (value / 1000).toFixed(1) + "k" : value >= 10 ? value.toFixed(1) : value.toPrecision(3);
const bytes = (value) => value >= 1e12 ? (value / 1e12).toFixed(1) + " TB" : value >= 1e9 ? (value / 1e9).toFixed(1) + " GB"
  : (value / 1e6).toFixed(1) + " MB";
const milliseconds = (value) => value >= 10000 ? duration(value / 1000) : value >= 100 ? Math.round(value) + " ms" : value.toFixed(1) + " ms";
const plural = (value, word) => count(value) + " " + word + (value === 1 ? "" : "s");

function duration(seconds) {
  const parts = [[86400, "d"], [3600, "h"], [60, "min"]];
  for (let at = 0; at < parts.length; at++) {
    const [length, unit] = parts[at];
    if (seconds < length) continue;
    const whole = Math.floor(seconds / length), next = parts[at + 1];
    const rest = next ? Math.floor(seconds % length / next[0]) : 0;
    return whole + " " + unit + (rest ? " " + rest + " " + next[1] : "");
  }
  return seconds >= 10 || Number.isInteger(seconds) ? Math.floor(seconds) + " s" : seconds.toFixed(1) + " s";
}

const moment = (ms) => new Date(ms).toISOString().replace("T", " ").slice(0, 19);
const clock = (ms) => new Date(ms).toISOString().slice(11, 19);

// a market's prices all have the digits of the longest one seen, so that they stand still
const digits = new Map();
function digitsOf(value) {
  const [mantissa, exponent] = String(value).split("e");
  const own = (mantissa.split(".")[1] || "").length;
  return Math.min(12, Math.max(0, own - Number(exponent || 0)));
}
function price(key, value) {
  if (value === null || value === undefined) return "–";
  const most = Math.max(digits.get(key) || 0, digitsOf(value));
  digits.set(key, most);
  return formatted(value, most);
}
// a figure between prices, such as a mean, has no digits of its own
const about = (key, value) => formatted(value, digits.get(key) || 0);

const keyOf = (product) => product.exchange + ":" + product.symbol;
const mayBeSilent = (product) => !product.is_listed || (product.state !== "trading" && !product.is_proved);
const CAUSES = JSON.parse(byId("causes").textContent);
const causeOf = (gap) => CAUSES[gap.cause] || gap.cause;

// what is looked at stands in the address, so that it survives a reload and can be sent to a colleague
const asked = {
  read() {
    const text = location.hash.slice(1);
    return text && !text.includes("=") ? new URLSearchParams("exchange=" + text) : new URLSearchParams(text);
  },
  get(name) { return this.read().get(name) || ""; },
  with(changes) {
    const found = this.read();
    for (const [name, value] of Object.entries(changes)) value ? found.set(name, value) : found.delete(name);
    return "#" + found.toString();
  },
  set(changes) {
    history.replaceState(null, "", this.with(changes));
    dispatchEvent(new HashChangeEvent("hashchange"));
  },
};

// what the page knows; `lost` from the moment on at which it does not hear from the collector
const known = { latest: null, lost: false, heardMs: 0, exchanges: new Set() };
const nameOf = (product) => known.exchanges.size > 1 ? keyOf(product) : product.symbol;

function stateOf(product) {
  if (known.lost) return ["unknown", "", 3];
  if (product.is_proved) return ["proved", "good", 4];
  if (mayBeSilent(product)) return [product.is_listed ? product.state : "delisted", "", 2];
  return ["not proved", "bad", 0];
}

function facts(list, pairs) {
  if (list.children.length !== pairs.length) list.replaceChildren(...pairs.map(() => {
    const box = el("div");
    box.append(el("dt"), el("dd"));
    return box;
  }));
  pairs.forEach(([name, value], at) => {
    setText(list.children[at].firstChild, name);
    setText(list.children[at].lastChild, value);
  });
}

// rows of a table, changed in place; a cell is a text, or a text and its class
function rows(body, lines) {
  while (body.children.length > lines.length) body.lastChild.remove();
  lines.forEach((cells, at) => {
    const row = body.children[at] || body.appendChild(el("tr"));
    while (row.children.length > cells.length) row.lastChild.remove();
    cells.forEach((cell, column) => {
      const [text, name] = Array.isArray(cell) ? cell : [cell, ""];
      const box = row.children[column] || row.appendChild(el("td"));
      setText(box, String(text));
      setClass(box, name);
    });
  });
}
