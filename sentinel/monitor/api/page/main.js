// The whole: what the stream tells once a second, and what is shown when it tells nothing any more.

const SILENT_MS = 5000, AGAIN_MS = 3000;

function headline(data) {
  const due = data.status.products.filter((product) => !mayBeSilent(product));
  const proved = due.filter((product) => product.is_proved).length;
  const alarms = data.alerts.filter((alert) => !alert.acknowledged_ns).length, isGood = proved === due.length && !alarms;
  return [isGood ? "good" : "bad", proved === due.length ? "All books are proved" + (isGood ? "" : `; ${plural(alarms, "alert")}`)
    : `${count(proved)} of ${plural(due.length, "book")} ${proved === 1 ? "is" : "are"} proved`];
}

function drawHead(data) {
  const [name, words] = known.lost ? ["", "The collector does not answer"] : headline(data);
  setClass(byId("head"), known.lost ? "bad" : name);
  setText(byId("head").lastElementChild, words);
  document.title = (known.lost ? "✕ " : name === "bad" ? "▲ " : "") + "sentinel-ws";
  if (!data) return;
  const status = data.status, at = moment(status.now_ns / 1e6) + " UTC";
  setText(byId("sub"), known.lost ? `Nothing has been heard for ${duration(Math.floor((Date.now() - known.heardMs) / 1000))}. What is shown below is of ${at}.`
    : `${status.collector}, ${status.software}${status.is_native ? " (native)" : " (pure Python)"}, up ${duration(status.uptime_s)}, ${at}`);
}

function drawAlerts(data) {
  if (known.lost) return items(byId("alerts"), [["not known", ""]]);
  items(byId("alerts"), data.alerts.length ? data.alerts.map((alert) => [`${alert.kind} ${alert.about}: ${alert.words}${acknowledged(alert)}`, alert.acknowledged_ns ? "" : "bad"]) : [["none", "good"]]);
}

function acknowledged(alert) {
  return alert.acknowledged_ns ? ` (acknowledged${alert.note ? `: ${alert.note}` : ""})` : "";
}

function items(list, lines) {
  while (list.children.length > lines.length) list.lastChild.remove();
  lines.forEach(([text, name], at) => {
    const line = list.children[at] || list.appendChild(el("li"));
    setText(line, text);
    setClass(line, name);
  });
}

function drawTotals(status) {
  const sum = (name) => status.products.reduce((total, product) => total + product[name], 0);
  facts(byId("totals"), [
    ["markets", count(status.products.length)], ["lines stored", count(status.lines_stored)], ["last line stored", duration(status.stored_age_s) + " ago"],
    ["trades", count(sum("trades_stored"))], ["trades missing", count(sum("trades_missing"))], ["trades given up", count(sum("trades_given_up"))],
    ["gaps open", count(status.gaps.length)], ["samples", count(sum("samples_written"))], ["samples withheld", count(sum("samples_withheld"))],
    ["lateness p50", milliseconds(status.lateness.p50_ms)], ["lateness p99", milliseconds(status.lateness.p99_ms)],
    ["handling p99", milliseconds(status.handling.p99_ms)], ["loop lag p99", milliseconds(status.loop_lag.p99_ms)],
    ["journal", bytes(status.journal_bytes)], ["disk free", bytes(status.disk_free_bytes)], ["lines set aside", count(status.dead_letters)],
  ]);
  const cluster = status.cluster;
  byId("cluster").hidden = !cluster;
  if (cluster) facts(byId("membership"), [
    ["cluster", cluster.name],
    [cluster.is_inside ? "inside for" : "outside for", duration(cluster.since_s) + (cluster.reason ? ": " + cluster.reason : "")],
    ["members", cluster.members.join(", ") || "none seen"], ["markets here", count(cluster.markets)],
    ["taken", count(cluster.taken)], ["handed", count(cluster.handed)], ["without a proved book", count(cluster.uncovered.length)],
  ]);
}

