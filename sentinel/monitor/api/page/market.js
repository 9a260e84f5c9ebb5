// The market that is looked at: its history, read from what is stored and then kept up to date, and its day.

const SPANS = [5, 15, 30, 60], ZOOMS = [5, 10, 25, 50, 100];
const HISTORY_EVERY_MS = 2000, GAPS_EVERY_MS = 10000, DAY_EVERY_MS = 60000;
const shown = { key: "", minutes: 15, endNs: null, timer: 0, dayTimer: 0, gapTimer: 0 };

const heat = new Plot("heat", 250, "Depth over time and price", tellHeat);
const tape = new Plot("tape", 190, "Price and trades", tellTape);
const spread = new Plot("spread", 92, "Spread in basis points", tell("spread", (ms) => sampleAt(ms)?.spread_bps, " bps"));
const imbalance = new Plot("imbalance", 92, "Imbalance", tell("imbalance", (ms) => sampleAt(ms) && imbalanceOf(sampleAt(ms), imbalanceEdge())));
const latency = new Plot("latency", 92, "Latency in milliseconds", (ms) => {
  const column = tradesAt(ms), sample = sampleAt(ms), words = [clock(ms) + " UTC"];
  words.push(column && column.latency_p50_ms !== null ? `trades: median ${milliseconds(column.latency_p50_ms)}, most ${milliseconds(column.latency_most_ms)}` : "no trade as it happened");
  words.push(sample ? "age of the book: " + milliseconds(sample.age_ms) : why(ms));
  return words.join("\n");
});
const lateness = new Plot("lateness", 92, "Lateness of samples in milliseconds", (ms) => {
  const point = latestLateness(ms);
  return clock(ms) + " UTC\n" + (point ? `p50 ${milliseconds(point.p50_ms)}, p99 ${milliseconds(point.p99_ms)}, of the minute before` : "not known: the collector keeps it in memory");
});
const day = new Day();
heat.paint = paintHeat;
tape.paint = paintTape;
imbalance.paint = paintImbalance;

function take(found) {
  chart.isRead = true;
  const isNew = found.step_ns / 1e6 !== chart.step;
  chart.step = found.step_ns / 1e6;
  chart.from = found.start_ns / 1e6;
  chart.to = found.end_ns / 1e6;
  chart.samplesRead = found.samples_read_ns / 1e6;
  chart.tradesRead = found.trades_read_ns / 1e6;
  if (isNew) { chart.samples.clear(); chart.trades.clear(); }
  const edges = found.edges_bps.map(Number);
  if (edges.length && String(edges) !== String(chart.edges)) {  // other bins since a restart: the columns before lack them
    for (const sample of chart.samples.values()) for (const name of ["bid_volumes", "ask_volumes"])
      sample[name] = edges.map((edge) => { const at = chart.edges.indexOf(edge); return at < 0 ? null : sample[name][at]; });
    chart.edges = edges;
  }
  for (const sample of found.samples) {
    chart.samples.set(columnOf(sample.time_ns / 1e6), sample);
    if (sample.bid !== null) { price(chart.key, sample.bid); price(chart.key, sample.ask); }
  }
  for (const column of found.trades) chart.trades.set(column.time_ns / 1e6, column);
  for (const columns of [chart.samples, chart.trades]) for (const ms of columns.keys()) if (ms < chart.from) columns.delete(ms);
  chart.lateness = chart.lateness.concat(found.lateness).filter((point) => point.time_ns / 1e6 >= chart.from);
}

function paintAll() {
  for (const plot of plots) plot.span = { from: chart.from, to: chart.to };
  const samples = inOrder(chart.samples), dealt = inOrder(chart.trades), half = chart.step / 2;
  series(spread, [[samples.map(([ms, sample]) => [ms + half, sample.spread_bps]), "ink"]], { floor: 0, apart: nextTo() });
  series(latency, [
    [samples.map(([ms, sample]) => [ms + half, sample.age_ms]), "soft"],
    [dealt.map(([ms, column]) => [ms + half, column.latency_most_ms]), "amber"],
    [dealt.map(([ms, column]) => [ms + half, column.latency_p50_ms]), "ink"],
  ], { log: true });
  const late = (name) => chart.lateness.map((point) => [point.time_ns / 1e6, point[name]]);
  series(lateness, [[late("p99_ms"), "amber"], [late("p50_ms"), "ink"]], { log: true, nothing: "nothing measured yet" });
  const edge = chart.edges[imbalanceEdge()];
  setText(byId("imbalance-key"), edge === undefined ? "" : `of what rests within ${edge} bps of mid`);
  imbalance.says(`Imbalance of ${chart.symbol} within ${edge} bps. Arrow keys read it.`);
  redraw();
  drawKeys();
}

