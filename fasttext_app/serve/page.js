"use strict";
// Texts and labels come from strangers: they only ever become text nodes.

const get = (id) => document.getElementById(id);
const WAIT = 300; // milliseconds without a key before a text is sent
const WORDS = 6, FEATURES = 6, PREVIEW = 10, SHOWN = 300, WEAK = 0.05;

function make(tag, properties = {}, ...children) {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children);
  return element;
}

const percent = (value) => `${(100 * value).toFixed(1)} %`;
const signed = (value) => (value < 0 ? "−" : "+") + Math.abs(value).toFixed(2);

function plural(count, noun) {
  return `${count.toLocaleString("en")} ${noun}${count === 1 ? "" : "s"}`;
}

// --- models and tabs

function model() {
  const name = get("model")?.value;
  const facts = [...document.querySelectorAll(".facts")];
  return facts.find((entry) => name === undefined || entry.dataset.model === name);
}

function showModel() {
  for (const entry of document.querySelectorAll(".facts")) entry.hidden = entry !== model();
  get("column").placeholder = model().dataset.column;
  for (const id of ["one-labels", "many-labels"]) {
    const field = get(id);
    field.max = model().dataset.labels;
    field.value = Math.min(field.value, field.max);
  }
}

get("model")?.addEventListener("change", () => {
  showModel();
  predict();
});

const tabs = [...document.querySelectorAll("[role=tab]")];

function select(tab) {
  for (const other of tabs) {
    const isChosen = other === tab;
    other.setAttribute("aria-selected", isChosen);
    other.tabIndex = isChosen ? 0 : -1;
    get(other.getAttribute("aria-controls")).hidden = !isChosen;
  }
}

tabs.forEach((tab, index) => {
  tab.addEventListener("click", () => select(tab));
  tab.addEventListener("keydown", (event) => {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (!step) return;
    const next = tabs[(index + step + tabs.length) % tabs.length];
    select(next);
    next.focus();
  });
});

// --- requests

/** Send a request; returns the answer, and throws an error whose message a person can read. */
async function ask(path, options) {
  let answer;
  try {
    answer = await fetch(path, { method: "POST", ...options });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Error("The service does not answer. Is it still running?");
  }
  if (answer.ok) return answer;
  let detail;
  try {
    detail = (await answer.json()).detail;
  } catch {
    detail = `the service answered with status ${answer.status}`;
  }
  throw new Error(detail);
}

function show(name, { error = "", status = "" }) {
  get(`${name}-error`).textContent = error;
  get(`${name}-error`).hidden = !error;
  get(`${name}-status`).textContent = status;
}

function labelCount(id) {
  const field = get(id);
  return field.checkValidity() && field.value ? Number(field.value) : undefined;
}

// --- one text

let timer, request;

async function predict() {
  clearTimeout(timer);
  request?.abort();
  const text = get("text").value, { model: name, labels, explains, loss } = model().dataset;
  if (!text.trim()) {
    show("one", {});
    get("answer").hidden = true;
    return;
  }
  const mine = (request = new AbortController());
  const top = Math.min(labelCount("one-labels") ?? 5, Number(labels));
  const body = { text, model: name, top_k: top, explain: explains === "true" };
  try {
    const answer = await ask("predict", { body: JSON.stringify(body), signal: mine.signal });
    showAnswer(await answer.json(), explains === "true" ? "" : loss);
  } catch (error) {
    if (mine.signal.aborted) return;
    show("one", { error: error.message });
    get("answer").hidden = true;
  }
}

function showAnswer(answer, lossWithoutWords) {
  const known = answer.known > 0
    ? `The model knows ${percent(answer.known)} of the words and n-grams.`
    : "The model knows no word of this text: any such text gets this answer.";
  const best = answer.labels.length ? `${answer.labels[0]}, ${percent(answer.probabilities[0])}. ` : "";
  const silent = lossWithoutWords ? ` A model with the loss ${lossWithoutWords} cannot show words.` : "";
  show("one", { status: best + known + silent });
  const open = document.activeElement?.closest?.("#labels li")?.dataset.label ?? answer.labels[0];
  get("labels").replaceChildren(
    ...answer.labels.map((label, index) =>
      labelItem(label, answer.probabilities[index], answer.explanations?.[index], label === open)),
  );
  get("key").hidden = !answer.explanations;
  get("answer").hidden = false;
}