function drawTables(status) {
  const exchange = chosenExchange(), found = status.connections.filter((line) => !exchange || line.exchange === exchange);
  const live = found.filter((line) => line.is_live).length;
  setText(byId("connections-sum"), known.lost ? "" : `${live} of ${found.length} live`);
  rows(byId("connections"), found.map((line) => [line.lane, line.exchange, line.venue,
    known.lost ? "unknown" : [line.is_live ? "live" : "not live", line.is_live ? "good-word" : "bad-word"],
    milliseconds(line.silent_ms) + " ago", [line.frames_per_s.toFixed(1), "num"], [count(line.frames_received), "num"], [count(line.frames_lost), "num"],
    [count(line.frames_undecodable), "num"], [count(line.openings), "num"]]));
  const sinks = status.sinks.map((sink) => [sink.name, known.lost ? "unknown" : [sink.state, sink.state === "delivering" ? "good-word" : "bad-word"], [count(sink.backlog_lines), "num"],
    [duration(Math.round(sink.behind_s)) + (sink.by_design_s ? ` of ${duration(sink.by_design_s)} by design` : ""), "num"],
    [count(sink.lines_delivered), "num"], [count(sink.lines_set_aside), "num"], [sink.last_error || "", "wide"]]);
  const store = status.object_store;
  if (store) sinks.push([store.url, known.lost ? "unknown" : [store.state, store.state === "delivering" ? "good-word" : "bad-word"],
    [plural(store.folders_waiting, "folder"), "num"], ["", "num"], [plural(store.files_stored, "file"), "num"], ["", "num"], [store.last_error || "", "wide"]]);
  rows(byId("sinks"), sinks.length ? sinks : [["none: what is collected stays in the journal"]]);
  const failed = status.parts.filter((part) => part.state === "failed");
  byId("partbox").hidden = !failed.length;
  items(byId("parts"), failed.map((part) => [`${part.name}: ${part.last_error || "failed"}`, "bad"]));
}

function show(data) {
  drawHead(data);
  if (!data) return;
  const status = data.status;
  known.exchanges = new Set(status.products.map((product) => product.exchange));
  drawAlerts(data);
  drawTotals(status);
  drawExchanges(status.products);
  const minutes = readControls(), exchange = chosenExchange();
  const first = status.products.find((product) => !exchange || product.exchange === exchange);
  const wanted = status.products.find((product) => keyOf(product) === asked.get("market")) || status.products.find((product) => keyOf(product) === shown.key && !asked.get("market")) || first;
  byId("market").hidden = !wanted;
  if (wanted) { look(keyOf(wanted), minutes); drawMarket(wanted); }
  drawMarkets(status.products);
  drawTables(status);
}

// nothing keeps the colour of being well once nobody says so any more
function lose(isLost) {
  if (known.lost === isLost) return;
  known.lost = isLost;
  document.body.classList.toggle("lost", isLost);
  readColours();
  dispatchEvent(new Event("recoloured"));
  show(known.latest);
  redraw();
  drawKeys();
}

function listen() {
  const events = new EventSource(address("sentinel/stream"));
  events.onmessage = (event) => {
    known.latest = window.latest = JSON.parse(event.data);
    known.heardMs = Date.now();
    lose(false);
    show(known.latest);
  };
  events.onerror = () => {
    lose(true);
    drawHead(known.latest);
    if (events.readyState === EventSource.CLOSED) setTimeout(listen, AGAIN_MS);  // a proxy's answer ends it for good
  };
}

setInterval(() => {
  if (known.heardMs && Date.now() - known.heardMs > SILENT_MS) { lose(true); drawHead(known.latest); }
}, 1000);
addEventListener("hashchange", () => { show(known.latest); redraw(); });
document.addEventListener("visibilitychange", () => { if (!document.hidden) for (const [name, every, read] of READINGS) repeat(name, every, read); });
const READINGS = [["timer", HISTORY_EVERY_MS, readHistory], ["gapTimer", GAPS_EVERY_MS, readGaps], ["dayTimer", DAY_EVERY_MS, readDay]];
document.querySelectorAll("[data-to]").forEach((link) => { link.href = address(link.dataset.to); });
readColours();
prepareControls();
prepareMarkets();
listen();
