// What a market's charts show: painters, each given the plot it paints on, and the words for a time on it.

const chart = {
  key: "", symbol: "", step: 1000, from: 0, to: 1, edges: [], samples: new Map(), trades: new Map(), lateness: [], gaps: [],
  samplesRead: 0, tradesRead: 0, begun: null, zoom: 25, isRead: false, failed: "",
};
const columnOf = (ms) => Math.floor(ms / chart.step) * chart.step;
const sampleAt = (ms) => chart.samples.get(columnOf(ms));
const tradesAt = (ms) => chart.trades.get(columnOf(ms));
const inOrder = (columns) => [...columns.entries()].sort((one, other) => one[0] - other[0]);

// light to dark on a light page, dark to light on a dark one: more is always further from the page
const PALETTES = {
  dark: [[22, 29, 38], [38, 52, 110], [30, 110, 160], [50, 175, 150], [190, 220, 90], [255, 240, 150]],
  light: [[255, 255, 255], [205, 228, 245], [120, 185, 225], [50, 125, 185], [50, 65, 140], [35, 15, 80]],
};
const LOST = { dark: [[22, 29, 38], [130, 136, 144]], light: [[255, 255, 255], [120, 126, 134]] };
function shade(t) {
  const stops = (known.lost ? LOST : PALETTES)[colours.isDark ? "dark" : "light"];
  const at = Math.max(0, Math.min(.9999, t)) * (stops.length - 1), low = stops[Math.floor(at)], high = stops[Math.floor(at) + 1];
  const mixed = low.map((value, channel) => value + (high[channel] - value) * (at % 1));
  return `rgb(${mixed.map(Math.round).join(",")})`;
}

// the pieces between the edges: from which price to which, and how much rests there for each unit of price
function pieces(sample) {
  const mid = (sample.bid + sample.ask) / 2, found = [];
  for (const [side, volumes, sign, best] of [["bid", sample.bid_volumes, -1, sample.bid], ["ask", sample.ask_volumes, 1, sample.ask]]) {
    let inside = 0, near = best;
    chart.edges.forEach((edge, at) => {
      const volume = volumes[at], far = mid * (1 + sign * edge / 1e4);
      if (volume === null || sign * (far - near) <= 0) return;
      found.push({ side, near, far, volume: volume - inside, density: (volume - inside) / Math.abs(far - near), edge, from: at ? chart.edges[at - 1] : 0 });
      inside = volume;
      near = far;
    });
  }
  return found;
}

// times without samples as [from, to, cause]; the last seconds are not stored yet, so nothing is said of them
function unsampled() {
  const found = chart.gaps.filter((gap) => gap.channel === "book").map((gap) =>
    [gap.start_ns / 1e6, gap.end_ns === null ? chart.to : gap.end_ns / 1e6, causeOf(gap)]).filter(([from, to]) => to > chart.from && from < chart.to);
  if (chart.begun !== null && chart.begun > chart.from) found.push([chart.from, chart.begun, "not collected yet"]);
  if (chart.samplesRead > chart.from) found.push([chart.from, chart.samplesRead, "further back than is read at once"]);
  return found;
}

function paintHatched(g, plot) {
  g.fillStyle = hatching(g);
  for (const [from, to] of unsampled()) {
    const x = plot.x(Math.max(from, chart.from)), wide = plot.x(Math.min(to, chart.to)) - x;
    g.fillRect(x, 0, Math.max(2, wide), plot.bottom);
  }
}

const paintNothing = (g, plot, words) => {
  plot.scale = { low: 0, high: 1, ticks: [] };
  g.fillStyle = colours.soft;
  g.textAlign = "center";
  g.textBaseline = "middle";
  g.fillText(chart.isRead ? words : chart.failed || "reading what is stored…", plot.right / 2, plot.bottom / 2);
};

function paintHeat(g, plot) {
  const samples = inOrder(chart.samples).filter(([ms, sample]) => sample.bid !== null && ms >= chart.from);
  if (!samples.length) { paintHatched(g, plot); return paintNothing(g, plot, "no samples in this time"); }
  const mids = samples.map(([, sample]) => (sample.bid + sample.ask) / 2), reach = chart.zoom / 1e4;
  plot.scale = { low: Math.min(...mids) * (1 - reach), high: Math.max(...mids) * (1 + reach), name: (value) => about(chart.key, value) };
  const parts = samples.map(([, sample]) => pieces(sample));
  const shown = parts.flat().filter((piece) => piece.density > 0 && piece.from < chart.zoom).map((piece) => Math.log10(piece.density)).sort((one, other) => one - other);
  const low = shown[Math.floor(shown.length * .02)] || 0, high = Math.max(shown[Math.floor(shown.length * .99)] || 1, low + .1);
  const wide = Math.ceil(plot.x(chart.from + chart.step) - plot.x(chart.from)) + .5;
  samples.forEach(([ms], at) => {
    const x = plot.x(ms);
    for (const piece of parts[at]) {
      const top = Math.min(plot.y(piece.near), plot.y(piece.far)), tall = Math.abs(plot.y(piece.near) - plot.y(piece.far));
      g.fillStyle = shade(piece.density > 0 ? .12 + .88 * (Math.log10(piece.density) - low) / (high - low) : 0);
      g.fillRect(x, top, wide, Math.max(.75, tall));
    }
  });
  paintHatched(g, plot);
  line(g, plot, samples.map(([ms, sample]) => [ms + chart.step / 2, (sample.bid + sample.ask) / 2]), colours.isDark ? "#fff" : "#111", 1.4);
  plot.densities = [low, high];
  plot.says(`Depth of ${chart.symbol} over ${duration((chart.to - chart.from) / 1000)}, mid from ${about(chart.key, Math.min(...mids))} to ` +
    `${about(chart.key, Math.max(...mids))}, ${plural(samples.length, "column")}, ${plural(unsampled().length, "time")} not sampled. Arrow keys read it.`);
}

