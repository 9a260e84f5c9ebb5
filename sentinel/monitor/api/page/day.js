// The day of a market: a cell for each minute of the last 24 hours, a row for each hour since the first there is. How much of a cell is red is how
// much of the minute's book is missing; what is wrong with trades is a mark, so nobody has to tell colours apart.

const MINUTE = 60000, HOUR = 3600000, FEWEST_HOURS = 6;

class Day {
  constructor() {
    this.figure = byId("day");
    this.canvas = el("canvas");
    this.canvas.tabIndex = 0;
    this.canvas.setAttribute("role", "img");
    this.canvas.setAttribute("aria-label", "coverage of the day: not read yet");
    const box = this.figure.appendChild(el("div", undefined, "plot"));
    this.box = box;
    box.append(this.canvas);
    this.hours = FEWEST_HOURS;
    this.rowHeight = 11;
    this.legend = this.figure.appendChild(el("figcaption"));
    this.cells = [];
    this.chosen = null;
    this.report = null;
    this.canvas.addEventListener("pointermove", (event) => this.point(event));
    this.canvas.addEventListener("pointerleave", () => this.leave());
    this.canvas.addEventListener("blur", () => this.leave());
    this.canvas.addEventListener("keydown", (event) => this.key(event));
    new ResizeObserver(() => this.draw()).observe(box);
    addEventListener("recoloured", () => this.draw());
  }

  // `product` is a market's part of the report; null if nothing was collected
  show(product, nowMs) {
    this.report = product;
    const hour = Math.floor(nowMs / HOUR), first = product ? Math.floor(product.window.start_ns / 1e6 / HOUR) : hour;
    this.hours = Math.min(24, Math.max(FEWEST_HOURS, hour - first + 1));
    this.rowHeight = this.hours > 12 ? 11 : 15;
    this.box.style.height = this.hours * this.rowHeight + 14 + "px";
    this.start = (hour - this.hours + 1) * HOUR;
    this.now = nowMs;
    this.cells = product ? minutesOf(product, this.start, nowMs, this.hours * 60) : [];
    const touched = this.cells.filter((cell) => cell && cell.isDue), flawed = touched.filter((cell) => cell.lost > 0 || cell.tradesMissing);
    const words = !product ? "nothing collected" : flawed.length ? `something missing in ${count(flawed.length)} of ${plural(touched.length, "minute")}`
      : `all there in ${plural(touched.length, "minute")}`;
    setText(byId("day-sum"), words);
    this.canvas.setAttribute("aria-label", `Coverage of ${chart.symbol}, last 24 hours: ${words}. Arrow keys read it.`);
    this.draw();
  }

  get labels() { return 34; }
  get cellWidth() { return (this.canvas.clientWidth - this.labels) / 60; }

  draw() {
    const wide = this.canvas.clientWidth, ratio = window.devicePixelRatio || 1, high = this.hours * this.rowHeight + 14;
    if (!wide || !colours.ink || this.start === undefined) return;
    this.canvas.width = Math.round(wide * ratio);
    this.canvas.height = Math.round(high * ratio);
    const g = this.canvas.getContext("2d");
    g.setTransform(ratio, 0, 0, ratio, 0, 0);
    g.font = "10px system-ui, sans-serif";
    g.textBaseline = "middle";
    for (let hour = 0; hour < this.hours; hour++) {
      g.fillStyle = colours.soft;
      g.fillText(clock(this.start + hour * HOUR).slice(0, 5), 0, hour * this.rowHeight + this.rowHeight / 2);
      for (let minute = 0; minute < 60; minute++) this.cell(g, hour * 60 + minute);
    }
    g.fillStyle = colours.soft;
    g.textAlign = "center";
    for (const minute of [0, 15, 30, 45]) g.fillText(":" + String(minute).padStart(2, "0"), this.labels + (minute + .5) * this.cellWidth + 4, this.hours * this.rowHeight + 8);
    this.drawLegend();
  }

  cell(g, at) {
    const x = this.labels + at % 60 * this.cellWidth, y = Math.floor(at / 60) * this.rowHeight;
    paintCell(g, this.cells[at], x + .5, y + .5, Math.max(1, this.cellWidth - 1), this.rowHeight - 1);
    if (at === this.chosen) { g.strokeStyle = colours.ink; g.lineWidth = 1.5; g.strokeRect(x, y, this.cellWidth, this.rowHeight); }
  }

  drawLegend() {
    const kinds = [["all there", due({})], ["part of the book missing", due({ lost: .5 })], ["trades missing", due({ tradesMissing: 1 })],
      ["trades repaired", due({ tradesRepaired: 1 })], ["not collected", due({ uncollected: 1 })], ["before the first, or to come", null]];
    this.legend.replaceChildren(...kinds.map(([words, cell]) => {
      const key = el("span", undefined, "key"), box = el("canvas");
      box.width = 24; box.height = 20;
      box.style.width = "12px"; box.style.height = "10px";
      box.setAttribute("aria-hidden", "true");
      const g = box.getContext("2d");
      g.scale(2, 2);
      paintCell(g, cell, .5, .5, 11, 9);
      key.append(box, words);
      return key;
    }));
  }