function drawKeys() {
  const key = byId("heat-key");
  if (!key.firstChild) {
    const box = key.appendChild(el("canvas"));
    box.width = 120; box.height = 20;
    box.style.width = "60px"; box.style.height = "10px";
    box.setAttribute("aria-hidden", "true");
    key.append("", "");
    key.append(el("span"));
  }
  const g = key.firstChild.getContext("2d");
  for (let x = 0; x < 120; x++) { g.clearRect(x, 0, 1, 20); g.fillStyle = shade(x / 120); g.fillRect(x, 0, 1, 20); }
  if (heat.densities) setText(key.lastChild, `${size(10 ** heat.densities[0])} to ${size(10 ** heat.densities[1])} for each 1.00 of price`);
  for (const box of document.querySelectorAll("canvas.hatched")) {
    const h = box.getContext("2d");
    h.clearRect(0, 0, box.width, box.height);
    h.fillStyle = hatching(h);
    h.fillRect(0, 0, box.width, box.height);
  }
}

async function ask(path) {
  const answer = await fetch(address(path));
  if (answer.ok) return answer.json();
  if (answer.status === 401) throw new Error("the token is not accepted any more: load the page again");
  const { detail } = await answer.json().catch(() => ({}));
  throw new Error(detail || `the collector answered ${answer.status}`);
}

// each of the three readings asks again some time after its last answer; what comes for another market is dropped
async function repeat(name, every, read) {
  clearTimeout(shown[name]);
  const { key, minutes } = shown, isCurrent = () => shown.key === key && shown.minutes === minutes;
  if (!key) return;
  try {
    if (!known.lost && !document.hidden) await read(key, isCurrent);
    chart.failed = "";
  } catch (error) {
    chart.failed = error.message;
    if (!chart.isRead) paintAll();
  }
  if (isCurrent()) { clearTimeout(shown[name]); shown[name] = setTimeout(() => repeat(name, every, read), every); }
}

async function readHistory(key, isCurrent) {
  const after = shown.endNs === null ? "" : "&after_ns=" + shown.endNs;
  const found = await ask(`sentinel/history/${key.split("/").map(encodeURIComponent).join("/")}?minutes=${shown.minutes}${after}`);
  if (!isCurrent()) return;
  shown.endNs = found.end_ns;
  take(found);
  paintAll();
}

const reportOf = async (key, seconds) => (await ask(`sentinel/gaps?since_s=${seconds}&market=${encodeURIComponent(key)}`)).products[0] || null;

async function readGaps(key, isCurrent) {
  const product = await reportOf(key, (shown.minutes + 1) * 60);
  if (!isCurrent()) return;
  chart.gaps = product ? product.gaps : [];
  chart.begun = product ? product.window.start_ns / 1e6 : null;
  paintAll();
}

async function readDay(key, isCurrent) {
  const product = await reportOf(key, 86400), now = known.latest.status.now_ns / 1e6;
  if (!isCurrent()) return;
  day.show(product, now);
  listGaps(product ? product.gaps : []);
}

const MOST_GAPS = 100;
function listGaps(gaps) {
  const newest = [...gaps].reverse(), list = newest.slice(0, MOST_GAPS);
  setText(byId("gap-head"), gaps.length ? `Gaps of the day: ${count(gaps.length)}` + (gaps.length > MOST_GAPS ? `, the newest ${MOST_GAPS} here, all in the report` : "") : "Gaps of the day: none");
  rows(byId("gaps"), list.map((gap) => {
    const isOpen = gap.end_ns === null, isWhole = gap.channel === "trades" && gap.repaired_count >= gap.missing_count;
    const seq = gap.start_seq === null ? "" : `${gap.channel === "trades" ? "ids" : "frames"} ${gap.start_seq}` + (gap.end_seq === gap.start_seq ? "" : ` to ${gap.end_seq}`);
    const what = gap.channel === "book" ? seq || "–" : [seq, whatOf(gap)].filter(Boolean).join(": ");
    return [moment(gap.start_ns / 1e6), isOpen ? ["open", "bad-word"] : duration((gap.end_ns - gap.start_ns) / 1e9), gap.channel, causeOf(gap),
      [what, isWhole ? "wide good-word" : "wide"]];
  }));
}

