// The list of markets: sorted by any column, filtered by name and by trouble; by name it is folded by exchange.

const COLUMNS = [
  { id: "market", name: "market", of: (product) => nameOf(product), first: 1 },
  { id: "price", name: "bid", num: true, of: (product) => product.bid ?? -Infinity, text: (product) => price(keyOf(product), product.bid), first: -1 },
  { id: "spread", name: "spread, bps", num: true, of: (product) => product.spread_bps ?? -Infinity, text: (product) => product.spread_bps === null ? "–" : product.spread_bps.toFixed(3), first: -1 },
  { id: "state", name: "state", of: (product) => stateOf(product)[2], first: 1 },
  { id: "age", name: "sample", num: true, extra: true, of: (product) => product.sample_age_ms ?? Infinity, text: (product) => product.sample_age_ms === null ? "none" : duration(product.sample_age_ms / 1000), first: -1 },
  { id: "late", name: "lateness p99", num: true, extra: true, of: (product) => product.lateness.p99_ms, text: (product) => milliseconds(product.lateness.p99_ms), first: -1 },
  { id: "withheld", name: "withheld, last min", num: true, extra: true, of: (product) => product.recent_withheld, first: -1 },
  { id: "trades", name: "trades", num: true, extra: true, of: (product) => product.trades_stored, first: -1 },
  { id: "missing", name: "trades missing", num: true, extra: true, of: (product) => product.trades_missing + product.trades_given_up, first: -1 },
  { id: "samples", name: "samples", num: true, extra: true, of: (product) => product.samples_written, first: -1 },
  { id: "integrity", name: "integrity", extra: true, of: (product) => product.integrity, first: 1 },
];
const folded = new Set();
const lines = new Map();
const folds = new Map();

const isTroubled = (product) => stateOf(product)[1] === "bad" || product.trades_missing > 0 || product.recent_withheld > 0 || product.crossed_for_s > 0;

function prepareMarkets() {
  byId("sorts").append(...COLUMNS.map((column) => {
    const cell = el("th"), button = el("button", column.name);
    cell.scope = "col";
    cell.className = (column.num ? "num" : "") + (column.extra ? " extra" : "");
    button.addEventListener("click", () => {
      const [id, way] = sorting();
      asked.set({ sort: id === column.id ? column.id + (way > 0 ? ".down" : ".up") : column.id + (column.first > 0 ? ".up" : ".down") });
    });
    cell.append(button);
    return cell;
  }));
  byId("filter").value = asked.get("filter");
  byId("filter").addEventListener("input", (event) => asked.set({ filter: event.target.value }));
  byId("only").value = asked.get("only");
  byId("only").addEventListener("change", (event) => asked.set({ only: event.target.value }));
  byId("columns").addEventListener("click", () => asked.set({ columns: asked.get("columns") ? "" : "all" }));
  addEventListener("keydown", (event) => {
    if (event.key === "/" && !/INPUT|SELECT/.test(document.activeElement.tagName)) { event.preventDefault(); byId("filter").focus(); }
  });
}

function sorting() {
  const [id, way] = asked.get("sort").split(".");
  return COLUMNS.some((column) => column.id === id) ? [id, way === "down" ? -1 : 1] : ["market", 1];
}

const names = new Intl.Collator("en", { numeric: true });
function sorted(products) {
  const [id, way] = sorting(), column = COLUMNS.find((each) => each.id === id);
  const compare = (one, other) => typeof one === "string" ? names.compare(one, other) : one === other ? 0 : one < other ? -1 : 1;
  return [...products].sort((one, other) => way * compare(column.of(one), column.of(other)) || names.compare(keyOf(one), keyOf(other)));
}

function rowOf(product) {
  const key = keyOf(product);
  let row = lines.get(key);
  if (row) return row;
  row = el("tr");
  row.dataset.market = key;
  for (const column of COLUMNS) {
    const cell = row.appendChild(el("td", undefined, column.id + (column.num ? " num" : "") + (column.extra ? " extra" : "")));
    if (column.id === "market") {
      const button = cell.appendChild(el("button", undefined, "name"));
      button.addEventListener("click", () => { asked.set({ market: key }); byId("market").scrollIntoView({ block: "nearest" }); });
    } else if (column.id === "state") cell.append(el("span"));
  }
  lines.set(key, row);
  return row;
}