  words(at) {
    const cell = this.cells[at], from = this.start + at * MINUTE, words = [moment(from).slice(0, 16) + " UTC"];
    if (from > this.now) words.push("to come");
    else if (!cell || !cell.isDue) words.push("not collected yet");
    else if (!cell.gaps.length) words.push("all there");
    else {
      if (cell.lost > 0) words.push((cell.lost * 60).toFixed(1) + " s of the book missing");
      for (const gap of cell.gaps.slice(0, 6)) words.push(`${gap.channel}: ${causeOf(gap)}, ${whatOf(gap)}`);
      if (cell.gaps.length > 6) words.push(`and ${cell.gaps.length - 6} more`);
    }
    return words.join("\n");
  }

  choose(at, x, y) {
    this.chosen = at;
    this.draw();
    showTip(this.words(at), x, y);
  }

  point(event) {
    const column = Math.floor((event.offsetX - this.labels) / this.cellWidth), row = Math.floor(event.offsetY / this.rowHeight);
    if (column < 0 || column > 59 || row < 0 || row >= this.hours || !this.report) return this.leave();
    this.choose(row * 60 + column, event.clientX, event.clientY);
  }

  leave() {
    if (this.chosen === null) return;
    this.chosen = null;
    this.draw();
    byId("tip").hidden = true;
  }

  key(event) {
    const moves = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -60, ArrowDown: 60 };
    if (event.key === "Escape") return this.leave();
    if (!(event.key in moves) || !this.report) return;
    event.preventDefault();
    const newest = Math.floor((this.now - this.start) / MINUTE), at = this.chosen === null ? newest : this.chosen + moves[event.key];
    const here = this.canvas.getBoundingClientRect(), chosen = Math.max(0, Math.min(this.hours * 60 - 1, at));
    this.choose(chosen, here.left + this.labels + chosen % 60 * this.cellWidth, here.top + Math.floor(chosen / 60) * this.rowHeight);
    say(this.words(chosen));
  }
}

const due = (more) => ({ isDue: true, lost: 0, uncollected: 0, tradesMissing: 0, tradesRepaired: 0, gaps: [], ...more });

function paintCell(g, cell, x, y, wide, high) {
  g.fillStyle = colours.fill;
  g.fillRect(x, y, wide, high);
  if (!cell || !cell.isDue) return;
  g.fillStyle = colours.green;
  g.fillRect(x, y, wide, high);
  if (cell.lost > 0) {
    const tall = Math.min(high, Math.max(2, cell.lost * high));
    g.fillStyle = colours.red;
    g.fillRect(x, y + high - tall, wide, tall);
  }
  if (cell.uncollected > 0) {
    const tall = Math.min(high, Math.max(2, cell.uncollected * high));
    g.fillStyle = colours.fill;
    g.fillRect(x, y + high - tall, wide, tall);
    g.fillStyle = hatching(g);
    g.fillRect(x, y + high - tall, wide, tall);
  }
  const middle = x + wide / 2, r = Math.min(wide, high) / 4;
  if (cell.tradesMissing) {
    g.strokeStyle = colours.isDark ? "#000" : "#fff";
    g.lineWidth = 1.4;
    g.beginPath();
    g.moveTo(middle - r, y + high / 2 - r); g.lineTo(middle + r, y + high / 2 + r);
    g.moveTo(middle + r, y + high / 2 - r); g.lineTo(middle - r, y + high / 2 + r);
    g.stroke();
  } else if (cell.tradesRepaired) {
    g.fillStyle = colours.isDark ? "#000" : "#fff";
    g.beginPath();
    g.arc(middle, y + high / 2, Math.max(1, r * .8), 0, 7);
    g.fill();
  }
}

// the minutes from `start` on: of each what share of the book is missing, and what of the trades
function minutesOf(product, start, now, many) {
  const cells = Array(many).fill(null), first = product.window.start_ns / 1e6, last = Math.max(product.window.end_ns / 1e6, now - MINUTE);
  for (let at = 0; at < many; at++) {
    const from = start + at * MINUTE;
    if (from + MINUTE > first && from < last) cells[at] = due({ gaps: [], lostParts: [] });
  }
  for (const gap of product.gaps) {
    const from = gap.start_ns / 1e6, to = gap.end_ns === null ? now : gap.end_ns / 1e6;
    for (let at = Math.max(0, Math.floor((from - start) / MINUTE)); at <= Math.min(many - 1, Math.floor((to - start) / MINUTE)); at++) {
      const cell = cells[at], begin = start + at * MINUTE, inside = [Math.max(from, begin), Math.min(to, begin + MINUTE)];
      if (!cell || (inside[1] <= inside[0] && to > from)) continue;
      cell.gaps.push(gap);
      if (gap.cause === "not_collected") cell.uncollected += (inside[1] - inside[0]) / MINUTE;
      else if (gap.channel === "book") cell.lostParts.push(inside);
      else if (gap.repaired_count < gap.missing_count) cell.tradesMissing += 1;
      else cell.tradesRepaired += 1;
    }
  }
  for (const cell of cells) if (cell) {
    let reached = 0;
    for (const [from, to] of cell.lostParts.sort((one, other) => one[0] - other[0])) {
      cell.lost += Math.max(0, to - Math.max(from, reached)) / MINUTE;
      reached = Math.max(reached, to);
    }
  }
  return cells;
}

// what a gap cost, in words
function whatOf(gap) {
  const missing = gap.missing_count - gap.repaired_count;
  if (gap.cause === "not_collected") return count(gap.missing_count) + " samples, and the trades";
  if (gap.channel === "book") return gap.end_ns === null ? "open" : duration((gap.end_ns - gap.start_ns) / 1e9);
  return plural(gap.missing_count, "trade") + (missing ? `, ${count(missing)} missing` : ", all repaired");
}