function labelItem(label, probability, explanation, isOpen) {
  const fill = make("span");
  fill.style.setProperty("--share", probability);
  const line = make("span", { className: "line" },
    make("span", { className: "name", dir: "auto", textContent: label }),
    make("span", { className: "bar", ariaHidden: "true" }, fill),
    make("span", { className: "number", textContent: percent(probability) }));
  const item = make("li");
  item.dataset.label = label;
  if (!explanation) {
    item.append(make("div", { className: "plain" }, line));
    return item;
  }
  const details = make("details", { open: isOpen, name: "label" },
    make("summary", {}, line, strongest(explanation)), why(explanation));
  item.append(details);
  return item;
}

/** Mark an element as speaking for the label or against it; `share` is from -1 to 1. */
function color(element, share) {
  if (Math.abs(share) < WEAK) return element;
  element.classList.add(share > 0 ? "for" : "against");
  element.style.setProperty("--share", Math.abs(share).toFixed(2));
  return element;
}

function largest(values) {
  return values.reduce((most, value) => Math.max(most, Math.abs(value)), 0) || 1;
}

/** The words that speak most for a label. */
function strongest({ tokens }) {
  const sums = new Map();
  for (const { token, value } of tokens) sums.set(token, (sums.get(token) ?? 0) + value);
  const scale = largest([...sums.values()]);
  const words = [...sums].filter(([, value]) => value > WEAK * scale)
    .sort((a, b) => b[1] - a[1]).slice(0, WORDS)
    .map(([token, value]) => color(
      make("span", { dir: "auto", textContent: `${token} ${signed(value)}` }), value / scale));
  return make("span", { className: "words" }, words.length ? "for it:" : "no word speaks for it", ...words);
}

/** The whole text in colors, and the features that add most and least. */
function why({ pieces, features, bias, logit }) {
  const scale = largest(pieces.map(([, value]) => value ?? 0));
  const text = make("p", { className: "text", dir: "auto" }, ...pieces.map(([piece, value]) =>
    value === null ? piece
      : color(make("span", { textContent: piece, title: signed(value) }), value / scale)));
  return make("div", { className: "why" }, text, featureTable(features, bias, logit));
}

function featureTable(features, bias, logit) {
  const totals = new Map();
  for (const { name, kind, row, value } of features) {
    if (row === null) continue;
    const key = JSON.stringify([kind, name]);
    const total = totals.get(key) ?? { name, kind, count: 0, value: 0 };
    totals.set(key, { ...total, count: total.count + 1, value: total.value + value });
  }
  const sorted = [...totals.values()].sort((a, b) => b.value - a.value);
  const shown = sorted.filter(({ value }, index) =>
    value > 0 ? index < FEATURES : index >= sorted.length - FEATURES && value < 0);
  const others = sorted.length - shown.length;
  const rest = sorted.filter((total) => !shown.includes(total));
  const lines = shown.map(({ name, kind, count, value }) => [name, kind, String(count), signed(value)]);
  if (others) lines.push([plural(others, "other"), "", "", signed(sum(rest))]);
  lines.push(["bias", "", "", signed(bias)]);
  const body = make("tbody", {}, ...lines.map((cells) => make("tr", {}, ...cells.map(cell))));
  body.append(make("tr", { className: "sum" }, ...["logit", "", "", signed(logit)].map(cell)));
  const head = ["feature", "kind", "times", "adds"].map((name, index) =>
    make("th", { scope: "col", className: index > 1 ? "number" : "", textContent: name }));
  return make("div", { className: "scroll", tabIndex: 0, role: "group", ariaLabel: "Parts of the logit" },
    make("table", {}, make("thead", {}, make("tr", {}, ...head)), body));
}

const sum = (totals) => totals.reduce((all, { value }) => all + value, 0);

function cell(textContent, index) {
  const direction = index ? {} : { dir: "auto" };
  return make("td", { textContent, className: index > 1 ? "number" : "", ...direction });
}

get("text").addEventListener("input", () => {
  clearTimeout(timer);
  timer = setTimeout(predict, WAIT);
});
get("text").addEventListener("keydown", (event) => {
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) predict();
});
get("one-labels").addEventListener("change", predict);
get("one").addEventListener("submit", (event) => {
  event.preventDefault();
  predict();
});

