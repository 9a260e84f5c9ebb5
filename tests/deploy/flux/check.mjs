// Every Flux query of the dashboards and of docs/influxdb.md through InfluxData's own parser and type checker, as Grafana would send it.
// npm install && node check.mjs
import { createRequire } from "node:module";
import { readFileSync, readdirSync } from "node:fs";

const { is_valid_flux } = createRequire(import.meta.url)("@influxdata/flux-lsp-node");
const folder = new URL("../../../deploy/grafana/dashboards/", import.meta.url);
const VARIABLES = "option v = {timeRangeStart: -1h, timeRangeStop: now(), windowPeriod: 10s}\n";

// Grafana puts exchange and product in and sets `v`; an import must stay the first line.
function asSent(query) {
  const imports = query.match(/^(import .*\n)*/)[0];
  return imports + VARIABLES + query.slice(imports.length).replaceAll("${symbol}", "BTC-USD").replaceAll("${exchange}", "coinbase")
    .replaceAll("${bucket_trades}", "sentinel_trades").replaceAll("${bucket_book}", "sentinel_book");
}

function queriesOf(board) {
  if (!JSON.stringify(board.templating).includes("measurementTagValues")) {
    return []; // its queries are for Prometheus
  }
  return [
    ...board.panels.flatMap((panel) => panel.targets.map((target) => [panel.title, target.query])),
    ...board.templating.list.filter((variable) => variable.type === "query").map((variable) => [variable.name, variable.query.query]),
    ...board.annotations.list.map((annotation) => [annotation.name, annotation.target.query]),
  ];
}

function recipesOf(page) {
  return [...page.matchAll(/^### (.*)$[^]*?^```flux\n([^]*?)^```$/gm)].map((match) => [match[1], match[2]]);
}

let passed = 0;
let failed = 0;
function check(file, queries) {
  for (const [title, query] of queries) {
    if (is_valid_flux(asSent(query))) {
      passed += 1;
    } else {
      failed += 1;
      console.log(`${file}: ${title}\n${query}\n`);
    }
  }
}

for (const file of readdirSync(folder)) {
  check(file, queriesOf(JSON.parse(readFileSync(new URL(file, folder)))));
}
check("docs/influxdb.md", recipesOf(readFileSync(new URL("../../../docs/influxdb.md", import.meta.url), "utf8")));
console.log(`${passed} passed, ${failed} failed`);
process.exit(failed || !passed ? 1 : 0);