// points further apart are not joined: nothing is known between them
const nextTo = () => 1.6 * chart.step, afar = () => 3 * chart.step + 6000;
function line(g, plot, points, colour, wide = 1.3, apart = nextTo()) {
  g.strokeStyle = colour;
  g.lineWidth = wide;
  g.lineJoin = "round";
  g.beginPath();
  let before = -Infinity;
  for (const [ms, value] of points) {
    if (value === null || value === undefined) { before = -Infinity; continue; }
    const x = plot.x(ms), y = plot.y(value);
    if (ms - before > apart) { g.moveTo(x - .5, y); g.lineTo(x + .5, y); } else g.lineTo(x, y);
    before = ms;
  }
  g.stroke();
}

function paintTape(g, plot) {
  const samples = inOrder(chart.samples).filter(([, sample]) => sample.bid !== null), dealt = inOrder(chart.trades).filter(([ms]) => ms >= chart.from);
  const values = [...samples.flatMap(([, sample]) => [sample.bid, sample.ask]), ...dealt.flatMap(([, column]) => [column.low, column.high])];
  if (!values.length) { paintHatched(g, plot); return paintNothing(g, plot, "no samples and no trades in this time"); }
  const low = Math.min(...values), high = Math.max(...values), room = (high - low || high * 1e-5) * .08;
  plot.scale = { low: low - room - (high - low) * .28, high: high + room, name: (value) => about(chart.key, value) };
  paintHatched(g, plot);
  const most = Math.max(...dealt.map(([, column]) => column.buy_volume + column.sell_volume), 1e-12), wide = Math.max(1, plot.x(chart.from + chart.step) - plot.x(chart.from) - .5);
  g.globalAlpha = .55;
  for (const [ms, column] of dealt) {
    const x = plot.x(ms), whole = plot.bottom * .24, buys = column.buy_volume / most * whole, sells = column.sell_volume / most * whole;
    g.fillStyle = colours.ask;
    g.fillRect(x, plot.bottom - sells, wide, sells);
    g.fillStyle = colours.bid;
    g.fillRect(x, plot.bottom - sells - buys, wide, buys);
  }
  g.globalAlpha = 1;
  line(g, plot, samples.map(([ms, sample]) => [ms + chart.step / 2, sample.bid]), colours.soft, 1);
  line(g, plot, samples.map(([ms, sample]) => [ms + chart.step / 2, sample.ask]), colours.soft, 1);
  line(g, plot, samples.map(([ms, sample]) => [ms + chart.step / 2, (sample.bid + sample.ask) / 2]), colours.ink);
  const large = dealt.flatMap(([, column]) => column.largest), largest = Math.max(...large.map((trade) => trade.size), 1e-12);
  for (const trade of large) {
    const x = plot.x(trade.time_ns / 1e6), y = plot.y(trade.price), r = 2 + 7 * Math.sqrt(trade.size / largest), up = trade.side === "buy" ? 1 : -1;
    g.globalAlpha = .8;
    g.fillStyle = up > 0 ? colours.bid : colours.ask;
    g.beginPath();
    g.moveTo(x, y - up * r); g.lineTo(x + r * .87, y + up * r / 2); g.lineTo(x - r * .87, y + up * r / 2);
    g.fill();
    if (trade.is_repaired) { g.strokeStyle = colours.amber; g.lineWidth = 1.5; g.stroke(); }
  }
  g.globalAlpha = 1;
  const total = dealt.reduce((sum, [, column]) => sum + column.count, 0);
  setText(byId("tape-key"), plural(total, "trade") + (large.some((trade) => trade.is_repaired) ? ", repaired ones with an edge" : ""));
  plot.says(`Price of ${chart.symbol} from ${about(chart.key, low)} to ${about(chart.key, high)}, ${plural(total, "trade")}. Arrow keys read it.`);
}