// --- a table

/** Read CSV: records of fields, up to a number of records. */
function parseCsv(text, delimiter, most) {
  const records = [[]];
  const fields = new RegExp(`(?:"((?:[^"]|"")*)"|([^${delimiter}\\r\\n"]*))(${delimiter}|\\r?\\n|\\r|$)`, "y");
  for (let match; (match = fields.exec(text)); ) {
    records.at(-1).push(match[1]?.replaceAll('""', '"') ?? match[2]);
    if (!match[3]) break;
    if (match[3] !== delimiter) {
      if (records.length === most) break;
      records.push([]);
    }
  }
  return records.filter((record) => record.length > 1 || record[0]);
}

/** Offer the names in the first row as the text column. */
function offerColumns(text) {
  const line = text.slice(0, 4096).replace(/^\ufeff/, "").split(/[\r\n]/, 1)[0];
  const counts = [",", ";", "\t", "\\|"].map((mark) => [line.split(mark.at(-1)).length, mark]);
  const [, delimiter] = counts.reduce((best, other) => (other[0] > best[0] ? other : best));
  const [names = []] = parseCsv(line, delimiter, 1);
  get("columns").replaceChildren(...names.map((name) => make("option", { value: name })));
}

get("rows").addEventListener("input", () => {
  get("file").value = "";
  offerColumns(get("rows").value);
});
get("file").addEventListener("change", async () => {
  get("rows").value = "";
  const [file] = get("file").files;
  if (file) offerColumns(await file.slice(0, 4096).text());
});
for (const kind of ["dragenter", "dragover", "dragleave", "drop"]) {
  get("drop").addEventListener(kind, (event) => {
    event.preventDefault();
    get("drop").classList.toggle("over", kind === "dragenter" || kind === "dragover");
    if (kind === "drop" && event.dataTransfer.files.length) {
      get("file").files = event.dataTransfer.files;
      get("file").dispatchEvent(new Event("change"));
    } else if (kind === "drop") {
      get("rows").value = event.dataTransfer.getData("text");
      get("rows").dispatchEvent(new Event("input"));
    }
  });
}

get("many").addEventListener("submit", async (event) => {
  event.preventDefault();
  const [file] = get("file").files, data = file ?? get("rows").value;
  get("table").hidden = true;
  if (!data || data.size === 0) {
    show("many", { error: "There are no rows yet: choose a file, drop one, or paste some." });
    return;
  }
  const query = new URLSearchParams({
    model: model().dataset.model, header: get("header").checked, encoding: file ? get("encoding").value : "utf-8",
    name: file?.name ?? "the rows",
  });
  if (get("column").value) query.append("text_column", get("column").value);
  const top = labelCount("many-labels");
  if (top) query.append("top_k", Math.min(top, Number(model().dataset.labels)));
  show("many", { status: "Classifying …" });
  const button = get("many").querySelector("button");
  button.disabled = true;
  try {
    const answer = await ask(`predict/csv?${query}`, { body: data, headers: { "content-type": "text/csv" } });
    showTable(await answer.text());
  } catch (error) {
    show("many", { error: error.message });
  } finally {
    button.disabled = false;
  }
});

function showTable(csv) {
  const records = parseCsv(csv, ",", Infinity), [names, ...rows] = records;
  const [head, body] = [get("table").querySelector("thead"), get("table").querySelector("tbody")];
  head.replaceChildren(make("tr", {}, ...names.map((name) => make("th", { scope: "col", dir: "auto", textContent: name }))));
  body.replaceChildren(...rows.slice(0, PREVIEW).map((row) =>
    make("tr", {}, ...row.map((textContent) => make("td", {
      dir: "auto", className: textContent.length > 20 ? "long" : "",
      textContent: textContent.length > SHOWN ? `${textContent.slice(0, SHOWN)} …` : textContent,
    })))));
  get("table").querySelector("caption").textContent = rows.length > PREVIEW ? `The first ${PREVIEW}` : "";
  URL.revokeObjectURL(get("download").href);
  get("download").href = URL.createObjectURL(new Blob(["\ufeff", csv], { type: "text/csv" }));
  get("table").hidden = false;
  show("many", { status: `${plural(rows.length, "row")} classified.` });
}

showModel();