function look(key, minutes) {
  if (shown.key === key && shown.minutes === minutes) return;
  const isOther = shown.key !== key;
  Object.assign(shown, { key, minutes, endNs: null });
  Object.assign(chart, { key, symbol: key, samples: new Map(), trades: new Map(), lateness: [], edges: [], isRead: false });
  heat.densities = null;
  if (isOther) { chart.gaps = []; chart.begun = null; byId("gaps").replaceChildren(); setText(byId("gap-head"), "Gaps"); }
  repeat("timer", HISTORY_EVERY_MS, readHistory);
  repeat("gapTimer", GAPS_EVERY_MS, readGaps);
  if (isOther) repeat("dayTimer", DAY_EVERY_MS, readDay);
}

// the live part: from the status, once a second

function drawMarket(product) {
  const box = byId("market"), find = (name) => box.querySelector(name), key = keyOf(product);
  const [state, name] = stateOf(product);
  chart.symbol = nameOf(product);
  setText(byId("market-name"), nameOf(product));
  setText(find(".state"), state);
  setClass(find(".state"), "chip state " + name);
  setText(find(".integrity"), "integrity: " + product.integrity);
  if (product.bid === null) setText(find(".price"), "no sample yet");
  else {
    const [main, small] = find(".price").children.length === 1 ? [find(".price").firstChild, find(".price").lastChild] : [document.createTextNode(""), el("small")];
    if (small.parentNode !== find(".price")) find(".price").replaceChildren(main, small);
    main.data = price(key, product.bid) + " / " + price(key, product.ask);
    setText(small, `${product.spread_bps.toFixed(3)} bps, sample ${duration(product.sample_age_ms / 1000)} old`);
  }
  const proof = product.trade_proof === "none" ? "nothing proves its trades" : plural(product.trades_missing, "trade") + " missing";
  setText(byId("market-note"), `since the start: ${plural(product.trades_stored, "trade")}, ${proof}` +
    (product.trades_given_up ? `, ${count(product.trades_given_up)} given up` : "") + `; ${plural(product.samples_written, "sample")}, ${count(product.samples_withheld)} withheld. ` +
    `Lateness of the last minute: p50 ${milliseconds(product.lateness.p50_ms)}, p99 ${milliseconds(product.lateness.p99_ms)}.` +
    (chart.failed ? ` History: ${chart.failed}.` : ""));
  drawDepth(find(".depth"), product);
}

function drawDepth(box, product) {
  const most = Math.max(...product.bins.flatMap((bin) => [bin.bid_volume, bin.ask_volume]), 1e-12);
  if (box.children.length !== product.bins.length * 3) box.replaceChildren(...product.bins.flatMap(() => ["bar bid", "", "bar ask"].map((name) => {
    if (!name) return el("b");
    const bar = el("div", undefined, name);
    bar.append(el("i"), el("span"));
    return bar;
  })));
  product.bins.forEach((bin, at) => {
    const [bid, middle, ask] = [0, 1, 2].map((each) => box.children[at * 3 + each]);
    setText(middle, bin.bps + " bps");
    for (const [bar, volume] of [[bid, bin.bid_volume], [ask, bin.ask_volume]]) {
      bar.firstChild.style.width = `calc((100% - 46px) * ${volume / most})`;
      setText(bar.lastChild, size(volume));
    }
  });
}

function prepareControls() {
  byId("spans").append(...SPANS.map((minutes) => {
    const button = el("button", minutes + " min");
    button.addEventListener("click", () => asked.set({ minutes: String(minutes) }));
    return button;
  }));
  byId("zoom").append(...ZOOMS.map((bps) => { const option = el("option", `± ${bps} bps`); option.value = bps; return option; }));
  byId("zoom").addEventListener("change", (event) => asked.set({ zoom: event.target.value }));
}

function readControls() {
  const minutes = SPANS.find((each) => String(each) === asked.get("minutes")) || 15;
  chart.zoom = ZOOMS.find((each) => String(each) === asked.get("zoom")) || 25;
  byId("zoom").value = chart.zoom;
  [...byId("spans").children].forEach((button, at) => button.setAttribute("aria-pressed", String(SPANS[at] === minutes)));
  return minutes;
}
