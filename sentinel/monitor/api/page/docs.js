"use strict";
// The API as its own OpenAPI document describes it: every path with its parameters, answers and a way to try it.

const token = new URLSearchParams(location.search).get("token");
const base = location.origin + location.pathname.replace(/docs\/*$/, "");
const address = (path) => base + path + (token ? (path.includes("?") ? "&" : "?") + "token=" + encodeURIComponent(token) : "");
const byId = (id) => document.getElementById(id);
function el(tag, text, name) {
  const made = document.createElement(tag);
  if (text !== undefined) made.textContent = text;
  if (name) made.className = name;
  return made;
}

// text with `code` in it, as docstrings have it
function prose(text) {
  const box = el("p");
  text.split(/(`+[^`]+`+)/).forEach((part) => box.append(/^`/.test(part) ? el("code", part.replace(/`/g, "")) : part));
  return box;
}

const nameOf = (ref) => ref.split("/").pop();
function kind(schema) {
  const box = el("span");
  if (schema.$ref) {
    const link = el("a", nameOf(schema.$ref));
    link.href = "#" + nameOf(schema.$ref);
    box.append(link);
  } else if (schema.anyOf) schema.anyOf.forEach((each, at) => box.append(at ? " or " : "", kind(each)));
  else if (schema.type === "array") box.append(schema.maxItems ? schema.maxItems + " times " : "list of ", schema.items ? kind(schema.items) : "anything");
  else if (schema.enum) box.append("one of " + schema.enum.join(", "));
  else if (schema.additionalProperties && schema.additionalProperties.type) box.append("map to " + schema.additionalProperties.type);
  else box.append({ number: "float", null: "null" }[schema.type] || schema.type || "anything");
  return box;
}

function table(about, heads, lines) {
  const made = el("table"), head = made.appendChild(el("thead")).appendChild(el("tr")), body = made.appendChild(el("tbody"));
  head.append(...heads.map((text) => { const cell = el("th", text); cell.scope = "col"; return cell; }));
  lines.forEach((cells) => {
    const row = body.appendChild(el("tr"));
    cells.forEach((cell) => { const box = row.appendChild(el("td", undefined, "wide")); box.append(cell); });
  });
  const scroll = el("div", undefined, "scroll");
  scroll.tabIndex = 0;
  scroll.setAttribute("role", "region");
  scroll.setAttribute("aria-label", about);
  scroll.append(made);
  return scroll;
}

function operation(path, found, verb) {
  const box = el("section", undefined, "card"), head = el("h2");
  head.append(el("span", verb.toUpperCase(), "verb"), el("code", path));
  box.append(head, prose(found.summary || ""));
  const parameters = found.parameters || [];
  if (parameters.length) box.append(table("parameters of " + path, ["parameter", "in", "type", "default", "what"], parameters.map((each) =>
    [el("code", each.name), each.in, kind(each.schema), String(each.schema.default ?? (each.required ? "needed" : "–")), prose(each.description || "")])));
  box.append(table("answers of " + path, ["status", "answer", "what"], Object.entries(found.responses).map(([status, answer]) => {
    const content = Object.values(answer.content || {})[0];
    return [status, content && content.schema ? kind(content.schema) : "text", prose(answer.description)];
  })));
  box.append(trial(path, parameters));
  return box;
}

function trial(path, parameters) {
  const form = el("form", undefined, "row"), out = el("pre");
  out.hidden = true;
  out.tabIndex = 0;
  const inputs = parameters.map((each) => {
    const label = el("label", each.name + " "), input = el("input");
    input.name = each.name;
    input.size = 14;
    input.value = (each.schema.examples || [])[0] ?? (each.in === "path" ? "BTC-USD" : "");
    input.required = each.in === "path";
    label.append(input);
    form.append(label);
    return [each, input];
  });
  const button = el("button", "try it");
  form.append(button);
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    let to = path.slice(1);
    const query = new URLSearchParams();
    for (const [each, input] of inputs) {
      if (each.in === "path") to = to.replace("{" + each.name + "}", input.value.split("/").map(encodeURIComponent).join("/"));
      else if (input.value) query.set(each.name, input.value);
    }
    out.hidden = false;
    try {
      const answer = await fetch(address(to + (query.size ? "?" + query : ""))), text = await answer.text();
      let words = text;
      try { words = JSON.stringify(JSON.parse(text), null, 2); } catch { /* it is not JSON */ }
      out.textContent = answer.status + " " + answer.statusText + "\n" + (words.length > 20000 ? words.slice(0, 20000) + "\n… " + (words.length - 20000) + " characters more" : words);
    } catch { out.textContent = "The collector does not answer."; }
  });
  const box = el("div");
  box.append(form, out);
  return box;
}

function shape(name, found) {
  const box = el("section");
  box.id = name;
  box.append(el("h3", name));
  if (found.description) box.append(prose(found.description.replace(/\s+/g, " ")));
  if (found.enum) box.append(prose("One of " + found.enum.join(", ") + "."));
  const fields = Object.entries(found.properties || {});
  if (fields.length) box.append(table("fields of " + name, ["field", "type"], fields.map(([field, schema]) => [el("code", field), kind(schema)])));
  return box;
}

async function start() {
  byId("page").href = address("");
  byId("raw").href = address("openapi.json");
  const answer = await fetch(address("openapi.json"));
  if (!answer.ok) { byId("sub").textContent = "The description cannot be had: status " + answer.status; return; }
  const found = await answer.json();
  byId("title").textContent = found.info.title + ": the API";
  byId("sub").textContent = found.info.version;
  byId("about").append(...found.info.description.split("\n\n").map((part) => prose(part.replace(/\n/g, " "))));
  byId("paths").append(...Object.entries(found.paths).flatMap(([path, verbs]) => Object.entries(verbs).map(([verb, each]) => operation(path, each, verb))));
  byId("shapes").append(...Object.entries(found.components.schemas).map(([name, each]) => shape(name, each)));
}

start();
