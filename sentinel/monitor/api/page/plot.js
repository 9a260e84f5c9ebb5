// A plot: a canvas for the figures, and one above it for the cursor, which all plots of time share. It can be read with
// mouse, finger or the arrow keys; what is under the cursor is told beside it, and to a screen reader.

const GUTTER = 64, AXIS = 16;
const plots = [];
const cursor = { ms: null };
let colours = {};

function readColours() {
  const style = getComputedStyle(document.body), names = ["ink", "soft", "line", "grid", "fill", "bid", "ask", "green", "amber", "red", "hatch", "card", "link"];
  colours = Object.fromEntries(names.map((name) => [name, style.getPropertyValue("--" + name).trim()]));
  colours.isDark = matchMedia("(prefers-color-scheme: dark)").matches;
}

function hatching(g) {
  const tile = document.createElement("canvas");
  tile.width = tile.height = 6;
  const t = tile.getContext("2d");
  t.strokeStyle = colours.hatch;
  t.lineWidth = 1.4;
  for (const at of [-3, 3, 9]) { t.beginPath(); t.moveTo(at - 4, 7); t.lineTo(at + 4, -1); t.stroke(); }
  return g.createPattern(tile, "repeat");
}

// round numbers between low and high, about so many
function ticks(low, high, about) {
  const raw = (high - low) / Math.max(1, about), power = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 5, 10].map((each) => each * power).find((each) => each >= raw);
  const found = [];
  for (let at = Math.ceil(low / step) * step; at <= high + step * 1e-9; at += step) found.push(at);
  return found;
}

const TIME_STEPS_S = [10, 30, 60, 120, 300, 600, 900, 1800];

class Plot {
  constructor(id, height, label, read) {
    this.figure = byId(id);
    this.height = height;
    this.label = label;
    this.read = read;
    this.box = this.figure.appendChild(el("div", undefined, "plot"));
    this.box.style.height = height + "px";
    this.canvas = this.box.appendChild(document.createElement("canvas"));
    this.above = this.box.appendChild(document.createElement("canvas"));
    this.above.setAttribute("aria-hidden", "true");
    this.canvas.tabIndex = 0;
    this.canvas.setAttribute("role", "img");
    this.says(label + ": no data yet");
    this.paint = () => {};
    this.scale = { low: 0, high: 1 };
    this.span = { from: 0, to: 1 };
    this.canvas.addEventListener("pointermove", (event) => this.point(event.offsetX, event.offsetY, event));
    this.canvas.addEventListener("pointerleave", () => this.leave());
    this.canvas.addEventListener("blur", () => this.leave());
    this.canvas.addEventListener("keydown", (event) => this.key(event));
    new ResizeObserver(() => this.draw()).observe(this.box);
    plots.push(this);
  }

  says(words) { if (this.canvas.getAttribute("aria-label") !== words) this.canvas.setAttribute("aria-label", words); }

  get width() { return this.box.clientWidth; }
  get right() { return this.width - GUTTER; }
  get bottom() { return this.height - AXIS; }
  x(ms) { return (ms - this.span.from) / (this.span.to - this.span.from) * this.right; }
  y(value) {
    const { low, high, log } = this.scale, place = log ? Math.log10 : Number;
    return this.bottom - (place(Math.max(value, log ? low : -Infinity)) - place(low)) / (place(high) - place(low)) * this.bottom;
  }
  msAt(x) { return this.span.from + x / this.right * (this.span.to - this.span.from); }
  valueAt(y) {
    const { low, high } = this.scale;
    return low + (this.bottom - y) / this.bottom * (high - low);
  }

  context(canvas) {
    const ratio = window.devicePixelRatio || 1, wide = Math.max(1, Math.round(this.width * ratio)), high = Math.round(this.height * ratio);
    if (canvas.width !== wide || canvas.height !== high) { canvas.width = wide; canvas.height = high; }
    const g = canvas.getContext("2d");
    g.setTransform(ratio, 0, 0, ratio, 0, 0);
    g.clearRect(0, 0, this.width, this.height);
    g.font = "11px system-ui, sans-serif";
    return g;
  }