function fillRow(row, product) {
  COLUMNS.forEach((column, at) => {
    const cell = row.children[at];
    if (column.id === "market") { setText(cell.firstChild, nameOf(product)); cell.firstChild.title = nameOf(product); }
    else if (column.id === "state") {
      const [words, name] = stateOf(product);
      setText(cell.firstChild, words);
      setClass(cell.firstChild, "chip " + name);
    } else setText(cell, column.text ? column.text(product) : typeof column.of(product) === "number" ? count(column.of(product)) : column.of(product));
  });
  row.classList.toggle("chosen", keyOf(product) === shown.key);
  row.firstChild.firstChild.toggleAttribute("aria-current", keyOf(product) === shown.key);
}

function foldOf(exchange, products) {
  let row = folds.get(exchange);
  if (!row) {
    row = el("tr", undefined, "fold");
    const cell = row.appendChild(el("td")), button = cell.appendChild(el("button"));
    cell.colSpan = COLUMNS.length;
    button.addEventListener("click", () => { folded.has(exchange) ? folded.delete(exchange) : folded.add(exchange); show(known.latest); });
    folds.set(exchange, row);
  }
  const button = row.firstChild.firstChild, isOpen = !folded.has(exchange), proved = products.filter((product) => product.is_proved).length;
  button.setAttribute("aria-expanded", String(isOpen));
  setText(button, `${isOpen ? "▾" : "▸"} ${exchange}: ${products.length} shown` + (known.lost ? "" : `, ${proved} proved`));
  return row;
}

function drawMarkets(products) {
  const filter = asked.get("filter").trim().toLowerCase(), isBadOnly = asked.get("only") === "bad", exchange = chosenExchange();
  const found = sorted(products).filter((product) => (!exchange || product.exchange === exchange) &&
    (!filter || keyOf(product).toLowerCase().includes(filter)) && (!isBadOnly || isTroubled(product)));
  const [id, way] = sorting(), wanted = [], exchanges = [...new Set(found.map((product) => product.exchange))].sort();
  const isFolded = exchanges.length > 1 && id === "market";  // by any other column the worst is first, wherever it is
  for (const name of isFolded ? exchanges : [""]) {
    const own = found.filter((product) => !isFolded || product.exchange === name);
    if (isFolded) wanted.push(foldOf(name, own));
    if (isFolded && folded.has(name)) continue;
    for (const product of own) {
      const row = rowOf(product);
      fillRow(row, product);
      wanted.push(row);
    }
  }
  if (!wanted.length) wanted.push(nothingRow);
  const body = byId("rows");
  if (body.children.length !== wanted.length || wanted.some((row, at) => body.children[at] !== row)) {
    const focused = document.activeElement;
    body.replaceChildren(...wanted);
    if (focused && body.contains(focused)) focused.focus();
  }
  const present = new Set(products.map(keyOf));
  for (const key of lines.keys()) if (!present.has(key)) lines.delete(key);
  setText(byId("markets-sum"), found.length === products.length ? count(products.length) : `${count(found.length)} of ${count(products.length)}`);
  const isAll = asked.get("columns") === "all";
  [...byId("sorts").children].forEach((cell, at) => COLUMNS[at].id === id
    ? cell.setAttribute("aria-sort", way > 0 ? "ascending" : "descending") : cell.removeAttribute("aria-sort"));
  byId("work").classList.toggle("all", isAll);
  byId("work").classList.toggle("alone", products.length === 1);
  byId("columns").setAttribute("aria-pressed", String(isAll));
}

const nothingRow = el("tr");
nothingRow.append(el("td", "none that matches"));
nothingRow.firstChild.colSpan = COLUMNS.length;

const chosenExchange = () => known.exchanges.has(asked.get("exchange")) ? asked.get("exchange") : "";

// one link for each exchange, changed in place: whoever has the focus keeps it
function drawExchanges(products) {
  const nav = byId("exchanges"), found = [...known.exchanges].sort();
  nav.hidden = found.length < 2;
  ["", ...found].forEach((name, at) => {
    const own = products.filter((product) => !name || product.exchange === name);
    const proved = own.filter((product) => product.is_proved).length;
    const link = nav.children[at] || nav.appendChild(el("a"));
    link.href = asked.with({ exchange: name });
    setText(link, (name || "all") + (known.lost ? "" : " " + proved + "/" + own.length));
    link.title = known.lost ? "not known" : proved + " of " + own.length + " books are proved";
    setClass(link, "chip" + (known.lost ? "" : proved === own.length ? " good" : " bad"));
    link.toggleAttribute("aria-current", name === chosenExchange());
  });
  while (nav.children.length > found.length + 1) nav.lastChild.remove();
}