function series(plot, sets, options) {
  const values = sets.flatMap(([points]) => points.map(([, value]) => value)).filter((value) => Number.isFinite(value) && (!options.log || value > 0));
  if (!values.length) { plot.paint = (g) => { paintHatched(g, plot); paintNothing(g, plot, options.nothing || "nothing in this time"); }; return; }
  const low = Math.min(...values), high = Math.max(...values), room = (high - low || Math.abs(high) || 1) * .08;
  if (options.log) {
    const from = 10 ** Math.floor(Math.log10(low)), to = 10 ** Math.ceil(Math.log10(high * 1.0001)), powers = [];
    for (let at = from; at <= to * 1.01; at *= 10) powers.push(at);
    plot.scale = { low: from, high: to, log: true, ticks: powers, name: (value) => value >= 1000 ? count(value) : String(Number(value.toPrecision(2))) };
  } else plot.scale = { low: Math.max(options.floor ?? -Infinity, low - room), high: high + room, name: (value) => String(Number(value.toPrecision(4))) };
  plot.paint = (g) => {
    paintHatched(g, plot);
    for (const [points, colour] of sets) line(g, plot, points, colours[colour], 1.3, options.apart || afar());
  };
  plot.says(`${plot.label} of ${chart.symbol}: now ${Number(values[values.length - 1].toPrecision(4))}, from ${Number(low.toPrecision(4))} to ${Number(high.toPrecision(4))}. Arrow keys read it.`);
}

const imbalanceEdge = () => { const at = chart.edges.findIndex((edge) => edge >= 10); return at < 0 ? chart.edges.length - 1 : at; };
function imbalanceOf(sample, at) {
  const bids = sample.bid_volumes[at], asks = sample.ask_volumes[at];
  return bids === null || asks === null || bids === undefined || !(bids + asks) ? null : (bids - asks) / (bids + asks);
}

function paintImbalance(g, plot) {
  const at = imbalanceEdge(), wide = Math.max(1, plot.x(chart.from + chart.step) - plot.x(chart.from));
  plot.scale = { low: -1, high: 1, ticks: [-1, 0, 1], name: (value) => value === 0 ? "0" : value > 0 ? "bids" : "asks" };
  paintHatched(g, plot);
  g.globalAlpha = .8;
  for (const [ms, sample] of chart.samples) {
    const value = imbalanceOf(sample, at);
    if (value === null || ms < chart.from) continue;
    g.fillStyle = value > 0 ? colours.bid : colours.ask;
    g.fillRect(plot.x(ms), Math.min(plot.y(0), plot.y(value)), wide, Math.max(1, Math.abs(plot.y(value) - plot.y(0))));
  }
  g.globalAlpha = 1;
  g.fillStyle = colours.line;
  g.fillRect(0, plot.y(0), plot.right, 1);
}

// words for a time

function why(ms) {
  const here = unsampled().find(([from, to]) => ms >= from - chart.step / 2 && ms < to + chart.step / 2);
  if (here) return `not sampled: ${here[2]}, ${clock(here[0])} to ${clock(here[1])}`;
  return ms > chart.to - 8000 ? "not stored yet" : "no sample in this column";
}

function tellHeat(ms, value) {
  const sample = sampleAt(ms), words = [clock(ms) + " UTC"];
  if (!sample || sample.bid === null) return words.concat(why(ms)).join("\n");
  words.push(price(chart.key, sample.bid) + " / " + price(chart.key, sample.ask));
  const piece = value === null ? null : pieces(sample).find((each) => value >= Math.min(each.near, each.far) && value < Math.max(each.near, each.far));
  if (piece) words.push(`${piece.side === "bid" ? "bids" : "asks"} ${piece.from} to ${piece.edge} bps from mid: ${size(piece.volume)}`);
  if (value === null) words.push("within " + chart.edges.map((edge, at) => `${edge} bps: ${sample.bid_volumes[at] === null ? "–" : size(sample.bid_volumes[at])} / ${sample.ask_volumes[at] === null ? "–" : size(sample.ask_volumes[at])}`).join(", "));
  return words.join("\n");
}

function tellTape(ms) {
  const sample = sampleAt(ms), column = tradesAt(ms), words = [clock(ms) + " UTC"];
  words.push(sample && sample.bid !== null ? price(chart.key, sample.bid) + " / " + price(chart.key, sample.ask) : why(ms));
  if (!column) words.push(ms < chart.tradesRead ? "trades: further back than is read at once" : "no trades");
  else {
    words.push(`${plural(column.count, "trade")}: bought ${size(column.buy_volume)}, sold ${size(column.sell_volume)}` + (column.repaired ? `, ${column.repaired} repaired` : ""));
    const [first] = column.largest;
    words.push(`largest: ${first.side} ${first.size} at ${price(chart.key, first.price)}`);
  }
  return words.join("\n");
}

const tell = (name, find, unit = "") => (ms) => {
  const value = find(ms);
  return `${clock(ms)} UTC\n${name}: ` + (value === null || value === undefined ? why(ms) : Number(value.toPrecision(4)) + unit);
};
const latestLateness = (ms) => chart.lateness.findLast((point) => point.time_ns / 1e6 <= ms + 5000);