  draw() {
    if (!this.width || !colours.ink) return;
    const g = this.context(this.canvas);
    g.save();
    g.beginPath();
    g.rect(0, 0, this.right, this.bottom);
    g.clip();
    this.paint(g, this);
    g.restore();
    this.axes(g);
    this.drawCursor();
  }

  axes(g) {
    const { from, to } = this.span;
    g.textBaseline = "middle";
    g.textAlign = "left";
    let before = Infinity;
    for (const value of this.scale.ticks || ticks(this.scale.low, this.scale.high, this.height / 45)) {
      const y = this.y(value), middle = Math.min(this.bottom - 6, Math.max(6, y));
      if (y < -1 || y > this.bottom + 1 || before - middle < 12) continue;
      before = middle;
      g.fillStyle = colours.line;
      g.fillRect(0, y, 4, 1);
      g.fillRect(this.right, y, 4, 1);
      g.fillStyle = colours.soft;
      g.fillText(this.scale.name ? this.scale.name(value) : String(value), this.right + 6, middle, GUTTER - 6);
    }
    g.fillStyle = colours.line;
    g.fillRect(0, this.bottom, this.right, 1);
    const most = Math.max(2, this.right / 74), step = 1000 * (TIME_STEPS_S.find((each) => (to - from) / each / 1000 <= most) || 3600);
    g.fillStyle = colours.soft;
    g.textAlign = "center";
    for (let ms = Math.ceil(from / step) * step; ms <= to; ms += step) {
      const x = this.x(ms);
      g.fillRect(x, this.bottom, 1, 3);
      if (x > 16 && x < this.right - 16) g.fillText(clock(ms).slice(0, step % 60000 ? 8 : 5), x, this.bottom + 10);
    }
  }

  drawCursor() {
    const g = this.context(this.above);
    if (cursor.ms === null || cursor.ms < this.span.from || cursor.ms > this.span.to) return;
    g.fillStyle = colours.soft;
    g.fillRect(Math.round(this.x(cursor.ms)), 0, 1, this.bottom);
  }

  point(x, y, event) {
    if (x > this.right || x < 0) return this.leave();
    cursor.ms = this.msAt(x);
    plots.forEach((plot) => plot.drawCursor());
    showTip(this.read(cursor.ms, this.valueAt(y)), event.clientX, event.clientY);
  }

  leave() {
    cursor.ms = null;
    plots.forEach((plot) => plot.drawCursor());
    byId("tip").hidden = true;
  }

  key(event) {
    const step = (this.span.to - this.span.from) / 300, { from, to } = this.span;
    const moves = { ArrowLeft: -step, ArrowRight: step, PageUp: -step * 20, PageDown: step * 20, Home: from - to, End: to - from };
    if (event.key === "Escape") return this.leave();
    if (!(event.key in moves)) return;
    event.preventDefault();
    const at = cursor.ms === null ? to - step : cursor.ms + moves[event.key];
    cursor.ms = Math.min(to - step / 2, Math.max(from + step / 2, at));
    plots.forEach((plot) => plot.drawCursor());
    const words = this.read(cursor.ms, null), here = this.canvas.getBoundingClientRect();
    showTip(words, here.left + this.x(cursor.ms), here.top + this.height / 2);
    say(words);
  }
}

function showTip(words, x, y) {
  const tip = byId("tip");
  tip.hidden = !words;
  if (!words) return;
  setText(tip, words);
  const wide = tip.offsetWidth, high = tip.offsetHeight;
  tip.style.left = Math.max(4, Math.min(x + 14, innerWidth - wide - 4)) + "px";
  tip.style.top = Math.max(4, y + 18 + high > innerHeight ? y - high - 10 : y + 18) + "px";
}

const say = (words) => setText(byId("said"), words);

const redraw = () => plots.forEach((plot) => plot.draw());
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => { readColours(); dispatchEvent(new Event("recoloured")); redraw(); });
